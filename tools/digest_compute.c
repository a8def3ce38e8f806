/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads files for their SHA-256 roots: threads take chunk after chunk off one
 * list, so that one large file keeps every CPU as busy as many small ones.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/digest/digests.h"
#include "tools/digest.h"

#define THREADS_MAX 32

struct run {
	struct wfs_digest_item *items;
	struct wfs_digests **lists; /* of each item */
	struct wfs_digests **fast;  /* XXH3-128, for the book */
	struct stat *before;	    /* mode 0: not to be kept */
	size_t count;
	pthread_mutex_t lock; /* guards what follows */
	size_t item;	      /* whose chunk is next */
	uint64_t chunk;
	uint64_t *left; /* chunks of each item that are not done */
	int failed;
	struct wfs_err *err;
	struct wfs_progress *progress;
};

static int compare(const void *a, const void *b)
{
	const struct wfs_digest_item *one = a, *two = b;

	return strcmp(one->region->path, two->region->path);
}

struct wfs_digest_item *wfs_digest_items(struct wfs_source *src,
					 size_t *ret_count)
{
	const struct wfs_source_entry *list;
	struct wfs_digest_item *items;
	size_t n, count = 0;

	list = wfs_source_list(src, &n);
	items = wfs_calloc(n, sizeof(*items));
	for (size_t i = 0; i < n; i++)
		if (list[i].region && !wfs_digest_tree_leaves_out(list[i].path))
			items[count++].region = list[i].region;
	qsort(items, count, sizeof(*items), compare);
	*ret_count = count;
	return items;
}

void wfs_digest_items_free(struct wfs_digest_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(items[i].list);
	free(items);
}

/* The next chunk that nobody has taken; false: none is left. */
static bool take(struct run *run, size_t *ret_item, uint64_t *ret_chunk)
{
	bool taken = false;

	pthread_mutex_lock(&run->lock);
	while (run->item < run->count &&
	       run->chunk == run->lists[run->item]->count) {
		run->item++;
		run->chunk = 0;
	}
	if (run->item < run->count && !run->failed) {
		*ret_item = run->item;
		*ret_chunk = run->chunk++;
		taken = true;
	}
	pthread_mutex_unlock(&run->lock);
	return taken;
}

static void fail_locked(struct run *run, const struct wfs_region *region,
			int code)
{
	if (run->failed)
		return;
	run->failed = wfs_err_set(
		run->err, code,
		code == -ESTALE ? "'%s' of '%s' changed while it was read" :
				  "cannot read '%s' of '%s': %s",
		region->path, region->source->label, strerror(-code));
}

static void line(struct run *run, size_t item)
{
	const struct wfs_region *region = run->items[item].region;
	char path[4096], size[32];

	wfs_text_escape(region->path, path, sizeof(path));
	wfs_progress_line(run->progress, "read %s (%s)", path,
			  wfs_size_format(region->size, size, sizeof(size)));
}

static void done(struct run *run, size_t item, uint32_t len, int rc)
{
	pthread_mutex_lock(&run->lock);
	if (rc)
		fail_locked(run, run->items[item].region, rc);
	wfs_progress_step(run->progress, len);
	if (--run->left[item] == 0 && !run->failed)
		line(run, item);
	pthread_mutex_unlock(&run->lock);
}

static void *work(void *arg)
{
	struct run *run = arg;
	char *buffer wfs_autofree = wfs_malloc(WFS_CHUNK);
	uint64_t chunk;
	size_t i;

	while (take(run, &i, &chunk)) {
		struct wfs_digests *list = run->lists[i];
		uint32_t len = wfs_chunk_len(list->size, chunk);
		ssize_t n = wfs_region_read(run->items[i].region, buffer, len,
					    chunk * (uint64_t)WFS_CHUNK);
		int rc = n < 0 ? (int)n : (size_t)n == len ? 0 : -ESTALE;

		if (!rc) {
			wfs_digest_bytes(WFS_SHA256, buffer, len,
					 wfs_digests_at(list, chunk));
			wfs_digest_bytes(WFS_XXH3_128, buffer, len,
					 wfs_digests_at(run->fast[i], chunk));
		}
		done(run, i, len, rc);
	}
	return NULL;
}

static void run_threads(struct run *run)
{
	pthread_t threads[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	long wanted = cpus > THREADS_MAX ? THREADS_MAX : cpus;
	long started = 0;

	/* This thread is one of them, and does it all if no other can be. */
	while (started + 1 < wanted &&
	       !pthread_create(&threads[started], NULL, work, run))
		started++;
	work(run);
	for (long i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
}

static void begin(struct run *run)
{
	run->lists = wfs_calloc(run->count, sizeof(*run->lists));
	run->fast = wfs_calloc(run->count, sizeof(*run->fast));
	run->left = wfs_calloc(run->count, sizeof(*run->left));
	run->before = wfs_calloc(run->count, sizeof(*run->before));
	for (size_t i = 0; i < run->count; i++) {
		struct wfs_region *region = run->items[i].region;

		run->lists[i] = wfs_digests_new(WFS_SHA256, region->size);
		run->fast[i] = wfs_digests_new(WFS_XXH3_128, region->size);
		run->left[i] = run->lists[i]->count;
		wfs_book_look(wfs_region_descriptor(region), &run->before[i]);
		if (!run->left[i])
			line(run, i);
	}
}

static void finish_item(struct run *run, size_t i, struct wfs_book *book)
{
	struct wfs_region *region = run->items[i].region;
	int fd = wfs_region_descriptor(region);
	int rc = wfs_region_check(region);

	if (rc)
		fail_locked(run, region, rc);
	wfs_digests_root(run->lists[i], run->items[i].root);
	if (rc || !book || !run->before[i].st_mode)
		return;
	wfs_book_keep(book, fd, &run->before[i], run->lists[i]);
	wfs_book_keep(book, fd, &run->before[i], run->fast[i]);
}

int wfs_digest_compute(struct wfs_digest_item *items, size_t count,
		       struct wfs_progress *progress, struct wfs_book *book,
		       struct wfs_err *err)
{
	struct run run = { .items = items,
			   .count = count,
			   .lock = PTHREAD_MUTEX_INITIALIZER,
			   .progress = progress,
			   .err = err };

	begin(&run);
	run_threads(&run);
	for (size_t i = 0; i < count && !run.failed; i++)
		finish_item(&run, i, book);
	for (size_t i = 0; i < count; i++) {
		items[i].list = run.lists[i];
		free(run.fast[i]);
	}
	free(run.lists);
	free(run.fast);
	free(run.left);
	free(run.before);
	return run.failed;
}
