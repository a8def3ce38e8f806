/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a file for its digests, on a thread that everybody else goes before.
 *
 * A list is about the bytes that the file's key stands for only if the key is
 * the same before and after the reading, and if the file was not written so
 * recently that another write could get the same times.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "core/base/mem.h"
#include "core/digest/book_inner.h"

/* Bytes of one read: soon enough to see that there is to be an end. */
#define READ_LEN (256u << 10)

/* File times move with the kernel's ticks, or with whole seconds. */
#define TICKS_NS  50000000ull
#define SECOND_NS 2000000000ull
#define NAP_NS	  10000000l

static bool stopped(struct wfs_page *page)
{
	return atomic_load(&page->book->stop) || atomic_load(&page->left);
}

static int check_key(const struct wfs_page *page)
{
	struct wfs_file_key key;
	struct stat st;

	if (page->fd < 0)
		return 0; /* each read has told */
	if (fstat(page->fd, &st) < 0)
		return -errno;
	key = wfs_file_key_of(&st);
	return wfs_file_key_equal(&key, &page->key) ? 0 : -ESTALE;
}

/* For how long after its last change a file may change unseen. */
static uint64_t slack_ns(const struct wfs_file_key *key)
{
	return key->ctime_ns ? TICKS_NS : SECOND_NS;
}

bool wfs_file_key_young(const struct wfs_file_key *key)
{
	struct timespec now;
	int64_t age;

	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec - key->ctime_s > 3600)
		return false;
	age = (int64_t)(now.tv_sec - key->ctime_s) * 1000000000 + now.tv_nsec -
	      (int64_t)key->ctime_ns;
	return age < (int64_t)slack_ns(key);
}

/* A time in the future is not waited for. */
static void grow_up(struct wfs_page *page)
{
	static const struct timespec nap = { .tv_nsec = NAP_NS };
	uint64_t end = wfs_now_ns() + slack_ns(&page->key);

	while (wfs_file_key_young(&page->key) && wfs_now_ns() < end &&
	       !stopped(page))
		nanosleep(&nap, NULL);
}

/* At least one byte, or a negative errno. */
static ssize_t read_some(const struct wfs_page *page, char *buffer,
			 uint32_t len, uint64_t off)
{
	ssize_t n;
	int rc;

	if (page->fd < 0) {
		rc = page->bytes.read(page->bytes.ctx, buffer, len, off);
		return rc ? rc : (ssize_t)len;
	}
	n = pread(page->fd, buffer, len, (off_t)off);
	if (n < 0)
		return -errno;
	return n ? n : -ESTALE;
}

static int read_chunk(struct wfs_page *page, char *buffer, uint32_t len,
		      uint64_t off)
{
	static const struct timespec nap = { .tv_nsec = NAP_NS };
	uint32_t done = 0;

	while (done < len) {
		uint32_t want = len - done < READ_LEN ? len - done : READ_LEN;
		ssize_t n;

		if (stopped(page))
			return -ECANCELED;
		n = read_some(page, buffer + done, want, off + done);
		if (n == -EBUSY)
			nanosleep(&nap, NULL);
		else if (n >= 0)
			done += (uint32_t)n;
		else if (n != -EINTR)
			return (int)n;
	}
	return 0;
}

static int compute_chunk(struct wfs_page *page, struct wfs_digests *list,
			 uint64_t index, char *buffer)
{
	uint32_t len = wfs_chunk_len(page->key.size, index);
	uint8_t digest[WFS_DIGEST_MAX];
	int rc;

	if (list->algorithm == WFS_XXH3_128 && !page->young &&
	    wfs_page_chunk(page, index, wfs_digests_at(list, index)))
		return 0;
	rc = read_chunk(page, buffer, len, index * (uint64_t)WFS_CHUNK);
	if (rc)
		return rc;
	wfs_digest_bytes(list->algorithm, buffer, len,
			 wfs_digests_at(list, index));
	/* The bytes are in the cache, and the other costs a tenth. */
	if (list->algorithm != WFS_XXH3_128) {
		wfs_digest_bytes(WFS_XXH3_128, buffer, len, digest);
		wfs_page_note(page, index, digest);
	}
	return 0;
}

int wfs_page_compute(struct wfs_page *page, enum wfs_digest_algorithm algorithm,
		     void *buffer, struct wfs_digests **ret_list)
{
	struct wfs_digests *list wfs_autofree = NULL;
	int rc;

	grow_up(page);
	rc = stopped(page) ? -ECANCELED : check_key(page);
	if (rc)
		return rc;
	list = wfs_digests_new(algorithm, page->key.size);
	for (uint64_t i = 0; i < list->count; i++) {
		rc = compute_chunk(page, list, i, buffer);
		if (rc)
			return rc;
	}
	rc = check_key(page);
	if (rc)
		return rc;
	*ret_list = wfs_steal_ptr(&list);
	return 0;
}
