/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See asked.h.  A record for each version of a model that was asked about,
 * and one thread that takes the oldest that is not done.
 */
#include "tools/asked.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "core/base/cond.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "tools/digest.h"
#include "tools/seeding.h"

#define SLICE_NS    200000000ull   /* between two looks whether to end */
#define RETRY_NS    30000000000ull /* after what could not be read */
#define RECORDS_MAX 1024	   /* then those that are done go */

struct record {
	struct record *next;
	uint64_t fingerprint;
	struct wfs_model *model; /* counted; NULL once it is done */
	int rc;			 /* -EINPROGRESS until then */
	uint64_t done_at;	 /* ns */
	uint8_t root[WFS_ROOT_BYTES];
};

struct wfs_asked {
	char *cache;
	struct wfs_book *book; /* the thread's; NULL: none yet */
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_t thread;
	bool started, stop;
	struct record *records; /* in the order in which they were asked for */
	unsigned count;
};

struct wfs_asked *wfs_asked_new(const char *cache)
{
	struct wfs_asked *asked = wfs_calloc(1, sizeof(*asked));

	asked->cache = cache ? wfs_strdup(cache) : NULL;
	pthread_mutex_init(&asked->lock, NULL);
	wfs_cond_init(&asked->work);
	return asked;
}

static bool is_stopped(struct wfs_asked *asked)
{
	bool stop;

	pthread_mutex_lock(&asked->lock);
	stop = asked->stop;
	pthread_mutex_unlock(&asked->lock);
	return stop;
}

/* The root of one file, which is read if nobody did before. */
static int digest_file(struct wfs_asked *asked, struct wfs_digest_item *item,
		       struct wfs_err *err)
{
	struct wfs_page *page;
	int rc = wfs_page_open(asked->book, wfs_region_descriptor(item->region),
			       item->region->path, &page, err);

	if (rc)
		return rc;
	do
		rc = is_stopped(asked) ?
			     -ESHUTDOWN :
			     wfs_page_wait(page, WFS_SHA256, SLICE_NS);
	while (rc == -ETIMEDOUT);
	if (!rc)
		wfs_digests_root(wfs_page_list(page, WFS_SHA256, false),
				 item->root);
	else
		wfs_err_set(err, rc, "cannot read '%s': %s", item->region->path,
			    strerror(-rc));
	wfs_page_close(page);
	return rc;
}

/* Names first: reading the bytes may take an hour. */
static int name_files(const struct wfs_digest_item *items, size_t count,
		      struct wfs_digest_tree *tree, struct wfs_err *err)
{
	static const uint8_t none[WFS_ROOT_BYTES];
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++)
		rc = wfs_digest_tree_add(tree, items[i].region->path,
					 items[i].region->size, none, err);
	return rc;
}

static int digest_model(struct wfs_asked *asked, struct wfs_model *model,
			uint8_t ret_root[WFS_ROOT_BYTES], struct wfs_err *err)
{
	struct wfs_digest_tree tree = { 0 };
	struct wfs_digest_item *items;
	size_t count;
	int rc = 0;

	if (!asked->book)
		rc = wfs_open_book(asked->cache, &asked->book, err);
	if (rc)
		return rc;
	items = wfs_digest_items(model->source, &count);
	rc = name_files(items, count, &tree, err);
	for (size_t i = 0; i < count && !rc; i++) {
		rc = digest_file(asked, &items[i], err);
		if (!rc)
			memcpy(tree.files[i].root, items[i].root,
			       WFS_ROOT_BYTES);
	}
	if (!rc && wfs_model_is_stale(model))
		rc = wfs_err_set(err, -ESTALE, "a file of it was rewritten");
	if (!rc)
		wfs_digest_tree_root(&tree, ret_root);
	wfs_digest_items_free(items, count);
	wfs_digest_tree_clear(&tree);
	return rc;
}

static struct record *next_locked(struct wfs_asked *asked)
{
	struct record *r = asked->records;

	while (r && r->rc != -EINPROGRESS)
		r = r->next;
	return r;
}

