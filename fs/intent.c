/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See intent.h.  One record a rank (or for the files of a model), one for
 * each file that was opened and is not hydrated at once.  One lock, held for
 * table work only: what is to be prefetched is gathered under it and queued
 * after.
 */
#include "fs/intent.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "core/base/text.h"
#include "fs/ahead.h"
#include "fs/orders.h"
#include "fs/state.h"

#define BUCKETS	  256
#define MAX_FILES 65536 /* records of single files; then all are forgotten */

/* A rank's tensors, or the whole files of a model. */
struct group {
	struct group *next;
	uint64_t key; /* stable ino of the rank's or the model's directory */
	struct wfs_order *order;
	uint64_t bytes;
	struct wfs_ahead ahead;
	bool guessed; /* something far may be queued for nobody */
};

struct file {
	struct file *next;
	uint64_t ino;
	uint64_t bytes;
	uint32_t opens;
	bool shown;
};

struct wfs_intent {
	pthread_mutex_t lock;
	struct wfs_fs *fs;
	struct wfs_orders *orders;
	struct wfs_deadline look; /* whether a guess is still worth it */
	bool looking, stopped;
	struct group *groups[BUCKETS];
	struct file *files[BUCKETS];
	uint32_t file_count;
};

static bool is_tensor(const struct wfs_node *node)
{
	return node->kind == WFS_KIND_TENSOR;
}

/* Up to `max` slots for which something may be queued that is far away. */
static unsigned guessed_slots(struct wfs_intent *in, uint32_t *slots,
			      unsigned max)
{
	unsigned n = 0;

	for (int b = 0; b < BUCKETS; b++)
		for (struct group *g = in->groups[b]; g && n < max; g = g->next)
			if (g->guessed)
				slots[n++] = wfs_ino_slot(g->key);
	return n;
}

/* What it was ahead of counts no more: who comes back begins anew. */
static void drop_guesses(struct wfs_intent *in, uint32_t slot)
{
	pthread_mutex_lock(&in->lock);
	for (int b = 0; b < BUCKETS; b++)
		for (struct group *g = in->groups[b]; g; g = g->next)
			if (g->guessed && wfs_ino_slot(g->key) == slot) {
				g->guessed = false;
				g->ahead = (struct wfs_ahead){ 0 };
			}
	pthread_mutex_unlock(&in->lock);
	wfs_store_give_up(in->fs->store, WFS_INO_SLOT_MASK,
			  wfs_ino_make(slot, 0, 0, 0));
}

static void look_later(struct wfs_intent *in)
{
	in->look.at_ns = wfs_now_ns() + WFS_PREFETCH_IDLE_NS;
	wfs_notifier_add(in->fs->notifier, &in->look);
}

/* Nothing is fetched from far away for a model that nobody reads any more. */
static void look_at_guesses(struct wfs_deadline *deadline)
{
	struct wfs_intent *in =
		(struct wfs_intent *)((char *)deadline -
				      offsetof(struct wfs_intent, look));
	uint32_t slots[WFS_PREFETCH_FILES];
	unsigned n;
	bool again;

	pthread_mutex_lock(&in->lock);
	n = guessed_slots(in, slots, WFS_PREFETCH_FILES);
	pthread_mutex_unlock(&in->lock);
	for (unsigned i = 0; i < n; i++)
		if (!wfs_registry_is_open(in->fs->registry, slots[i],
					  WFS_PREFETCH_IDLE_NS))
			drop_guesses(in, slots[i]);
	pthread_mutex_lock(&in->lock);
	again = guessed_slots(in, slots, 1) && !in->stopped;
	in->looking = again;
	pthread_mutex_unlock(&in->lock);
	if (again)
		look_later(in);
}

struct wfs_intent *wfs_intent_new(struct wfs_fs *fs, struct wfs_orders *orders)
{
	struct wfs_intent *in = wfs_calloc(1, sizeof(*in));

