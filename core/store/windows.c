/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See windows.h.  One list, the latest used first: there are few windows, and
 * who copies out of one does so for milliseconds.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "core/base/text.h"
#include "core/store/windows.h"

/* Page tables take 2 MiB for each GiB that is mapped. */
#define WINDOWS_MAX ((4ull << 30) / WFS_WINDOW_BYTES)

struct wfs_windows {
	pthread_mutex_t lock;
	struct wfs_window *head, *tail;
	unsigned count;
	uint64_t keep_ns;
	void (*begun)(void *ctx);
	void *ctx;
};

struct wfs_windows *wfs_windows_new(uint64_t keep_ns, void (*begun)(void *ctx),
				    void *ctx)
{
	struct wfs_windows *windows = wfs_calloc(1, sizeof(*windows));

	pthread_mutex_init(&windows->lock, NULL);
	windows->keep_ns = keep_ns;
	windows->begun = begun;
	windows->ctx = ctx;
	return windows;
}

static void unlink_locked(struct wfs_windows *windows, struct wfs_window *w)
{
	*(w->prev ? &w->prev->next : &windows->head) = w->next;
	*(w->next ? &w->next->prev : &windows->tail) = w->prev;
	w->prev = w->next = NULL;
	windows->count--;
}

static void push_locked(struct wfs_windows *windows, struct wfs_window *w)
{
	w->next = windows->head;
	*(w->next ? &w->next->prev : &windows->tail) = w;
	windows->head = w;
	windows->count++;
}

static void destroy(struct wfs_window *w)
{
	munmap(w->map, w->len);
	wfs_source_put(w->region->source);
	free(w);
}

/* A list by `next` of those that nobody has any more and that are to go. */
static void destroy_all(struct wfs_window *dead)
{
	while (dead) {
		struct wfs_window *next = dead->next;

		destroy(dead);
		dead = next;
	}
}

static void condemn_locked(struct wfs_windows *windows, struct wfs_window *w,
			   struct wfs_window **dead)
{
	unlink_locked(windows, w);
	w->next = *dead;
	*dead = w;
}

/*
 * Unmaps those of a source (NULL: of all) that nobody has and nobody had after
 * `last`; when the first of the others was used, UINT64_MAX if there are none.
 */
static uint64_t unmap(struct wfs_windows *windows,
		      const struct wfs_source *source, uint64_t last)
{
	struct wfs_window *w, *prev, *dead = NULL;
	uint64_t first = UINT64_MAX;

	pthread_mutex_lock(&windows->lock);
	for (w = windows->tail; w; w = prev) {
		prev = w->prev;
		if (!w->users && w->used_at <= last &&
		    (!source || w->region->source == source))
			condemn_locked(windows, w, &dead);
		else if (w->used_at < first)
			first = w->used_at;
	}
	pthread_mutex_unlock(&windows->lock);
	destroy_all(dead);
	return first;
}

void wfs_windows_drop(struct wfs_windows *windows,
		      const struct wfs_source *source)
{
	unmap(windows, source, UINT64_MAX);
}

uint64_t wfs_windows_expire(struct wfs_windows *windows)
{
	uint64_t now = wfs_now_ns(), keep_ns = windows->keep_ns;
	uint64_t last = now > keep_ns ? now - keep_ns : 0;
	uint64_t first = unmap(windows, NULL, last);

	if (first == UINT64_MAX)
		return first;
	/* One that somebody has is looked at again as if it were new. */
	return (first > last ? first : now) + keep_ns;
}

void wfs_windows_free(struct wfs_windows *windows)
{
	if (!windows)
		return;
	wfs_windows_drop(windows, NULL);
	pthread_mutex_destroy(&windows->lock);
	free(windows);
}

static struct wfs_window *map_window(struct wfs_region *region, uint64_t off)
{
	uint64_t len = region->size - off;
	struct wfs_window *w;
	char *map;

	if (len > WFS_WINDOW_BYTES + WFS_WINDOW_TAIL)
		len = WFS_WINDOW_BYTES + WFS_WINDOW_TAIL;
	map = mmap(NULL, len, PROT_READ, MAP_SHARED,
		   wfs_region_descriptor(region), (off_t)off);
	if (map == MAP_FAILED)
		return NULL;
	/* Where there are none, small pages do as well. */
	(void)madvise(map, len, MADV_HUGEPAGE);
	w = wfs_calloc(1, sizeof(*w));
	w->map = map;
	w->off = off;
	w->len = len;
	w->region = region;
	w->users = 1;
	wfs_source_get(region->source);
	return w;
}

static struct wfs_window *find_locked(struct wfs_windows *windows,
				      const struct wfs_region *region,
				      uint64_t off)
{
	struct wfs_window *w = windows->head;

	while (w && (w->region != region || w->off != off))
		w = w->next;
	if (w) {
		w->users++;
		unlink_locked(windows, w);
		push_locked(windows, w);
	}
	return w;
}

/* The one that was not used for the longest time, if nobody has it. */
static void make_room_locked(struct wfs_windows *windows,
			     struct wfs_window **dead)
{
	struct wfs_window *w = windows->tail;

	if (windows->count < WINDOWS_MAX)
		return;
	while (w && w->users)
		w = w->prev;
	if (w)
		condemn_locked(windows, w, dead);
}

/* `made`, or the one that another thread was faster with. */
static struct wfs_window *add(struct wfs_windows *windows,
			      struct wfs_window *made)
{
	struct wfs_window *w, *dead = NULL;
	bool first = false;

	pthread_mutex_lock(&windows->lock);
	w = find_locked(windows, made->region, made->off);
	if (!w) {
		make_room_locked(windows, &dead);
		push_locked(windows, made);
		first = windows->count == 1;
	}
	pthread_mutex_unlock(&windows->lock);
	destroy_all(dead);
	if (w)
		destroy(made);
	else if (first && windows->begun)
		windows->begun(windows->ctx);
	return w ? w : made;
}

int wfs_window_get(struct wfs_windows *windows, struct wfs_region *region,
		   uint64_t off, struct wfs_window **ret_window)
{
	uint64_t start = off / WFS_WINDOW_BYTES * WFS_WINDOW_BYTES;
	struct wfs_window *w;

	pthread_mutex_lock(&windows->lock);
	w = find_locked(windows, region, start);
	pthread_mutex_unlock(&windows->lock);
	if (!w) {
		w = map_window(region, start);
		if (!w)
			return -ENOTSUP;
		w = add(windows, w);
	}
	*ret_window = w;
	return 0;
}

void wfs_window_put(struct wfs_windows *windows, struct wfs_window *window)
{
	pthread_mutex_lock(&windows->lock);
	window->users--;
	window->used_at = wfs_now_ns();
	pthread_mutex_unlock(&windows->lock);
}
