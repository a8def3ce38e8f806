/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory that lists of digests are kept in.
 *
 * A file of it is the key of the file that it is about, the list as it is
 * sent, and the XXH3-128 of both: what a crash or a full disk left of one is
 * not taken for a list.  It appears by rename.  Whoever could write here could
 * make us take wrong bytes for right ones, so nobody else may.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "core/base/hex.h"
#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/digest/book_inner.h"

#define NAME_MAX_LEN 192
#define TEMP_MAX_LEN 64
#define CHECK_LEN    16
/* Of the largest region that there is any use for: 256 TiB. */
#define KEPT_MAX ((1ull << 28) * WFS_DIGEST_MAX)
/* What nobody asked for in half a year, and what a crash left, goes. */
#define UNUSED_S    (180 * 86400)
#define LEFT_OVER_S 86400
#define TEMP_PREFIX "new."

_Static_assert(sizeof(struct wfs_file_key) == 48, "written as it is");

struct wfs_shelf {
	int fd;
	char *dir;
	atomic_bool failed_once;
};

/* Makes what is missing of `dir`, for nobody but us. */
static int make_dirs(const char *dir)
{
	char *part wfs_autofree = wfs_strdup(dir);

	for (char *slash = strchr(part + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	if (mkdir(part, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

/* Drops what is old: lists of files that are gone, temporary files. */
static void clean(const struct wfs_shelf *shelf)
{
	int fd = openat(shelf->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	time_t now = time(NULL);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		bool temp = !strncmp(entry->d_name, TEMP_PREFIX,
				     strlen(TEMP_PREFIX));
		struct stat st;

		if (!fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    S_ISREG(st.st_mode) &&
		    st.st_mtime < now - (temp ? LEFT_OVER_S : UNUSED_S))
			unlinkat(fd, entry->d_name, 0);
	}
	closedir(dir);
}

int wfs_shelf_open(const char *dir, struct wfs_shelf **ret_shelf,
		   struct wfs_err *err)
{
	int fd wfs_autoclose = -1;
	struct wfs_shelf *shelf;
	struct stat st = { 0 };
	int rc = make_dirs(dir);

	if (!rc) {
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		rc = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;
	}
	if (rc)
		return wfs_err_set(err, rc, "cannot keep digests in '%s': %s",
				   dir, strerror(-rc));
	if (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
		return wfs_err_set(err, -EPERM,
				   "will not keep digests in '%s': it must "
				   "belong to user %u and be writable by "
				   "nobody else (chmod 0700)",
				   dir, (unsigned)geteuid());
	shelf = wfs_calloc(1, sizeof(*shelf));
	shelf->fd = wfs_steal_fd(&fd);
	shelf->dir = wfs_strdup(dir);
	clean(shelf);
	*ret_shelf = shelf;
	return 0;
}

void wfs_shelf_close(struct wfs_shelf *shelf)
{
	if (!shelf)
		return;
	close(shelf->fd);
	free(shelf->dir);
	free(shelf);
}

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

/* The list in a file's text, if it is whole and about `key`. */
static struct wfs_digests *read_kept(const char *text, size_t len,
				     const struct wfs_file_key *key,
				     enum wfs_digest_algorithm algorithm)
{
	struct wfs_digests *list = NULL;
	uint8_t check[CHECK_LEN];

	if (len < sizeof(*key) + CHECK_LEN)
		return NULL;
	len -= CHECK_LEN;
	wfs_digest_bytes(WFS_XXH3_128, text, len, check);
	if (memcmp(check, text + len, CHECK_LEN) != 0 ||
	    memcmp(text, key, sizeof(*key)) != 0)
		return NULL;
	if (wfs_digests_parse(text + sizeof(*key), len - sizeof(*key),
			      algorithm, key->size, NULL, &list, NULL))
		return NULL;
	return list;
}

struct wfs_digests *wfs_shelf_load(struct wfs_shelf *shelf,
				   const struct wfs_file_key *key,
				   enum wfs_digest_algorithm algorithm)
{
	char *text wfs_autofree = NULL;
	char name[NAME_MAX_LEN];
	struct wfs_digests *list;
	size_t len;
	int fd wfs_autoclose = -1;

	if (!shelf)
		return NULL;
	name_of(key, algorithm, name);
	fd = openat(shelf->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || wfs_fd_slurp(fd, KEPT_MAX, &text, &len))
		return NULL;
	list = read_kept(text, len, key, algorithm);
	if (!list) {
		wfs_warn("the kept digests '%s/%s' are damaged: computing them "
			 "again",
			 shelf->dir, name);
		unlinkat(shelf->fd, name, 0);
		return NULL;
	}
	futimens(fd, NULL); /* it was of use */
	return list;
}

/* Other lists of this inode are about bytes that are no more. */
static void drop_older(const struct wfs_shelf *shelf,
		       const struct wfs_file_key *key)
{
	int fd = openat(shelf->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char prefix[NAME_MAX_LEN], same[WFS_BOOK_KINDS][NAME_MAX_LEN];
	size_t len = (size_t)name_prefix(key, prefix);
	struct dirent *entry;

	name_of(key, WFS_XXH3_128, same[0]);
	name_of(key, WFS_SHA256, same[1]);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, prefix, len) &&
		    strcmp(entry->d_name, same[0]) != 0 &&
		    strcmp(entry->d_name, same[1]) != 0)
			unlinkat(fd, entry->d_name, 0);
	closedir(dir);
}

static int write_kept(int fd, const struct wfs_file_key *key,
		      const struct wfs_digests *list)
{
	size_t body = list->count * wfs_digest_size(list->algorithm);
	size_t len = sizeof(*key) + WFS_DIGESTS_HEAD + body;
	uint8_t *text wfs_autofree = wfs_malloc(len + CHECK_LEN);

	memcpy(text, key, sizeof(*key));
	wfs_digests_head(list, text + sizeof(*key));
	memcpy(text + sizeof(*key) + WFS_DIGESTS_HEAD, list->bytes, body);
	wfs_digest_bytes(WFS_XXH3_128, text, len, text + len);
	return wfs_pwrite_all(fd, text, len + CHECK_LEN, 0);
}

/* A new file; its name is put into `temp`. */
static int open_temp(const struct wfs_shelf *shelf, char temp[TEMP_MAX_LEN])
{
	uint8_t chance[8];
	char text[2 * sizeof(chance) + 1];
	int fd;

	if (getrandom(chance, sizeof(chance), 0) != sizeof(chance))
		return -errno;
	snprintf(temp, TEMP_MAX_LEN, TEMP_PREFIX "%s",
		 wfs_hex_format(chance, sizeof(chance), text));
	fd = openat(shelf->fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	return fd < 0 ? -errno : fd;
}

void wfs_shelf_save(struct wfs_shelf *shelf, const struct wfs_file_key *key,
		    const struct wfs_digests *list)
{
	char name[NAME_MAX_LEN], temp[TEMP_MAX_LEN];
	int fd wfs_autoclose = -1;
	int rc;

	if (!shelf)
		return;
	name_of(key, list->algorithm, name);
	fd = open_temp(shelf, temp);
	rc = fd < 0 ? fd : write_kept(fd, key, list);
	if (!rc && renameat(shelf->fd, temp, shelf->fd, name) < 0)
		rc = -errno;
	if (!rc) {
		drop_older(shelf, key);
		return;
	}
	if (fd >= 0)
		unlinkat(shelf->fd, temp, 0);
	if (!atomic_exchange(&shelf->failed_once, true))
		wfs_warn("cannot keep digests in '%s': %s: they are computed "
			 "again after a restart",
			 shelf->dir, strerror(-rc));
}
