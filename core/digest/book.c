/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The book: a queue of files, and threads that go behind everybody else.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "core/base/cond.h"
#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/proc.h"
#include "core/digest/book_inner.h"

void wfs_book_queue_locked(struct wfs_book *book, struct wfs_page *page)
{
	if (page->state != WFS_PAGE_IDLE)
		return;
	page->state = WFS_PAGE_QUEUED;
	page->queue_next = NULL;
	*book->queue_tail = page;
	book->queue_tail = &page->queue_next;
	pthread_cond_signal(&book->work);
}

void wfs_book_unqueue_locked(struct wfs_book *book, struct wfs_page *page)
{
	struct wfs_page **at = &book->queue_head;

	if (page->state != WFS_PAGE_QUEUED)
		return;
	while (*at != page)
		at = &(*at)->queue_next;
	*at = page->queue_next;
	if (!*at)
		book->queue_tail = at;
	page->state = WFS_PAGE_IDLE;
}

/* Publishes a list, or why there is none, and tells. */
static void finish(struct wfs_page *page, unsigned kind,
		   struct wfs_digests *list, int rc)
{
	struct wfs_book *book = page->book;
	void (*known)(void *, struct wfs_page *) = NULL;
	void *ctx = NULL;

	if (list && page->fd >= 0)
		wfs_shelf_save(book->shelf, &page->key, list);
	pthread_mutex_lock(&book->lock);
	page->failed[kind] = rc;
	page->failed_at[kind] = wfs_now_ns();
	if (list) {
		atomic_store(&page->lists[kind], list);
		known = book->known;
		ctx = book->known_ctx;
		book->calls += known != NULL;
	}
	atomic_fetch_and(&page->wanted, ~(1u << kind));
	pthread_cond_broadcast(&book->changed);
	pthread_mutex_unlock(&book->lock);
	if (!known)
		return;
	known(ctx, page);
	pthread_mutex_lock(&book->lock);
	book->calls--;
	pthread_cond_broadcast(&book->changed);
	pthread_mutex_unlock(&book->lock);
}

static int run_kind(struct wfs_page *page, enum wfs_digest_algorithm algorithm,
		    void *buffer)
{
	unsigned kind = wfs_kind(algorithm);
	struct wfs_digests *list = NULL;
	int rc;

	if (!(atomic_load(&page->wanted) & 1u << kind) ||
	    atomic_load(&page->lists[kind]))
		return 0;
	rc = wfs_page_compute(page, algorithm, buffer, &list);
	/* What was given up is neither known nor failed. */
	if (rc == -ECANCELED)
		return rc;
	if (rc && rc != -ESTALE)
		wfs_warn("cannot read '%s' for its digests: %s", page->path,
			 strerror(-rc));
	finish(page, kind, list, rc);
	return rc;
}

/* SHA-256 first: it leaves nothing to read for the other. */
static void run(struct wfs_page *page, void *buffer)
{
	if (!run_kind(page, WFS_SHA256, buffer))
		run_kind(page, WFS_XXH3_128, buffer);
}

static struct wfs_page *next_locked(struct wfs_book *book)
{
	struct wfs_page *page;

	while (!book->queue_head && !atomic_load(&book->stop))
		pthread_cond_wait(&book->work, &book->lock);
	if (atomic_load(&book->stop))
		return NULL;
	page = book->queue_head;
	wfs_book_unqueue_locked(book, page);
	page->state = WFS_PAGE_RUNNING;
	return page;
}

static void *work(void *arg)
{
	struct wfs_book *book = arg;
	void *buffer wfs_autofree = wfs_malloc(WFS_CHUNK);
	struct wfs_page *page;
	bool gone;

	wfs_thread_stand_back();
	pthread_mutex_lock(&book->lock);
	while ((page = next_locked(book))) {
		pthread_mutex_unlock(&book->lock);
		run(page, buffer);
		pthread_mutex_lock(&book->lock);
		page->state = WFS_PAGE_IDLE;
		gone = !page->refs;
		/* Something else of it was asked for meanwhile. */
		if (!gone && atomic_load(&page->wanted))
			wfs_book_queue_locked(book, page);
		if (gone) {
			pthread_mutex_unlock(&book->lock);
			wfs_page_free(page);
			pthread_mutex_lock(&book->lock);
		}
	}
	pthread_mutex_unlock(&book->lock);
	return NULL;
}

/* Signals are for the threads that have always had them. */
static int start(struct wfs_book *book, unsigned threads)
{
	sigset_t all, old;
	int rc = 0;

	book->threads = wfs_calloc(threads, sizeof(*book->threads));
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (!rc && book->thread_count < threads) {
		rc = pthread_create(&book->threads[book->thread_count], NULL,
				    work, book);
		if (!rc)
			book->thread_count++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -rc;
}

int wfs_book_open(const struct wfs_book_config *config,
		  struct wfs_book **ret_book, struct wfs_err *err)
{
	struct wfs_kept *shelf = NULL;
	struct wfs_book *book;
	int rc;

	if (config->dir) {
		rc = wfs_kept_open(config->dir, "digests", &shelf, err);
		if (rc)
			return rc;
	}
	book = wfs_calloc(1, sizeof(*book));
	book->shelf = shelf;
	book->queue_tail = &book->queue_head;
	atomic_init(&book->stop, false);
	pthread_mutex_init(&book->lock, NULL);
	wfs_cond_init(&book->work);
	wfs_cond_init(&book->changed);
	rc = start(book, config->threads ? config->threads : 1);
	if (rc) {
		wfs_book_close(book);
		return wfs_err_set(err, rc,
				   "cannot start threads for digests: %s",
				   strerror(-rc));
	}
	*ret_book = book;
	return 0;
}

void wfs_book_close(struct wfs_book *book)
{
	if (!book)
		return;
	pthread_mutex_lock(&book->lock);
	atomic_store(&book->stop, true);
	pthread_cond_broadcast(&book->work);
	pthread_mutex_unlock(&book->lock);
	for (unsigned i = 0; i < book->thread_count; i++)
		pthread_join(book->threads[i], NULL);
	free(book->threads);
	wfs_kept_close(book->shelf);
	pthread_cond_destroy(&book->work);
	pthread_cond_destroy(&book->changed);
	pthread_mutex_destroy(&book->lock);
	free(book);
}

void wfs_book_on_known(struct wfs_book *book,
		       void (*known)(void *ctx, struct wfs_page *page),
		       void *ctx)
{
	pthread_mutex_lock(&book->lock);
	book->known = known;
	book->known_ctx = ctx;
	while (book->calls)
		pthread_cond_wait(&book->changed, &book->lock);
	pthread_mutex_unlock(&book->lock);
}

int wfs_book_look(int fd, struct stat *ret_before)
{
	struct wfs_file_key key;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	key = wfs_file_key_of(&st);
	if (wfs_file_key_young(&key))
		return -EAGAIN;
	*ret_before = st;
	return 0;
}

void wfs_book_keep(struct wfs_book *book, int fd, const struct stat *before,
		   const struct wfs_digests *list)
{
	struct wfs_file_key was = wfs_file_key_of(before), is;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	is = wfs_file_key_of(&st);
	if (list->size == is.size && wfs_file_key_equal(&was, &is))
		wfs_shelf_save(book->shelf, &is, list);
}
