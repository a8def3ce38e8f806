/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coverage by polynomials.
 *
 * A set of bytes is the sum of x^position over them.  Of a piece, whose bytes
 * form a lattice, the sum is a product of a geometric series for each of its
 * loops, so billions of runs cost a few multiplications.  The pieces cover a
 * stretch exactly once if and only if their sum is the polynomial of the
 * stretch.  That is tested where two polynomials that differ hardly ever
 * agree: at random points, modulo a prime.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include "core/plan/cover.h"

#define PRIME  ((1ull << 61) - 1)
#define POINTS 2u

static uint64_t points[POINTS];
static pthread_once_t points_once = PTHREAD_ONCE_INIT;

static void pick_points(void)
{
	/* Small requests of an early boot wait; nothing else can fail. */
	if (getrandom(points, sizeof(points), 0) != sizeof(points))
		abort();
	for (unsigned i = 0; i < POINTS; i++)
		points[i] = points[i] % (PRIME - 2) + 2;
}

static uint64_t add(uint64_t a, uint64_t b)
{
	uint64_t sum = a + b;

	return sum >= PRIME ? sum - PRIME : sum;
}

static uint64_t multiply(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return add((uint64_t)product & PRIME, (uint64_t)(product >> 61));
}

static uint64_t power(uint64_t x, uint64_t n)
{
	uint64_t result = 1;

	for (; n; n >>= 1) {
		if (n & 1)
			result = multiply(result, x);
		x = multiply(x, x);
	}
	return result;
}

/* 1 + x + … + x^(n - 1) */
static uint64_t series(uint64_t x, uint64_t n)
{
	uint64_t sum = 0, next = 1;

	/* From the highest bit on: `sum` of as many terms, and the next. */
	for (unsigned bit = 64; bit--;) {
		sum = multiply(sum, add(1, next));
		next = multiply(next, next);
		if (n >> bit & 1) {
			sum = add(sum, next);
			next = multiply(next, x);
		}
	}
	return sum;
}

static uint64_t sum_of(const struct wfs_piece *p, uint64_t at, uint64_t x)
{
	struct wfs_nest nest;
	uint64_t sum;

	wfs_nest_of(p, &nest);
	sum = multiply(power(x, nest.at - at), series(x, nest.run));
	for (unsigned i = 0; i < nest.n; i++)
		sum = multiply(sum, series(power(x, nest.loops[i].step),
					   nest.loops[i].count));
	return sum;
}

bool wfs_pieces_fill(const struct wfs_piece *pieces, uint32_t n, uint64_t at,
		     uint64_t len)
{
	/* One that does not overlap itself has as many bytes only if full. */
	if (n < 2)
		return true;
	pthread_once(&points_once, pick_points);
	for (unsigned k = 0; k < POINTS; k++) {
		uint64_t sum = 0;

		for (uint32_t i = 0; i < n; i++)
			sum = add(sum, sum_of(&pieces[i], at, points[k]));
		if (sum != series(points[k], len))
			return false;
	}
	return true;
}