static void *work(void *ctx)
{
	struct wfs_asked *asked = ctx;

	pthread_mutex_lock(&asked->lock);
	while (!asked->stop) {
		struct record *r = next_locked(asked);
		uint8_t root[WFS_ROOT_BYTES] = { 0 };
		struct wfs_err err = { 0 };
		struct wfs_model *model;
		int rc;

		if (!r) {
			pthread_cond_wait(&asked->work, &asked->lock);
			continue;
		}
		/* It stays where it is while it is not done. */
		model = r->model;
		pthread_mutex_unlock(&asked->lock);
		rc = digest_model(asked, model, root, &err);
		if (rc && rc != -ESHUTDOWN)
			wfs_warn("model '%s' has no digest: %s", model->name,
				 err.text);
		pthread_mutex_lock(&asked->lock);
		r->rc = rc;
		r->model = NULL;
		r->done_at = wfs_now_ns();
		memcpy(r->root, root, sizeof(r->root));
		pthread_mutex_unlock(&asked->lock);
		wfs_model_put(model);
		pthread_mutex_lock(&asked->lock);
	}
	pthread_mutex_unlock(&asked->lock);
	return NULL;
}

static int start_locked(struct wfs_asked *asked)
{
	sigset_t all, old;
	int rc;

	if (asked->started)
		return 0;
	/* Signals are for the threads that have always had them. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&asked->thread, NULL, work, asked);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	asked->started = rc == 0;
	return -rc;
}

/* Takes out those of that version, or (0) all, but what is not done. */
static void drop_locked(struct wfs_asked *asked, uint64_t fingerprint)
{
	struct record **at = &asked->records;

	while (*at) {
		struct record *r = *at;

		if (r->model ||
		    (fingerprint && r->fingerprint != fingerprint)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		asked->count--;
		free(r);
	}
}

static struct record *find_locked(struct wfs_asked *asked, uint64_t fingerprint)
{
	struct record *r = asked->records;

	while (r && r->fingerprint != fingerprint)
		r = r->next;
	if (!r || r->rc == 0 || r->rc == -EINPROGRESS || r->rc == -ESTALE ||
	    r->rc == -EINVAL || wfs_now_ns() < r->done_at + RETRY_NS)
		return r;
	drop_locked(asked, fingerprint);
	return NULL;
}

static int add_locked(struct wfs_asked *asked, struct wfs_model *model)
{
	struct record *r, **end = &asked->records;

	if (asked->count == RECORDS_MAX)
		drop_locked(asked, 0);
	if (asked->count == RECORDS_MAX || start_locked(asked))
		return -ENODATA;
	r = wfs_calloc(1, sizeof(*r));
	r->fingerprint = model->fingerprint;
	r->model = wfs_model_get(model);
	r->rc = -EINPROGRESS;
	while (*end)
		end = &(*end)->next;
	*end = r;
	asked->count++;
	pthread_cond_signal(&asked->work);
	return -EINPROGRESS;
}

/* Is every file of it on this node, and as it was listed? */
static bool is_here(struct wfs_model *model)
{
	for (uint32_t i = 0; i < model->entry_count; i++) {
		struct wfs_region *region = model->entries[i].region;

		if (region && (wfs_region_descriptor(region) < 0 ||
			       wfs_region_check(region)))
			return false;
	}
	return !model->source->ops->far && !model->virtual;
}

int wfs_asked_digest(struct wfs_asked *asked, struct wfs_model *model,
		     bool start, uint8_t ret_root[WFS_ROOT_BYTES])
{
	struct record *r;
	int rc;

	if (!is_here(model))
		return -ENODATA;
	pthread_mutex_lock(&asked->lock);
	r = find_locked(asked, model->fingerprint);
	rc = -ENODATA;
	if (r || start)
		rc = r ? r->rc : add_locked(asked, model);
	if (r && !rc)
		memcpy(ret_root, r->root, WFS_ROOT_BYTES);
	pthread_mutex_unlock(&asked->lock);
	return rc && rc != -EINPROGRESS ? -ENODATA : rc;
}

void wfs_asked_free(struct wfs_asked *asked)
{
	if (!asked)
		return;
	pthread_mutex_lock(&asked->lock);
	asked->stop = true;
	pthread_cond_signal(&asked->work);
	pthread_mutex_unlock(&asked->lock);
	if (asked->started)
		pthread_join(asked->thread, NULL);
	while (asked->records) {
		struct record *r = asked->records;

		asked->records = r->next;
		wfs_model_put(r->model);
		free(r);
	}
	wfs_book_close(asked->book);
	pthread_cond_destroy(&asked->work);
	pthread_mutex_destroy(&asked->lock);
	free(asked->cache);
	free(asked);
}
