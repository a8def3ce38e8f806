/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See modes.h.  A hash table of the files that are open, by stable inode
 * number, in shards with a lock each; an entry lives as long as an open of
 * any of its variants.
 */
#include "fs/modes.h"

#include <pthread.h>
#include <string.h>

#include "core/base/text.h"
#include "fs/ino.h"

#define SHARDS	16
#define BUCKETS 256

struct file {
	struct file *next;
	uint64_t ino;
	uint32_t total;
	uint32_t opens[WFS_VARIANTS];
	uint8_t mode[WFS_VARIANTS]; /* enum wfs_mode, while opens > 0 */
};

struct shard {
	pthread_mutex_t lock;
	struct file *buckets[BUCKETS];
	struct file *spare; /* one kept, so that a hot open allocates nothing */
	uint64_t cached, passthrough;
};

struct wfs_modes {
	struct shard shards[SHARDS];
};

struct wfs_modes *wfs_modes_new(void)
{
	struct wfs_modes *modes = wfs_calloc(1, sizeof(*modes));

	for (int i = 0; i < SHARDS; i++)
		pthread_mutex_init(&modes->shards[i].lock, NULL);
	return modes;
}

void wfs_modes_free(struct wfs_modes *modes)
{
	if (!modes)
		return;
	for (int i = 0; i < SHARDS; i++) {
		struct shard *sh = &modes->shards[i];

		for (int b = 0; b < BUCKETS; b++) {
			while (sh->buckets[b]) {
				struct file *f = sh->buckets[b];

				sh->buckets[b] = f->next;
				free(f);
			}
		}
		free(sh->spare);
		pthread_mutex_destroy(&sh->lock);
	}
	free(modes);
}

static uint64_t mix(uint64_t ino)
{
	return (ino * 0x9e3779b97f4a7c15ull) >> 32;
}

static struct shard *lock_shard(struct wfs_modes *modes, uint64_t ino)
{
	struct shard *sh = &modes->shards[mix(ino) % SHARDS];

	pthread_mutex_lock(&sh->lock);
	return sh;
}

/* Where the file of `ino` is linked in, or the end of its chain. */
static struct file **find(struct shard *sh, uint64_t ino)
{
	struct file **pf = &sh->buckets[mix(ino) / SHARDS % BUCKETS];

	while (*pf && (*pf)->ino != ino)
		pf = &(*pf)->next;
	return pf;
}

static struct file *find_or_add(struct shard *sh, uint64_t ino)
{
	struct file **pf = find(sh, ino);

	if (*pf)
		return *pf;
	*pf = sh->spare ? wfs_steal_ptr(&sh->spare) : wfs_malloc(sizeof(**pf));
	memset(*pf, 0, sizeof(**pf));
	(*pf)->ino = ino;
	return *pf;
}

static void drop(struct shard *sh, struct file **pf)
{
	struct file *f = *pf;

	*pf = f->next;
	if (sh->spare)
		free(f);
	else
		sh->spare = f;
}

enum wfs_mode wfs_modes_enter(struct wfs_modes *modes, uint64_t id,
			      enum wfs_mode wanted, bool *ret_first)
{
	uint64_t ino = wfs_ino_stable(id);
	uint32_t v = wfs_ino_variant(id);
	struct shard *sh = lock_shard(modes, ino);
	struct file *f = find_or_add(sh, ino);
	enum wfs_mode mode;

	*ret_first = f->opens[v] == 0;
	if (*ret_first)
		f->mode[v] = (uint8_t)wanted;
	mode = f->mode[v];
	f->opens[v]++;
	f->total++;
	if (mode == WFS_MODE_CACHED)
		sh->cached++;
	else
		sh->passthrough++;
	pthread_mutex_unlock(&sh->lock);
	return mode;
}

void wfs_modes_leave(struct wfs_modes *modes, uint64_t id)
{
	uint64_t ino = wfs_ino_stable(id);
	uint32_t v = wfs_ino_variant(id);
	struct shard *sh = lock_shard(modes, ino);
	struct file **pf = find(sh, ino);
	struct file *f = *pf;

	if (f && f->opens[v] > 0) {
		if (f->mode[v] == WFS_MODE_CACHED)
			sh->cached--;
		else
			sh->passthrough--;
		f->opens[v]--;
		if (--f->total == 0)
			drop(sh, pf);
	}
	pthread_mutex_unlock(&sh->lock);
}

enum wfs_mode wfs_modes_of(struct wfs_modes *modes, uint64_t id)
{
	uint64_t ino = wfs_ino_stable(id);
	uint32_t v = wfs_ino_variant(id);
	struct shard *sh = lock_shard(modes, ino);
	struct file *f = *find(sh, ino);
	enum wfs_mode mode = WFS_MODE_NONE;

	if (f && f->opens[v] > 0)
		mode = f->mode[v];
	pthread_mutex_unlock(&sh->lock);
	return mode;
}

static bool is_cached(const struct file *f, uint32_t v)
{
	return f->opens[v] > 0 && f->mode[v] == WFS_MODE_CACHED;
}

uint32_t wfs_modes_pick(struct wfs_modes *modes, uint64_t ino, bool resident,
			bool *ret_cacheable)
{
	struct shard *sh = lock_shard(modes, ino);
	const struct file *f = *find(sh, ino);
	uint32_t limit = resident ? WFS_VARIANTS : 2;
	uint32_t pick = 0;
	bool cacheable = true;

	if (f) {
		while (pick < limit && is_cached(f, pick))
			pick++;
		if (pick == limit)
			pick = limit - 1;
		for (uint32_t v = 0; v < WFS_VARIANTS; v++)
			cacheable = cacheable && !is_cached(f, v);
	}
	pthread_mutex_unlock(&sh->lock);
	*ret_cacheable = cacheable;
	return pick;
}

void wfs_modes_count(struct wfs_modes *modes, uint64_t *ret_cached,
		     uint64_t *ret_passthrough)
{
	uint64_t cached = 0, passthrough = 0;

	for (int i = 0; i < SHARDS; i++) {
		struct shard *sh = &modes->shards[i];

		pthread_mutex_lock(&sh->lock);
		cached += sh->cached;
		passthrough += sh->passthrough;
		pthread_mutex_unlock(&sh->lock);
	}
	*ret_cached = cached;
	*ret_passthrough = passthrough;
}
