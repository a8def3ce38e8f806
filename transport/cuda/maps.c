/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which memory of readers is mapped.  A handle of the legacy kind, or of a
 * pool's pointer, opens in a process once: fills at the same time share it.
 */
#include <errno.h>
#include <string.h>

#include "transport/cuda/work.h"

static bool is_same(const struct wfs_gpu_map *map,
		    const struct wfs_gpu_request *ask)
{
	return map->memory.kind == ask->memory &&
	       map->memory.bytes == ask->memory_bytes &&
	       memcmp(map->handle, ask->handle, sizeof(map->handle)) == 0;
}

/* … whatever it is called: the handle of a descriptor's says nothing. */
static bool is_shared(const struct wfs_gpu_map *map,
		      const struct wfs_gpu_request *ask)
{
	return !map->cookie && map->memory.kind != WFS_DEVICE_VMM_FD &&
	       is_same(map, ask);
}

/* By its cookie, or what a fill without one has open just now. */
static struct wfs_gpu_map *find_map(struct wfs_gpu_work *work,
				    const struct wfs_gpu_request *ask)
{
	struct wfs_gpu_map *shared = NULL;

	for (size_t i = 0; i < WFS_GPU_MAPS; i++) {
		struct wfs_gpu_map *map = &work->maps[i];

		if (!map->memory.kind)
			continue;
		if (ask->cookie && map->client == ask->client &&
		    map->cookie == ask->cookie)
			return map;
		if (is_shared(map, ask))
			shared = map;
	}
	return shared;
}

/* A free one, or of those that nobody uses that of longest ago; or NULL. */
static struct wfs_gpu_map *room_for_map(struct wfs_gpu_work *work)
{
	struct wfs_gpu_map *oldest = NULL;

	for (size_t i = 0; i < WFS_GPU_MAPS; i++) {
		struct wfs_gpu_map *map = &work->maps[i];

		if (!map->memory.kind)
			return map;
		if (!map->users && (!oldest || map->used < oldest->used))
			oldest = map;
	}
	if (oldest)
		wfs_gpu_let_go(work, &oldest->memory);
	return oldest;
}

static int busy(struct wfs_gpu_work *work, const char *what)
{
	wfs_gpu_refuse(work, WFS_DEVICE_STAGE_MAP, -EBUSY, what);
	return -EBUSY;
}

static int add_map(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask,
		   int memory_fd, struct wfs_gpu_map **ret_map)
{
	struct wfs_gpu_memory memory;
	struct wfs_gpu_map *map;
	int rc = wfs_gpu_import(work, ask, memory_fd, &memory);

	if (rc)
		return rc;
	map = room_for_map(work);
	if (!map) {
		wfs_gpu_let_go(work, &memory);
		return busy(work, "too much is mapped");
	}
	*map = (struct wfs_gpu_map){ .memory = memory };
	memcpy(map->handle, ask->handle, sizeof(map->handle));
	*ret_map = map;
	return 0;
}

int wfs_gpu_map_get(struct wfs_gpu_work *work,
		    const struct wfs_gpu_request *ask, int memory_fd,
		    struct wfs_gpu_map **ret_map)
{
	struct wfs_gpu_map *map = find_map(work, ask);
	int rc = 0;

	/* The cookie is of another allocation now. */
	if (map && !is_same(map, ask)) {
		if (map->users)
			return busy(work, "the cookie is in use for another "
					  "allocation");
		wfs_gpu_let_go(work, &map->memory);
		map = find_map(work, ask);
	}
	if (!map)
		rc = add_map(work, ask, memory_fd, &map);
	if (rc)
		return rc;
	if (!map->cookie) {
		map->client = ask->client;
		map->cookie = ask->cookie;
	}
	map->users++;
	map->used = work->requests;
	*ret_map = map;
	return 0;
}

void wfs_gpu_map_put(struct wfs_gpu_work *work, struct wfs_gpu_map *map)
{
	if (--map->users == 0 && !map->cookie)
		wfs_gpu_let_go(work, &map->memory);
}

int wfs_gpu_forget(struct wfs_gpu_work *work, uint64_t client, uint64_t cookie)
{
	int rc = -ENOENT;

	for (size_t i = 0; i < WFS_GPU_MAPS; i++) {
		struct wfs_gpu_map *map = &work->maps[i];

		if (!map->memory.kind || map->client != client ||
		    (cookie && map->cookie != cookie))
			continue;
		/* What is being filled goes with its fill. */
		map->cookie = 0;
		if (!map->users)
			wfs_gpu_let_go(work, &map->memory);
		rc = 0;
	}
	return rc ? wfs_gpu_refuse(work, WFS_DEVICE_STAGE_MAP, rc,
				   "nothing is mapped by that cookie") :
		    0;
}
