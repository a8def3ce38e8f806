/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes of a layout that were asked for lately.
 *
 * A reader of a file that is not in the arena asks for its recipe with every
 * request, and an open asks whether its sources are what they were: the rule
 * is not evaluated anew for each, a file of a thousand tensors least of all.
 */
#include <pthread.h>

#include "core/base/text.h"
#include "core/plan/inner.h"

#define SLOTS 1024
/* Pieces of all that is kept: some 10 MB. */
#define PIECES 100000

struct slot {
	uint64_t key;
	struct wfs_recipe *recipe; /* NULL: none */
};

struct wfs_recipe_cache {
	pthread_mutex_t lock;
	uint64_t pieces;
	struct slot slots[SLOTS];
};

struct wfs_recipe_cache *wfs_recipe_cache_new(void)
{
	struct wfs_recipe_cache *cache = wfs_calloc(1, sizeof(*cache));

	pthread_mutex_init(&cache->lock, NULL);
	return cache;
}

static struct wfs_recipe *take_out(struct wfs_recipe_cache *cache,
				   struct slot *slot)
{
	if (slot->recipe)
		cache->pieces -= slot->recipe->n;
	return wfs_steal_ptr(&slot->recipe);
}

static void empty(struct wfs_recipe_cache *cache)
{
	for (unsigned i = 0; i < SLOTS; i++)
		wfs_recipe_free(take_out(cache, &cache->slots[i]));
}

void wfs_recipe_cache_free(struct wfs_recipe_cache *cache)
{
	if (!cache)
		return;
	empty(cache);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

static struct slot *slot_of(struct wfs_recipe_cache *cache, uint64_t key)
{
	return &cache->slots[key * 0x9e3779b97f4a7c15ull >> 32 & (SLOTS - 1)];
}

struct wfs_recipe *wfs_recipe_cache_find(struct wfs_recipe_cache *cache,
					 uint64_t key)
{
	struct wfs_recipe *found = NULL;
	struct slot *slot = slot_of(cache, key);

	pthread_mutex_lock(&cache->lock);
	if (slot->recipe && slot->key == key)
		found = wfs_recipe_get(slot->recipe);
	pthread_mutex_unlock(&cache->lock);
	return found;
}

void wfs_recipe_cache_add(struct wfs_recipe_cache *cache, uint64_t key,
			  struct wfs_recipe *recipe)
{
	struct slot *slot = slot_of(cache, key);
	struct wfs_recipe *old;

	if (recipe->n > PIECES)
		return;
	pthread_mutex_lock(&cache->lock);
	old = take_out(cache, slot);
	if (cache->pieces + recipe->n > PIECES)
		empty(cache);
	slot->key = key;
	slot->recipe = wfs_recipe_get(recipe);
	cache->pieces += recipe->n;
	pthread_mutex_unlock(&cache->lock);
	wfs_recipe_free(old);
}