	in->fs = fs;
	in->orders = orders;
	in->look.fire = look_at_guesses;
	pthread_mutex_init(&in->lock, NULL);
	return in;
}

/* A first pass that was not ended, ends. */
static void keep_first(struct wfs_intent *in, struct wfs_order *order)
{
	if (wfs_order_finish(order))
		wfs_orders_keep_later(in->orders, in->fs->fillers, order);
}

void wfs_intent_stop(struct wfs_intent *in)
{
	pthread_mutex_lock(&in->lock);
	in->stopped = true;
	for (int b = 0; b < BUCKETS; b++)
		for (struct group *g = in->groups[b]; g; g = g->next)
			keep_first(in, g->order);
	pthread_mutex_unlock(&in->lock);
}

/* Frees the records whose key has `mask` bits equal to `value`. */
static void forget(struct wfs_intent *in, uint64_t mask, uint64_t value)
{
	for (int b = 0; b < BUCKETS; b++) {
		struct group **pg = &in->groups[b], *g;
		struct file **pf = &in->files[b], *f;

		while ((g = *pg)) {
			if ((g->key & mask) != value) {
				pg = &g->next;
				continue;
			}
			*pg = g->next;
			keep_first(in, g->order);
			wfs_order_free(g->order);
			free(g);
		}
		while ((f = *pf)) {
			if ((f->ino & mask) != value) {
				pf = &f->next;
				continue;
			}
			*pf = f->next;
			free(f);
			in->file_count--;
		}
	}
}

void wfs_intent_free(struct wfs_intent *in)
{
	if (!in)
		return;
	forget(in, 0, 0);
	pthread_mutex_destroy(&in->lock);
	free(in);
}

void wfs_intent_drop(struct wfs_intent *in, uint32_t slot)
{
	pthread_mutex_lock(&in->lock);
	forget(in, WFS_INO_SLOT_MASK, wfs_ino_make(slot, 0, 0, 0));
	pthread_mutex_unlock(&in->lock);
}

static unsigned bucket(uint64_t key)
{
	return (unsigned)((key * 0x9e3779b97f4a7c15ull) >> 56) % BUCKETS;
}

static struct group *group_of(struct wfs_intent *in,
			      const struct wfs_node *node)
{
	uint64_t key = is_tensor(node) ?
			       wfs_node_parent(node) :
			       wfs_ino_make(node->slot, WFS_KIND_ENTRY, 0, 0);
	struct group **pg = &in->groups[bucket(key)];
	struct group *g;

	for (g = *pg; g; g = g->next)
		if (g->key == key)
			return g;
	g = wfs_calloc(1, sizeof(*g));
	g->key = key;
	g->order = wfs_orders_first(in->orders, node);
	g->next = *pg;
	*pg = g;
	return g;
}

static struct file *file_of(struct wfs_intent *in, uint64_t ino)
{
	struct file **pf = &in->files[bucket(ino)];
	struct file *f;

	for (f = *pf; f; f = f->next)
		if (f->ino == ino)
			return f;
	if (in->file_count >= MAX_FILES) {
		for (int b = 0; b < BUCKETS; b++) {
			while ((f = in->files[b])) {
				in->files[b] = f->next;
				free(f);
			}
		}
		in->file_count = 0;
	}
	f = wfs_calloc(1, sizeof(*f));
	f->ino = ino;
	f->next = *pf;
	*pf = f;
	in->file_count++;
	return f;
}

static bool group_shown(const struct group *g)
{
	return g->bytes > WFS_INTENT_RANK_BYTES;
}

/*
 * A part of a layout lies nowhere: any byte of it is produced, and one that is
 * not there when it is opened comes by READs for as long as it is open.
 */
static bool is_part(const struct group *g, const struct wfs_node *node)
{
	return !wfs_node_region(node) &&
	       wfs_order_position(g->order, node->index) != UINT32_MAX &&
	       wfs_node_size(node) <= WFS_INTENT_PART_BYTES &&
	       wfs_node_is_local(node);
}

