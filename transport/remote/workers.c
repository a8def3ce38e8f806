/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See workers.h.
 */
#include "transport/remote/workers.h"

#include <errno.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/model/sharded_state.h"
#include "core/plan/layout.h"
#include "transport/remote/manifest.h"

#define WORD_MAX     64u
#define DECLARED_MAX 256u

/* ---- reading */

static bool is_plain(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

/* A word that may be missing: *ret_word stays NULL. */
static int take_word(yyjson_val *object, const char *key, size_t max,
		     const char **ret_word)
{
	yyjson_val *val = yyjson_obj_get(object, key);
	const char *text = yyjson_get_str(val);
	size_t len = yyjson_get_len(val);

	if (!val || yyjson_is_null(val))
		return 0;
	if (!text || !len || len > max || strlen(text) != len ||
	    !is_plain(text))
		return -EINVAL;
	*ret_word = wfs_strdup(text);
	return 0;
}

/* Who says no layout has all ranks of what it has. */
static int take_layout(yyjson_val *ranks, struct wfs_workers *w)
{
	struct wfs_layout_spec spec = { .pp = 1 };

	if (w->live.layout &&
	    (wfs_layout_parse(w->live.layout, &spec) || spec.hf))
		return -EINVAL;
	if (!w->live.layout)
		spec.tp = yyjson_arr_size(ranks) > WFS_LAYOUT_MAX ?
				  WFS_LAYOUT_MAX :
				  (unsigned)yyjson_arr_size(ranks);
	w->tp = spec.tp;
	w->world = spec.tp * spec.pp;
	return 0;
}

static int add_rank(struct wfs_workers *w, yyjson_val *number)
{
	uint64_t rank = yyjson_get_uint(number);
	size_t n = w->live.rank_count;

	if (!yyjson_is_uint(number) || rank >= w->world ||
	    (n && w->ranks[n - 1] >= rank))
		return -EINVAL;
	w->ranks[n] = (uint32_t)rank;
	w->live.rank_count++;
	return 0;
}

/* Where each rank was first, if it was not there. */
static int take_origins(yyjson_val *rows, struct wfs_workers *w)
{
	yyjson_arr_iter iter;
	yyjson_val *row;
	size_t i = 0;

	if (!rows || yyjson_is_null(rows))
		return 0;
	if (yyjson_arr_size(rows) != w->live.rank_count)
		return -EINVAL;
	yyjson_arr_iter_init(rows, &iter);
	while ((row = yyjson_arr_iter_next(&iter))) {
		yyjson_val *rank = yyjson_obj_get(row, "rank");
		yyjson_val *node = yyjson_obj_get(row, "node");
		uint8_t id[WFS_NODE_ID_BYTES / 2];

		if (!yyjson_is_uint(rank) ||
		    yyjson_get_uint(rank) != w->ranks[i] ||
		    !yyjson_is_str(node) ||
		    wfs_hex_parse(yyjson_get_str(node), yyjson_get_len(node),
				  id, sizeof(id)) ||
		    wfs_manifest_take_version(row, w->origins[i].version))
			return -EINVAL;
		wfs_hex_format(id, sizeof(id), w->origins[i++].node);
	}
	return 0;
}

static void make_room(struct wfs_workers *w, size_t ranks)
{
	w->ranks = wfs_calloc(ranks, sizeof(*w->ranks));
	w->origins = wfs_calloc(ranks, sizeof(*w->origins));
	w->live.ranks = w->ranks;
	w->live.origins = w->origins;
}

static int take_ranks(yyjson_val *object, struct wfs_workers *w)
{
	yyjson_val *epoch = yyjson_obj_get(object, "epoch"), *number;
	yyjson_val *ranks = yyjson_obj_get(object, "ranks");
	size_t n = yyjson_arr_size(ranks);
	yyjson_arr_iter iter;

	if (!yyjson_is_uint(epoch) || !n || n > w->world)
		return -EINVAL;
	w->live.epoch = yyjson_get_uint(epoch);
	w->live.digests = yyjson_is_true(yyjson_obj_get(object, "digests"));
	make_room(w, n);
	yyjson_arr_iter_init(ranks, &iter);
	while ((number = yyjson_arr_iter_next(&iter)))
		if (add_rank(w, number))
			return -EINVAL;
	return take_origins(yyjson_obj_get(object, "of"), w);
}

int wfs_workers_parse(yyjson_val *object, const char *what,
		      struct wfs_workers **ret, struct wfs_err *err)
{
	struct wfs_workers *w = wfs_calloc(1, sizeof(*w));
	struct wfs_live *live = &w->live;
	const char *wrong = NULL;

	atomic_init(&w->refs, 1);
	if (take_word(object, "engine", WORD_MAX, &live->engine))
		wrong = "engine";
	else if (take_word(object, "engine_version", WORD_MAX,
			   &live->engine_version))
		wrong = "engine_version";
	else if (take_word(object, "layout", WORD_MAX, &live->layout) ||
		 take_layout(yyjson_obj_get(object, "ranks"), w))
		wrong = "layout";
	else if (take_word(object, "declared", DECLARED_MAX, &live->declared))
		wrong = "declared";
	else if (take_word(object, "state", WORD_MAX, &live->state))
		wrong = "state";
	else if (take_ranks(object, w))
		wrong = "epoch, or ranks,";
	if (!wrong) {
		*ret = w;
		return 0;
	}
	wfs_workers_put(w);
	return wfs_err_set(err, -EBADMSG,
			   "%s: what it says of the engine has no %s that can "
			   "be",
			   what, wrong);
}

/* ---- asking */

void wfs_workers_add_ranks(struct wfs_text *text, const bool *has,
			   uint32_t world)
{
	const char *between = "";
	uint32_t n = 0;

	for (uint32_t i = 0; i < world; i++)
		n += has[i];
	wfs_text_add(text, n == 1 ? "rank " : "ranks ");
	for (uint32_t i = 0, end; i < world; i = end + 1) {
		end = i;
		if (!has[i])
			continue;
		while (end + 1 < world && has[end + 1])
			end++;
		wfs_text_add(text, "%s%u", between, i);
		if (end > i)
			wfs_text_add(text, "-%u", end);
		between = ", ";
	}
}

struct wfs_workers *wfs_workers_like(const struct wfs_workers *workers)
{
	struct wfs_workers *made = wfs_calloc(1, sizeof(*made));
	const struct wfs_live *live = &workers->live;

	atomic_init(&made->refs, 1);
	made->live = (struct wfs_live){
		.engine = wfs_strdup_or_null(live->engine),
		.engine_version = wfs_strdup_or_null(live->engine_version),
		.layout = wfs_strdup_or_null(live->layout),
		.state = wfs_strdup_or_null(live->state),
		.declared = wfs_strdup_or_null(live->declared),
	};
	made->tp = workers->tp;
	made->world = workers->world;
	make_room(made, made->world);
	return made;
}

struct wfs_workers *wfs_workers_get(struct wfs_workers *workers)
{
	atomic_fetch_add(&workers->refs, 1);
	return workers;
}

/* Ours; only others are not to change it. */
static void free_word(const char *word)
{
	free((char *)(uintptr_t)word);
}

void wfs_workers_put(struct wfs_workers *workers)
{
	if (!workers || atomic_fetch_sub(&workers->refs, 1) > 1)
		return;
	free_word(workers->live.engine);
	free_word(workers->live.engine_version);
	free_word(workers->live.layout);
	free_word(workers->live.state);
	free_word(workers->live.declared);
	free(workers->ranks);
	free(workers->origins);
	free(workers);
}

const struct wfs_live_origin *
wfs_workers_origin(const struct wfs_workers *workers, uint32_t rank)
{
	size_t lo = 0, hi = workers->live.rank_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (workers->ranks[mid] == rank)
			return &workers->origins[mid];
		if (workers->ranks[mid] < rank)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

bool wfs_workers_same_origin(const struct wfs_live_origin *a,
			     const struct wfs_live_origin *b)
{
	return !strcmp(a->node, b->node) && !strcmp(a->version, b->version);
}

const char *wfs_workers_differ(const struct wfs_workers *a,
			       const struct wfs_workers *b)
{
	const struct wfs_live *x = &a->live, *y = &b->live;

	if (!wfs_text_same(x->engine, y->engine))
		return "engine";
	if (!wfs_text_same(x->engine_version, y->engine_version))
		return "version of the engine";
	if (a->tp != b->tp || a->world != b->world)
		return "layout";
	if (!wfs_text_same(x->declared, y->declared))
		return "declared version";
	return wfs_text_same(x->state, y->state) ? NULL : "state";
}

int wfs_workers_rank_of(const struct wfs_workers *workers, const char *path,
			uint32_t *ret_rank)
{
	struct wfs_sharded_name name = { 0 };

	if (wfs_sharded_parse(path, &name) || name.tp >= workers->world ||
	    name.pp >= workers->world / workers->tp ||
	    (name.pipeline && name.tp >= workers->tp))
		return -EINVAL;
	*ret_rank = name.pp * workers->tp + name.tp;
	return 0;
}
