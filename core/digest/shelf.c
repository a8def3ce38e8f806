/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory that lists of digests are kept in.
 *
 * What is kept of a file is its key, then the list as it is sent.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/base/text.h"
#include "core/digest/book_inner.h"

#define NAME_MAX_LEN 192
/* Of the largest region that there is any use for: 256 TiB. */
#define KEPT_MAX ((1ull << 28) * WFS_DIGEST_MAX)

_Static_assert(sizeof(struct wfs_file_key) == 48, "written as it is");

/* All names of one inode's lists begin alike. */
static int name_prefix(const struct wfs_file_key *key, char name[NAME_MAX_LEN])
{
	return snprintf(name, NAME_MAX_LEN, "%" PRIx64 "-%" PRIx64 "-",
			key->dev, key->ino);
}

/* What follows the prefix; `kind` is the algorithm. */
static void name_of(const struct wfs_file_key *key,
		    enum wfs_digest_algorithm kind, char name[NAME_MAX_LEN])
{
	int at = name_prefix(key, name);

	snprintf(name + at, (size_t)(NAME_MAX_LEN - at),
		 "%" PRIx64 "-%" PRIx64 ".%x-%" PRIx64 ".%x.%s", key->size,
		 (uint64_t)key->mtime_s, key->mtime_ns, (uint64_t)key->ctime_s,
		 key->ctime_ns, wfs_digest_name(kind));
}

/* The list in what was kept, if it is about `key`. */
static struct wfs_digests *read_kept(const char *text, size_t len,
				     const struct wfs_file_key *key,
				     enum wfs_digest_algorithm algorithm)
{
	struct wfs_digests *list = NULL;

	if (len < sizeof(*key) || memcmp(text, key, sizeof(*key)) != 0)
		return NULL;
	if (wfs_digests_parse(text + sizeof(*key), len - sizeof(*key),
			      algorithm, key->size, NULL, &list, NULL))
		return NULL;
	return list;
}

struct wfs_digests *wfs_shelf_load(struct wfs_kept *shelf,
				   const struct wfs_file_key *key,
				   enum wfs_digest_algorithm algorithm)
{
	char *text wfs_autofree = NULL;
	char name[NAME_MAX_LEN];
	struct wfs_digests *list;
	size_t len;

	name_of(key, algorithm, name);
	if (wfs_kept_load(shelf, name, KEPT_MAX, &text, &len))
		return NULL;
	list = read_kept(text, len, key, algorithm);
	if (list)
		wfs_kept_touch(shelf, name);
	else
		wfs_kept_refuse(shelf, name);
	return list;
}

/* Lists of one inode; others than these two are about bytes of the past. */
struct older {
	struct wfs_kept *shelf;
	char prefix[NAME_MAX_LEN], same[WFS_BOOK_KINDS][NAME_MAX_LEN];
};

static void drop_older(void *ctx, const char *name, const struct stat *st)
{
	const struct older *o = ctx;

	(void)st;
	if (wfs_starts_with(name, o->prefix) && strcmp(name, o->same[0]) != 0 &&
	    strcmp(name, o->same[1]) != 0)
		wfs_kept_drop(o->shelf, name);
}

void wfs_shelf_save(struct wfs_kept *shelf, const struct wfs_file_key *key,
		    const struct wfs_digests *list)
{
	size_t body = list->count * wfs_digest_size(list->algorithm);
	size_t len = sizeof(*key) + WFS_DIGESTS_HEAD + body;
	uint8_t *text wfs_autofree = NULL;
	char name[NAME_MAX_LEN];
	struct older older = { .shelf = shelf };

	if (!shelf)
		return;
	text = wfs_malloc(len);
	memcpy(text, key, sizeof(*key));
	wfs_digests_head(list, text + sizeof(*key));
	memcpy(text + sizeof(*key) + WFS_DIGESTS_HEAD, list->bytes, body);
	name_of(key, list->algorithm, name);
	if (wfs_kept_save(shelf, name, text, len))
		return;
	name_prefix(key, older.prefix);
	name_of(key, WFS_XXH3_128, older.same[0]);
	name_of(key, WFS_SHA256, older.same[1]);
	wfs_kept_walk(shelf, drop_older, &older);
}
