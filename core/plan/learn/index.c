/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where in the checkpoint are these eight elements?
 *
 * Every window of eight elements of every tensor is hashed, and those are
 * kept whose hash ends in zeros: which ones is a matter of their bytes alone,
 * so whoever looks up the windows of a dump one after the other meets one
 * that is kept, wherever a slice begins.  Of large tensors few are kept, of
 * small ones all.  Windows of equal elements say nothing and are left out.
 */
#include <errno.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/learn/inner.h"

#define CHUNK	 (1u << 18) /* elements */
#define KEPT	 (1u << 20) /* windows, about: some 64 MiB */
#define EACH	 256u	    /* windows of a tensor at least, if it has them, */
#define EACH_MIN 32u	    /* or of a hundred thousand tensors */
#define REACH	 64u	    /* times as many windows as lie between two */
#define SAME	 8u	    /* places of one window */
#define AT_BITS	 42
#define AT_MASK	 ((1ull << AT_BITS) - 1)
#define NO_PLACE UINT64_MAX

struct slot {
	uint64_t hash, place; /* source << AT_BITS | element */
};

struct wfs_index {
	struct slot *slots;
	uint64_t mask, used;
	uint64_t rare; /* one window in so many is kept, less one: 2^n - 1 */
	uint64_t each; /* but of a tensor at least so many */
	unsigned size; /* bytes of an element */
};

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ull;
	return h ^ h >> 32;
}

static uint64_t hash_window(const char *window, unsigned bytes)
{
	uint64_t h = 0, word;

	for (unsigned i = 0; i < bytes; i += 8) {
		memcpy(&word, window + i, sizeof(word));
		h = (h ^ word) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return mix(h);
}

static void resize(struct wfs_index *x, uint64_t slots)
{
	struct slot *old = x->slots;
	uint64_t count = old ? x->mask + 1 : 0;

	x->slots = wfs_malloc(slots * sizeof(*old));
	for (uint64_t i = 0; i < slots; i++)
		x->slots[i].place = NO_PLACE;
	x->mask = slots - 1;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t at = old[i].hash & x->mask;

		if (old[i].place == NO_PLACE)
			continue;
		while (x->slots[at].place != NO_PLACE)
			at = (at + 1) & x->mask;
		x->slots[at] = old[i];
	}
	free(old);
}

static void insert(struct wfs_index *x, uint64_t hash, uint64_t place)
{
	unsigned same = 0;
	uint64_t at;

	if (x->used * 2 > x->mask)
		resize(x, (x->mask + 1) * 2);
	at = hash & x->mask;
	while (x->slots[at].place != NO_PLACE) {
		if (x->slots[at].hash == hash && ++same == SAME)
			return;
		at = (at + 1) & x->mask;
	}
	x->slots[at] = (struct slot){ hash, place };
	x->used++;
}

static bool is_flat(const char *window, unsigned size)
{
	return !memcmp(window, window + size,
		       (size_t)size * (WFS_LEARN_WINDOW - 1));
}

/* Keeps what is to be kept of the windows that begin in buf[0 … n). */
static void keep(struct wfs_index *x, const char *buf, uint64_t n,
		 uint64_t place, uint64_t rare)
{
	unsigned bytes = WFS_LEARN_WINDOW * x->size;

	for (uint64_t i = 0; i < n; i++) {
		const char *window = buf + i * x->size;
		uint64_t hash = hash_window(window, bytes);

		/* Other bits than those that say where in the table. */
		if (!(hash >> 40 & rare) && !is_flat(window, x->size))
			insert(x, hash, place + i);
	}
}

static int add_source(struct wfs_index *x, const struct wfs_elements *e,
		      uint32_t source, char *buf)
{
	uint64_t place = (uint64_t)source << AT_BITS;
	uint64_t windows, rare = x->rare;

	if (e->count < WFS_LEARN_WINDOW || e->count > AT_MASK)
		return 0;
	windows = e->count - WFS_LEARN_WINDOW + 1;
	while (rare && windows / (rare + 1) < x->each)
		rare >>= 1;
	for (uint64_t at = 0; at < windows; at += CHUNK) {
		uint64_t n = windows - at < CHUNK ? windows - at : CHUNK;
		int rc =
			wfs_elements_read(e, buf, at, n + WFS_LEARN_WINDOW - 1);

		if (rc)
			return rc;
		keep(x, buf, n, place + at, rare);
	}
	return 0;
}

