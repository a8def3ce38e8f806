/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tiles: a transposition read or written straight through would take a
 * system call or a cache line for each element.
 *
 * A tile is some rows of the source, each a stretch that is read whole, next
 * to each other in the buffer.  The rows are chosen along the loop that is
 * innermost in the file, so that what is written is contiguous too.
 *
 * Of the time that a large transposition takes, moving elements is an eighth
 * and the rest is reading rows: how much of a row one read gets is the width
 * of the window that is asked for, in rows of the file.  So it is the window
 * that decides (the store's are as large as it can make them): 0.01 of a
 * copy's speed with 1 MiB of a matrix of 8192 x 8192, 0.06 with 8 MiB, 0.1
 * with 32 MiB.
 */
#include <string.h>

#include "core/plan/gather.h"
#include "core/plan/tile.h"

/* A gap up to this inside of a row is read along. */
#define GAP_BYTES 512

/* A row is no longer, if there are others: a tile shall be near a square. */
#define ROW_BYTES (4u * 1024)

/* Elements, of up to eight bytes, that are cast at a time. */
#define NEAR 256

struct tiling {
	enum wfs_cast cast;
	uint64_t source; /* bytes of a run at the source */
	const struct wfs_nest *box;
	uint64_t row; /* bytes of a row */
	/* For each loop of the box: its times in a tile, bytes between them
	   there, and whether they lie within a row. */
	uint64_t block[WFS_LOOPS + 1];
	uint64_t pitch[WFS_LOOPS + 1];
	bool in_row[WFS_LOOPS + 1];
};

/* The loops that a row spans: the innermost at the source. */
static unsigned plan_row(struct tiling *t)
{
	const struct wfs_loop *loops = t->box->loops;
	unsigned i = t->box->n;

	t->row = t->source;
	while (i) {
		const struct wfs_loop *loop = &loops[i - 1];
		uint64_t most = i > 1 ? ROW_BYTES : WFS_TILES_BYTES;
		uint64_t times;

		if (loop->stride < t->row ||
		    loop->stride - t->row > GAP_BYTES ||
		    t->row + loop->stride > most)
			break;
		times = (most - t->row) / loop->stride + 1;
		i--;
		t->in_row[i] = true;
		t->pitch[i] = loop->stride;
		t->block[i] = times < loop->count ? times : loop->count;
		t->row += (t->block[i] - 1) * loop->stride;
		if (t->block[i] < loop->count)
			break;
	}
	return i;
}

/* Of the first `n` loops, the one with the smallest step not yet in use. */
static int next_rows(const struct tiling *t, unsigned n)
{
	int best = -1;

	for (unsigned i = 0; i < n; i++)
		if (t->block[i] == 1 && !t->pitch[i] &&
		    (best < 0 ||
		     t->box->loops[i].step < t->box->loops[best].step))
			best = (int)i;
	return best;
}

/*
 * Rows of a power of two would all begin in the same few lines of the cache,
 * and a column read down them would find none of it there.
 */
static uint64_t apart(uint64_t bytes)
{
	return bytes % 512 ? bytes : bytes + 64;
}

static void plan(struct tiling *t)
{
	uint64_t total;
	unsigned rest;
	int i;

	for (unsigned k = 0; k < t->box->n; k++) {
		t->block[k] = 1;
		t->pitch[k] = 0;
		t->in_row[k] = false;
	}
	rest = plan_row(t);
	total = apart(t->row);
	while ((i = next_rows(t, rest)) >= 0) {
		uint64_t count = t->box->loops[i].count;
		uint64_t most = WFS_TILES_BYTES / total;

		if (most < 1)
			most = 1;
		t->block[i] = count < most ? count : most;
		t->pitch[i] = total;
		total = apart(total * t->block[i]);
		if (t->block[i] < count)
			break;
	}
}

/* Reads the rows of a tile; `times` of each loop are in it. */
static int read_rows(const struct tiling *t, const struct wfs_from *from,
		     uint64_t off, const uint64_t *times, char *tile)
{
	struct wfs_nest rows = { .off = off, .run = t->source };

	for (unsigned i = 0; i < t->box->n; i++) {
		const struct wfs_loop *loop = &t->box->loops[i];

		if (t->in_row[i])
			rows.run += (times[i] - 1) * loop->stride;
		else if (times[i] > 1)
			rows.loops[rows.n++] = (struct wfs_loop){
				.count = times[i],
				.stride = loop->stride,
				.step = t->pitch[i],
			};
	}
	return wfs_gather(from, &rows, tile);
}

#define MOVE(type)                                                             \
	for (uint64_t i = 0; i < n; i++) {                                     \
		type x;                                                        \
                                                                               \
		memcpy(&x, from + i * pitch, sizeof(x));                       \
		memcpy(to + i * sizeof(x), &x, sizeof(x));                     \
	}                                                                      \
	break

/* `n` elements that lie `pitch` apart, to where they are contiguous. */
static void move_elements(char *to, const char *from, uint64_t n,
			  uint64_t pitch, size_t width)
{
	switch (width) {
	case 1:
		MOVE(uint8_t);
	case 2:
		MOVE(uint16_t);
	case 4:
		MOVE(uint32_t);
	case 8:
		MOVE(uint64_t);
	default:
		for (uint64_t i = 0; i < n; i++)
			memcpy(to + i * width, from + i * pitch, width);
	}
}

/* Columns that are written at once. */
#define ABREAST 8

#define MOVE_ABREAST(type)                                                     \
	for (uint64_t i = 0; i < rows->count; i++) {                           \
		type x[ABREAST];                                               \
                                                                               \
		memcpy(x, from + i * rows->stride, sizeof(x));                 \
		for (unsigned k = 0; k < ABREAST; k++)                         \
			memcpy(to + k * step + i * sizeof(*x), &x[k],          \
			       sizeof(*x));                                    \
	}                                                                      \
	break

/*
 * Some neighbouring columns of a tile, each to a line of the file: a row is
 * touched once for all of them, since each lies on a page of its own.
 */
static void move_abreast(char *to, const char *from,
			 const struct wfs_loop *rows, uint64_t step,
			 size_t width)
{
	switch (width) {
	case 1:
		MOVE_ABREAST(uint8_t);
	case 2:
		MOVE_ABREAST(uint16_t);
	case 4:
		MOVE_ABREAST(uint32_t);
	case 8:
	default:
		MOVE_ABREAST(uint64_t);
	}
}

/* `columns`, whose elements lie side by side in the tile. */
static void move_columns(char *to, const char *from,
			 const struct wfs_loop *columns,
			 const struct wfs_loop *rows, size_t width)
{
	uint64_t i = 0;

	for (; i + ABREAST <= columns->count; i += ABREAST)
		move_abreast(to + i * columns->step, from + i * width, rows,
			     columns->step, width);
	for (; i < columns->count; i++)
		move_elements(to + i * columns->step, from + i * width,
			      rows->count, rows->stride, width);
}

static void cast_elements(const struct tiling *t, char *to, const char *from,
			  const struct wfs_loop *loop)
{
	unsigned width = wfs_cast_to(t->cast);
	uint64_t each = t->source / wfs_cast_from(t->cast);
	char near[sizeof(int64_t) * NEAR];
	uint64_t i = 0;

	if (each > 1) {
		for (; i < loop->count; i++)
			wfs_cast_run(t->cast, to + i * loop->step,
				     from + i * loop->stride, (size_t)each);
		return;
	}
	while (i < loop->count) {
		uint64_t n = loop->count - i < NEAR ? loop->count - i : NEAR;

		move_elements(near, from + i * loop->stride, n, loop->stride,
			      (size_t)t->source);
		wfs_cast_run(t->cast, to + i * width, near, (size_t)n);
		i += n;
	}
}

/* The innermost loop in the file: runs side by side, or apart. */
static void write_line(const struct tiling *t, char *to, const char *from,
		       const struct wfs_loop *loop)
{
	bool dense = loop->step == t->box->run;

	if (t->cast && (dense || t->box->run > wfs_cast_to(t->cast))) {
		cast_elements(t, to, from, loop);
	} else if (!t->cast && dense) {
		move_elements(to, from, loop->count, loop->stride,
			      (size_t)t->box->run);
	} else {
		for (uint64_t i = 0; i < loop->count; i++) {
			char *at = to + i * loop->step;
			const char *x = from + i * loop->stride;

			if (t->cast)
				wfs_cast_run(t->cast, at, x, 1);
			else
				memcpy(at, x, (size_t)t->box->run);
		}
	}
}

static bool are_columns(const struct tiling *t, const struct wfs_loop *columns,
			const struct wfs_loop *rows)
{
	uint64_t width = t->source;

	return !t->cast && columns->stride == width && rows->step == width &&
	       width <= 8 && (width & (width - 1)) == 0;
}

/* From the tile to the file, in the order of the file. */
static void write_tile(const struct tiling *t, const uint64_t *times, char *to,
		       const char *tile)
{
	struct wfs_loop loops[WFS_LOOPS + 1];
	struct wfs_loop line = { .count = 1, .step = t->box->run };
	struct wfs_odometer o = { 0 };
	unsigned n = 0;

	for (unsigned i = 0; i < t->box->n; i++) {
		unsigned k = n;

		if (times[i] == 1)
			continue;
		for (; k && loops[k - 1].step < t->box->loops[i].step; k--)
			loops[k] = loops[k - 1];
		loops[k] = (struct wfs_loop){ times[i], t->pitch[i],
					      t->box->loops[i].step };
		n++;
	}
	if (n)
		line = loops[--n];
	if (n && are_columns(t, &loops[n - 1], &line)) {
		const struct wfs_loop *columns = &loops[--n];

		do
			move_columns(to + o.step, tile + o.stride, columns,
				     &line, (size_t)t->source);
		while (wfs_odometer_next(&o, loops, n));
		return;
	}
	do
		write_line(t, to + o.step, tile + o.stride, &line);
	while (wfs_odometer_next(&o, loops, n));
}

int wfs_tiles_read(const struct wfs_from *from, enum wfs_cast cast,
		   const struct wfs_nest *box, char *to, char *tile)
{
	struct tiling t = {
		.cast = cast,
		.source = wfs_cast_source(cast, box->run),
		.box = box,
	};
	struct wfs_loop tiles[WFS_LOOPS + 1];
	struct wfs_odometer o = { 0 };

	plan(&t);
	for (unsigned i = 0; i < box->n; i++) {
		const struct wfs_loop *loop = &box->loops[i];

		tiles[i] = (struct wfs_loop){
			.count = (loop->count - 1) / t.block[i] + 1,
			.stride = loop->stride * t.block[i],
			.step = loop->step * t.block[i],
		};
	}
	do {
		uint64_t times[WFS_LOOPS + 1] = { 0 };
		int rc;

		for (unsigned i = 0; i < box->n; i++) {
			uint64_t left =
				box->loops[i].count - o.at[i] * t.block[i];

			times[i] = left < t.block[i] ? left : t.block[i];
		}
		rc = read_rows(&t, from, box->off + o.stride, times, tile);
		if (rc)
			return rc;
		write_tile(&t, times, to + box->at + o.step, tile);
	} while (wfs_odometer_next(&o, tiles, box->n));
	return 0;
}
