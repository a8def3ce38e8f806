/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See order.h.
 */
#include "fs/order.h"

#include <stdbool.h>
#include <string.h>

#include "core/base/text.h"
#include "core/digest/xxh3.h"
#include "core/model/model.h"
#include "fs/node.h"

struct wfs_order {
	uint32_t *at;	    /* count: position -> index */
	uint32_t *position; /* limit: index -> position */
	uint32_t *seen;	    /* count: opened in this pass, in order */
	bool *is_seen;	    /* limit */
	uint32_t count, limit, seen_count;
	uint64_t key;
	uint32_t passed; /* positions that the last pass went through */
};

static void number(struct wfs_order *o)
{
	memset(o->position, 0xff, o->limit * sizeof(*o->position));
	for (uint32_t p = 0; p < o->count; p++)
		o->position[o->at[p]] = p;
}

struct wfs_order *wfs_order_new(uint32_t *first, uint32_t count, uint32_t limit)
{
	struct wfs_order *o = wfs_calloc(1, sizeof(*o));

	o->at = first;
	o->count = count;
	o->limit = limit;
	o->position = wfs_malloc(limit * sizeof(*o->position) + 1);
	o->seen = wfs_malloc(count * sizeof(*o->seen) + 1);
	o->is_seen = wfs_calloc(limit + 1, sizeof(*o->is_seen));
	number(o);
	return o;
}

static uint64_t add_name(const char *name, uint64_t key)
{
	return XXH3_64bits_withSeed(name, strlen(name) + 1, key);
}

/* Of its name and those of its files. */
static uint64_t key_of(const struct wfs_node *node)
{
	const struct wfs_model *model = node->model;
	uint64_t key = add_name(model->name, 0);

	if (node->kind == WFS_KIND_TENSOR) {
		const struct wfs_rank *rank = &model->ranks[node->rank];

		key = add_name(rank->name, key);
		for (uint32_t i = 0; i < rank->count; i++)
			key = add_name(rank->tensors[i].file_name, key);
		return key;
	}
	for (uint32_t i = 0; i < model->entry_count; i++)
		key = add_name(model->entries[i].path, key);
	return key;
}

uint64_t wfs_order_key(const struct wfs_order *o)
{
	return o->key;
}

static bool is_shard(const struct wfs_model_entry *entry)
{
	static const char suffix[] = ".safetensors";

	return !entry->is_dir && strlen(entry->name) >= sizeof(suffix) &&
	       wfs_ends_with(entry->name, suffix);
}

struct wfs_order *wfs_order_first(const struct wfs_node *node)
{
	const struct wfs_model *model = node->model;
	uint32_t *at, limit, n = 0;
	struct wfs_order *o;

	if (node->kind == WFS_KIND_TENSOR) {
		const struct wfs_rank *rank = &model->ranks[node->rank];

		n = limit = rank->count;
		at = wfs_malloc(n * sizeof(*at) + 1);
		memcpy(at, rank->file_order, n * sizeof(*at));
	} else {
		limit = model->entry_count;
		at = wfs_malloc(limit * sizeof(*at));
		for (uint32_t i = 0; i < limit; i++)
			if (is_shard(&model->entries[i]))
				at[n++] = i;
	}
	o = wfs_order_new(at, n, limit);
	o->key = key_of(node);
	return o;
}

void wfs_order_free(struct wfs_order *o)
{
	if (!o)
		return;
	free(o->at);
	free(o->position);
	free(o->seen);
	free(o->is_seen);
	free(o);
}

/* What was seen, then the rest as it was; is that another order? */
static bool adopt(struct wfs_order *o)
{
	uint32_t *at = wfs_malloc(o->count * sizeof(*at) + 1);
	uint32_t n = o->seen_count;
	bool other;

	memcpy(at, o->seen, n * sizeof(*at));
	for (uint32_t p = 0; p < o->count; p++)
		if (!o->is_seen[o->at[p]])
			at[n++] = o->at[p];
	other = o->passed != o->seen_count ||
		memcmp(at, o->at, o->count * sizeof(*at)) != 0;
	free(o->at);
	o->at = at;
	o->passed = o->seen_count;
	o->seen_count = 0;
	memset(o->is_seen, 0, o->limit * sizeof(*o->is_seen));
	number(o);
	return other;
}

bool wfs_order_note(struct wfs_order *o, uint32_t i)
{
	bool other = false;

	if (i >= o->limit || o->position[i] == UINT32_MAX)
		return false;
	if (o->is_seen[i] && o->seen_count > 1 && o->seen[0] == i)
		other = adopt(o);
	if (o->is_seen[i])
		return other;
	o->is_seen[i] = true;
	o->seen[o->seen_count++] = i;
	if (o->seen_count == o->count)
		other |= adopt(o);
	return other;
}

bool wfs_order_finish(struct wfs_order *o)
{
	return !o->passed && o->seen_count > 1 && adopt(o);
}

struct wfs_passed *wfs_order_passed(const struct wfs_order *o)
{
	size_t len = o->count * sizeof(*o->at);
	struct wfs_passed *passed = wfs_malloc(sizeof(*passed) + len);

	passed->count = o->count;
	passed->passed = o->passed;
	memcpy(passed->at, o->at, len);
	return passed;
}

bool wfs_order_resume(struct wfs_order *o, const struct wfs_passed *passed)
{
	bool *had wfs_autofree = wfs_calloc(o->limit + 1, sizeof(*had));

	if (passed->count != o->count || passed->passed > o->count)
		return false;
	for (uint32_t p = 0; p < o->count; p++) {
		uint32_t i = passed->at[p];

		if (wfs_order_position(o, i) == UINT32_MAX || had[i])
			return false;
		had[i] = true;
	}
	memcpy(o->at, passed->at, o->count * sizeof(*o->at));
	o->passed = passed->passed;
	number(o);
	return true;
}

uint32_t wfs_order_position(const struct wfs_order *o, uint32_t i)
{
	return i < o->limit ? o->position[i] : UINT32_MAX;
}

uint32_t wfs_order_end(const struct wfs_order *o, uint32_t position)
{
	return position < o->passed ? o->passed : o->count;
}

uint32_t wfs_order_at(const struct wfs_order *o, uint32_t position)
{
	return o->at[position];
}