static bool belongs(const struct wfs_tensor *t, enum wfs_dtype dtype, bool cast)
{
	if (!cast)
		return t->dtype == dtype;
	return t->dtype != dtype &&
	       wfs_cast_between((enum wfs_dtype)t->dtype, dtype) > 0;
}

static void set_rareness(struct wfs_index *x, const struct wfs_rank *base,
			 enum wfs_dtype dtype, bool cast)
{
	uint64_t bytes = 0, count = 1;

	for (uint32_t i = 0; i < base->count; i++)
		if (belongs(&base->tensors[i], dtype, cast)) {
			bytes += base->tensors[i].size;
			count++;
		}
	while (bytes / x->size / (x->rare + 1) > KEPT)
		x->rare = x->rare * 2 + 1;
	x->each = 2 * KEPT / count;
	x->each = x->each > EACH ? EACH : x->each;
	x->each = x->each < EACH_MIN ? EACH_MIN : x->each;
}

static int fill(struct wfs_learn *k, struct wfs_index *x, enum wfs_dtype dtype,
		bool cast)
{
	const struct wfs_rank *base = &k->base->ranks[0];
	char *buf wfs_autofree =
		wfs_malloc((size_t)(CHUNK + WFS_LEARN_WINDOW) * x->size);
	int rc = 0;

	set_rareness(x, base, dtype, cast);
	for (uint32_t i = 0; i < base->count && !rc; i++) {
		struct wfs_pool pool = { 0 };
		struct wfs_elements e = { 0 };

		if (!belongs(&base->tensors[i], dtype, cast))
			continue;
		/* What cannot be read as elements is not looked for. */
		if (!wfs_elements_open(wfs_learn_source_view(&pool, k->base, i,
							     false, dtype),
				       &e, NULL))
			rc = add_source(x, &e, i, buf);
		wfs_elements_close(&e);
		wfs_pool_clear(&pool);
		if (rc)
			wfs_err_set(k->err, rc,
				    "model '%s': cannot read tensor '%s': %s",
				    k->base->name, base->tensors[i].name,
				    strerror(-rc));
	}
	return rc;
}

int wfs_index_get(struct wfs_learn *k, enum wfs_dtype dtype, bool cast,
		  struct wfs_index **ret)
{
	struct wfs_index **at = &k->indices[dtype][cast];
	int rc = 0;

	if (!*at) {
		struct wfs_index *x = wfs_calloc(1, sizeof(*x));

		x->size = wfs_dtype_bits(dtype) / 8;
		resize(x, 1024);
		rc = fill(k, x, dtype, cast);
		if (rc)
			wfs_index_free(x);
		else
			*at = x;
	}
	*ret = *at;
	return rc;
}

unsigned wfs_index_find(const struct wfs_index *index, const void *window,
			struct wfs_index_place *ret, unsigned max)
{
	uint64_t hash = hash_window(window, WFS_LEARN_WINDOW * index->size);
	unsigned n = 0;

	for (uint64_t at = hash & index->mask;
	     index->slots[at].place != NO_PLACE && n < max;
	     at = (at + 1) & index->mask) {
		const struct slot *s = &index->slots[at];

		if (s->hash != hash)
			continue;
		ret[n++] = (struct wfs_index_place){
			.source = (uint32_t)(s->place >> AT_BITS),
			.at = s->place & AT_MASK,
		};
	}
	return n;
}

uint64_t wfs_index_reach(const struct wfs_index *index)
{
	return REACH * (index->rare + 1);
}

void wfs_index_free(struct wfs_index *index)
{
	if (!index)
		return;
	free(index->slots);
	free(index);
}
