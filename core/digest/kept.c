/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See kept.h.
 */
#include "core/digest/kept.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "core/base/hex.h"
#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/text.h"
#include "core/digest/digests.h"

#define TEMP_MAX_LEN 64
#define CHECK_LEN    16
/* What nobody asked for in half a year, and what a crash left, goes. */
#define UNUSED_S    (180 * 86400)
#define LEFT_OVER_S 86400
#define TEMP_PREFIX "new."

struct wfs_kept {
	int fd;
	char *dir;
	const char *what;
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

static bool is_temp(const char *name)
{
	return wfs_starts_with(name, TEMP_PREFIX);
}

static void walk(const struct wfs_kept *kept,
		 void (*each)(void *ctx, const char *name,
			      const struct stat *st),
		 void *ctx)
{
	int fd = openat(kept->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct stat st;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (!fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    S_ISREG(st.st_mode))
			each(ctx, entry->d_name, &st);
	closedir(dir);
}

static void drop_old(void *ctx, const char *name, const struct stat *st)
{
	if (st->st_mtime <
	    time(NULL) - (is_temp(name) ? LEFT_OVER_S : UNUSED_S))
		wfs_kept_drop(ctx, name);
}

int wfs_kept_open(const char *dir, const char *what, struct wfs_kept **ret_kept,
		  struct wfs_err *err)
{
	int fd wfs_autoclose = -1;
	struct wfs_kept *kept;
	struct stat st = { 0 };
	int rc = make_dirs(dir);

	if (!rc) {
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		rc = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;
	}
	if (rc)
		return wfs_err_set(err, rc, "cannot keep %s in '%s': %s", what,
				   dir, strerror(-rc));
	if (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
		return wfs_err_set(err, -EPERM,
				   "will not keep %s in '%s': it must "
				   "belong to user %u and be writable by "
				   "nobody else (chmod 0700)",
				   what, dir, (unsigned)geteuid());
	kept = wfs_calloc(1, sizeof(*kept));
	kept->fd = wfs_steal_fd(&fd);
	kept->dir = wfs_strdup(dir);
	kept->what = what;
	walk(kept, drop_old, kept);
	*ret_kept = kept;
	return 0;
}

void wfs_kept_close(struct wfs_kept *kept)
{
	if (!kept)
		return;
	close(kept->fd);
	free(kept->dir);
	free(kept);
}

void wfs_kept_drop(struct wfs_kept *kept, const char *name)
{
	unlinkat(kept->fd, name, 0);
}

void wfs_kept_touch(struct wfs_kept *kept, const char *name)
{
	utimensat(kept->fd, name, NULL, AT_SYMLINK_NOFOLLOW);
}

void wfs_kept_refuse(struct wfs_kept *kept, const char *name)
{
	wfs_warn("the kept %s '%s/%s' are damaged: they are not used",
		 kept->what, kept->dir, name);
	wfs_kept_drop(kept, name);
}

/* Does it end with the hash of what is before? */
static bool is_sound(const char *bytes, size_t len)
{
	uint8_t check[CHECK_LEN];

	if (len < CHECK_LEN)
		return false;
	wfs_digest_bytes(WFS_XXH3_128, bytes, len - CHECK_LEN, check);
	return !memcmp(check, bytes + len - CHECK_LEN, CHECK_LEN);
}

int wfs_kept_load(struct wfs_kept *kept, const char *name, size_t limit,
		  char **ret_bytes, size_t *ret_len)
{
	char *bytes wfs_autofree = NULL;
	int fd wfs_autoclose = -1;
	size_t len;

	if (!kept)
		return -ENOENT;
	fd = openat(kept->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || wfs_fd_slurp(fd, limit + CHECK_LEN, &bytes, &len))
		return -ENOENT;
	if (!is_sound(bytes, len)) {
		wfs_kept_refuse(kept, name);
		return -EBADMSG;
	}
	*ret_bytes = wfs_steal_ptr(&bytes);
	*ret_len = len - CHECK_LEN;
	return 0;
}

/* A new file; its name is put into `temp`. */
static int open_temp(const struct wfs_kept *kept, char temp[TEMP_MAX_LEN])
{
	uint8_t chance[8];
	char text[2 * sizeof(chance) + 1];
	int fd;

	if (getrandom(chance, sizeof(chance), 0) != sizeof(chance))
		return -errno;
	snprintf(temp, TEMP_MAX_LEN, TEMP_PREFIX "%s",
		 wfs_hex_format(chance, sizeof(chance), text));
	fd = openat(kept->fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	return fd < 0 ? -errno : fd;
}

static int write_checked(int fd, const void *bytes, size_t len)
{
	uint8_t check[CHECK_LEN];
	int rc = wfs_pwrite_all(fd, bytes, len, 0);

	wfs_digest_bytes(WFS_XXH3_128, bytes, len, check);
	return rc ? rc : wfs_pwrite_all(fd, check, CHECK_LEN, len);
}

int wfs_kept_save(struct wfs_kept *kept, const char *name, const void *bytes,
		  size_t len)
{
	char temp[TEMP_MAX_LEN];
	int fd wfs_autoclose = open_temp(kept, temp);
	int rc = fd < 0 ? fd : write_checked(fd, bytes, len);

	if (!rc && renameat(kept->fd, temp, kept->fd, name) < 0)
		rc = -errno;
	if (!rc)
		return 0;
	if (fd >= 0)
		wfs_kept_drop(kept, temp);
	if (!atomic_exchange(&kept->failed_once, true))
		wfs_warn("cannot keep %s in '%s': %s: they are known until "
			 "this process ends",
			 kept->what, kept->dir, strerror(-rc));
	return rc;
}

struct visit {
	void (*each)(void *ctx, const char *name, const struct stat *st);
	void *ctx;
};

static void visit(void *ctx, const char *name, const struct stat *st)
{
	const struct visit *v = ctx;

	if (!is_temp(name))
		v->each(v->ctx, name, st);
}

void wfs_kept_walk(struct wfs_kept *kept,
		   void (*each)(void *ctx, const char *name,
				const struct stat *st),
		   void *ctx)
{
	struct visit v = { each, ctx };

	walk(kept, visit, &v);
}