bool wfs_intent_note_open(struct wfs_intent *in, const struct wfs_node *node)
{
	bool shown = is_tensor(node);
	struct group *g;
	struct file *f;

	pthread_mutex_lock(&in->lock);
	g = group_of(in, node);
	if (wfs_order_note(g->order, node->index))
		wfs_orders_keep_later(in->orders, in->fs->fillers, g->order);
	if (!shown) {
		f = file_of(in, wfs_node_ino(node));
		f->opens++;
		f->shown = f->shown || f->opens > 1 || group_shown(g) ||
			   is_part(g, node);
		shown = f->shown;
	}
	pthread_mutex_unlock(&in->lock);
	return shown;
}

void wfs_intent_note_read(struct wfs_intent *in, struct wfs_fs *fs,
			  const struct wfs_node *node, size_t bytes)
{
	struct wfs_node_recipe recipe;
	bool now = false;
	struct group *g;
	struct file *f;

	if (!fs->store || !wfs_fs_passthrough(fs) || is_tensor(node))
		return;
	pthread_mutex_lock(&in->lock);
	g = group_of(in, node);
	f = file_of(in, wfs_node_ino(node));
	g->bytes += bytes;
	f->bytes += bytes;
	if (!f->shown && (f->bytes > WFS_INTENT_FILE_BYTES || group_shown(g))) {
		f->shown = true;
		now = true;
	}
	pthread_mutex_unlock(&in->lock);
	if (now && wfs_node_recipe(node, &recipe) == 0) {
		(void)wfs_store_acquire(fs->store, wfs_node_ino(node),
					recipe.recipe, NULL, NULL);
		wfs_node_recipe_clear(&recipe);
		wfs_intent_prefetch(in, fs, node);
	}
}

/* Indices to queue after `node`. */
static unsigned gather(struct group *g, const struct wfs_node *node, bool far,
		       uint64_t window, uint32_t *indices)
{
	if (wfs_order_position(g->order, node->index) == UINT32_MAX)
		return 0;
	/* What is far away is worth a guess. */
	return wfs_ahead_next(&g->ahead, g->order, node, window,
			      far || (!is_tensor(node) && group_shown(g)),
			      indices);
}

uint32_t wfs_intent_position(struct wfs_intent *in, const struct wfs_node *node)
{
	uint32_t position;

	pthread_mutex_lock(&in->lock);
	position = wfs_order_position(group_of(in, node)->order, node->index);
	pthread_mutex_unlock(&in->lock);
	return position;
}

void wfs_intent_prefetch(struct wfs_intent *in, struct wfs_fs *fs,
			 const struct wfs_node *node)
{
	uint32_t indices[WFS_PREFETCH_FILES];
	struct wfs_node next = *node;
	bool look = false, far;
	unsigned n = 0;
	struct group *g;

	if (!fs->config.prefetch)
		return;
	far = !wfs_node_is_local(node);
	pthread_mutex_lock(&in->lock);
	g = group_of(in, node);
	n = gather(g, node, far, fs->config.prefetch, indices);
	if (n && far) {
		g->guessed = true;
		look = !in->looking && !in->stopped;
		in->looking |= look;
	}
	pthread_mutex_unlock(&in->lock);
	for (unsigned i = 0; i < n; i++) {
		struct wfs_node_recipe recipe;

		next.index = indices[i];
		next.id = wfs_ino_make(next.slot, next.kind, next.rank,
				       next.index);
		if (wfs_node_size(&next) == 0 ||
		    wfs_node_recipe(&next, &recipe) < 0)
			continue;
		(void)wfs_store_prefetch(fs->store, next.id, recipe.recipe);
		wfs_node_recipe_clear(&recipe);
	}
	if (look)
		look_later(in);
}
