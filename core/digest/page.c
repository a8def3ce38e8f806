/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file of a book: what is known of it, and who waits for more.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/base/cond.h"
#include "core/base/mem.h"
#include "core/base/text.h"
#include "core/digest/book_inner.h"

/* What could not be read is not tried again at every question. */
#define RETRY_NS 30000000000ull

/* States of a note. */
enum { NOTE_NONE, NOTE_WRITTEN_NOW, NOTE_THERE };

struct wfs_file_key wfs_file_key_of(const struct stat *st)
{
	return (struct wfs_file_key){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.mtime_s = st->st_mtim.tv_sec,
		.mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
		.ctime_s = st->st_ctim.tv_sec,
		.ctime_ns = (uint32_t)st->st_ctim.tv_nsec,
	};
}

bool wfs_file_key_equal(const struct wfs_file_key *a,
			const struct wfs_file_key *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static struct wfs_page **bucket_of(struct wfs_book *book,
				   const struct wfs_file_key *key)
{
	uint64_t hash = wfs_hash(key, sizeof(*key), WFS_HASH_SEED);

	return &book->buckets[hash % WFS_BOOK_BUCKETS];
}

static struct wfs_page *find_locked(struct wfs_book *book,
				    const struct wfs_file_key *key)
{
	struct wfs_page *page = *bucket_of(book, key);

	while (page && !wfs_file_key_equal(&page->key, key))
		page = page->next;
	if (page)
		page->refs++;
	return page;
}

static struct wfs_page *page_new(struct wfs_book *book, int fd,
				 const char *path,
				 const struct wfs_file_key *key)
{
	struct wfs_page *page = wfs_calloc(1, sizeof(*page));

	page->book = book;
	page->key = *key;
	page->fd = fd;
	page->path = wfs_strdup(path);
	page->refs = 1;
	page->young = wfs_file_key_young(key);
	atomic_init(&page->notes, NULL);
	atomic_init(&page->wanted, 0);
	atomic_init(&page->left, false);
	for (int kind = 0; kind < WFS_BOOK_KINDS; kind++)
		atomic_init(
			&page->lists[kind],
			wfs_shelf_load(fd < 0 ? NULL : book->shelf, key,
				       (enum wfs_digest_algorithm)(kind + 1)));
	return page;
}

void wfs_page_free(struct wfs_page *page)
{
	struct wfs_notes *notes = atomic_load(&page->notes);

	for (int kind = 0; kind < WFS_BOOK_KINDS; kind++)
		free(atomic_load(&page->lists[kind]));
	if (notes) {
		free(notes->state);
		free(notes->digests);
		free(notes);
	}
	if (page->fd >= 0)
		close(page->fd);
	else
		page->bytes.release(page->bytes.ctx);
	free(page->path);
	free(page);
}

int wfs_page_open(struct wfs_book *book, int fd, const char *path,
		  struct wfs_page **ret_page, struct wfs_err *err)
{
	struct wfs_page *page, *made;
	struct wfs_file_key key;
	struct stat st;
	int own;

	if (fstat(fd, &st) < 0)
		return wfs_err_set(err, -errno, "cannot stat '%s': %s", path,
				   strerror(errno));
	if (!S_ISREG(st.st_mode))
		return wfs_err_set(err, -EINVAL, "'%s' is no regular file",
				   path);
	key = wfs_file_key_of(&st);
	pthread_mutex_lock(&book->lock);
	page = find_locked(book, &key);
	pthread_mutex_unlock(&book->lock);
	if (page) {
		*ret_page = page;
		return 0;
	}
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return wfs_err_set(err, -errno, "cannot keep '%s' open: %s",
				   path, strerror(errno));
	made = page_new(book, own, path, &key);
	pthread_mutex_lock(&book->lock);
	page = find_locked(book, &key); /* made meanwhile? */
	if (!page) {
		page = wfs_steal_ptr(&made);
		page->next = *bucket_of(book, &key);
		*bucket_of(book, &key) = page;
	}
	pthread_mutex_unlock(&book->lock);
	if (made)
		wfs_page_free(made);
	*ret_page = page;
	return 0;
}

struct wfs_page *wfs_page_open_bytes(struct wfs_book *book, const char *name,
				     const struct wfs_page_bytes *bytes)
{
	/* As no file has it: nobody finds this page. */
	struct wfs_file_key key = { .size = bytes->size };
	struct wfs_page *page = page_new(book, -1, name, &key);

	page->bytes = *bytes;
	pthread_mutex_lock(&book->lock);
	page->next = *bucket_of(book, &key);
	*bucket_of(book, &key) = page;
	pthread_mutex_unlock(&book->lock);
	return page;
}

static void unlink_locked(struct wfs_book *book, struct wfs_page *page)
{
	struct wfs_page **at = bucket_of(book, &page->key);

	while (*at != page)
		at = &(*at)->next;
	*at = page->next;
}

void wfs_page_close(struct wfs_page *page)
{
	struct wfs_book *book;
	bool free_it = false;

	if (!page)
		return;
	book = page->book;
	pthread_mutex_lock(&book->lock);
	if (!--page->refs) {
		unlink_locked(book, page);
		atomic_store(&page->left, true);
		wfs_book_unqueue_locked(book, page);
		/* Else the thread that reads it does. */
		free_it = page->state == WFS_PAGE_IDLE;
	}
	pthread_mutex_unlock(&book->lock);
	if (free_it)
		wfs_page_free(page);
}

/* May it be computed, again if need be? */
static bool may_compute_locked(struct wfs_page *page, unsigned kind)
{
	if (atomic_load(&page->lists[kind]))
		return false;
	if (!page->failed[kind])
		return true;
	if (page->failed[kind] == -ESTALE ||
	    wfs_now_ns() < page->failed_at[kind] + RETRY_NS)
		return false;
	page->failed[kind] = 0;
	return true;
}

static void want_locked(struct wfs_page *page, unsigned kind)
{
	if (may_compute_locked(page, kind))
		wfs_book_queue_locked(page->book, page);
	else
		atomic_fetch_and(&page->wanted, ~(1u << kind));
}

static void want(struct wfs_page *page, unsigned kind)
{
	if (atomic_fetch_or(&page->wanted, 1u << kind) & 1u << kind)
		return;
	pthread_mutex_lock(&page->book->lock);
	want_locked(page, kind);
	pthread_mutex_unlock(&page->book->lock);
}

const struct wfs_digests *wfs_page_list(struct wfs_page *page,
					enum wfs_digest_algorithm algorithm,
					bool wanted)
{
	unsigned kind = wfs_kind(algorithm);
	const struct wfs_digests *list = atomic_load(&page->lists[kind]);

	if (!list && wanted)
		want(page, kind);
	return list;
}

int wfs_page_wait(struct wfs_page *page, enum wfs_digest_algorithm algorithm,
		  uint64_t timeout_ns)
{
	struct wfs_book *book = page->book;
	unsigned kind = wfs_kind(algorithm);
	uint64_t now = wfs_now_ns(), end;
	int rc = 0;

	if (__builtin_add_overflow(now, timeout_ns, &end))
		end = UINT64_MAX;
	if (timeout_ns)
		wfs_page_list(page, algorithm, true);
	pthread_mutex_lock(&book->lock);
	while (!rc && !atomic_load(&page->lists[kind]))
		if (page->failed[kind])
			rc = page->failed[kind];
		else if (!timeout_ns ||
			 !wfs_cond_wait_until(&book->changed, &book->lock, end))
			rc = -ETIMEDOUT;
	if (atomic_load(&page->lists[kind]))
		rc = 0;
	pthread_mutex_unlock(&book->lock);
	return rc;
}

static struct wfs_notes *notes_of(struct wfs_page *page)
{
	struct wfs_notes *notes = atomic_load(&page->notes), *none = NULL;
	uint64_t count = wfs_chunk_count(page->key.size);

	if (notes)
		return notes;
	notes = wfs_calloc(1, sizeof(*notes));
	notes->state = wfs_calloc(count, sizeof(*notes->state));
	notes->digests = wfs_calloc(count, wfs_digest_size(WFS_XXH3_128));
	if (atomic_compare_exchange_strong(&page->notes, &none, notes))
		return notes;
	free(notes->state);
	free(notes->digests);
	free(notes);
	return none;
}

bool wfs_page_chunk(struct wfs_page *page, uint64_t index,
		    uint8_t ret_digest[16])
{
	struct wfs_digests *list = atomic_load(&page->lists[0]);
	struct wfs_notes *notes = atomic_load(&page->notes);

	if (index >= wfs_chunk_count(page->key.size))
		return false;
	if (list)
		memcpy(ret_digest, wfs_digests_at(list, index), 16);
	else if (notes && atomic_load(&notes->state[index]) == NOTE_THERE)
		memcpy(ret_digest, notes->digests + index * 16, 16);
	else
		return false;
	return true;
}

void wfs_page_note(struct wfs_page *page, uint64_t index,
		   const uint8_t digest[16])
{
	uint64_t count = wfs_chunk_count(page->key.size);
	unsigned char none = NOTE_NONE;
	struct wfs_notes *notes;

	if (index >= count || atomic_load(&page->lists[0]))
		return;
	notes = notes_of(page);
	if (!atomic_compare_exchange_strong(&notes->state[index], &none,
					    NOTE_WRITTEN_NOW))
		return;
	memcpy(notes->digests + index * 16, digest, 16);
	atomic_store(&notes->state[index], NOTE_THERE);
	/* The last one makes the list whole, with nothing left to read. */
	if (atomic_fetch_add(&notes->count, 1) + 1 == count)
		want(page, wfs_kind(WFS_XXH3_128));
}
