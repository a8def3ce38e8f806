/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file of an export: continued, written, made safe, named.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/export.h"

#define BUFFER_BYTES (4u << 20)

static int cannot_write(const struct wfs_export *x,
			const struct wfs_export_item *item, int code,
			struct wfs_err *err)
{
	bool full = code == -ENOSPC || code == -EDQUOT;

	return wfs_err_set(err, code, "cannot write '%s/%s': %s%s", x->target,
			   item->path, strerror(-code),
			   full ? "; what is finished stays: make room and "
				  "give the same command again" :
				  "");
}

static int cannot_read(const struct wfs_export *x,
		       const struct wfs_export_item *item, int code,
		       struct wfs_err *err)
{
	if (code == -ESTALE)
		return wfs_err_set(err, code,
				   "'%s' changed while it was read: give the "
				   "same command again",
				   x->base_path);
	return wfs_err_set(err, code, "cannot read '%s' of '%s': %s",
			   item->path, x->layout->name, strerror(-code));
}

static char *buffer(struct wfs_export *x, unsigned which)
{
	if (!x->buffers[which])
		x->buffers[which] = wfs_malloc(BUFFER_BYTES);
	return x->buffers[which];
}

static size_t block(uint64_t off, uint64_t end)
{
	return end - off < BUFFER_BYTES ? (size_t)(end - off) : BUFFER_BYTES;
}

/* `len` bytes of what the file should be into the first buffer. */
static int read_recipe(struct wfs_export *x, const struct wfs_export_item *item,
		       const struct wfs_recipe *recipe, size_t len,
		       uint64_t off, struct wfs_err *err)
{
	ssize_t got = wfs_recipe_read(recipe, buffer(x, 0), len, off);

	if (got == (ssize_t)len)
		return 0;
	return cannot_read(x, item, got < 0 ? (int)got : -EIO, err);
}

int wfs_export_compare(struct wfs_export *x, const struct wfs_export_item *item,
		       const struct wfs_recipe *recipe, int fd, uint64_t size,
		       uint64_t *ret_same, struct wfs_err *err)
{
	uint64_t off = 0;
	size_t same = 0, len = 0;

	if (size > item->size)
		size = item->size;
	while (off < size && same == len) {
		ssize_t got;
		int rc;

		len = block(off, size);
		rc = read_recipe(x, item, recipe, len, off, err);
		if (rc)
			return rc;
		got = wfs_pread_all(fd, buffer(x, 1), len, off);
		if (got < 0)
			return wfs_err_set(err, (int)got,
					   "cannot read '%s/%s': %s", x->target,
					   item->path, strerror((int)-got));
		same = 0;
		if ((size_t)got == len &&
		    !memcmp(x->buffers[0], x->buffers[1], len))
			same = len;
		while (same < (size_t)got && same < len &&
		       x->buffers[0][same] == x->buffers[1][same])
			same++;
		off += same;
		wfs_progress_step(&x->progress, same);
	}
	*ret_same = off;
	return 0;
}

/*
 * The blocks of all of it at once: a full disk is noticed before hours are
 * spent, and the file lies in one piece.
 */
static int reserve(int fd, uint64_t size)
{
	if (!size || !fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size))
		return 0;
	return errno == ENOSPC || errno == EDQUOT ? -errno : 0;
}

static int fill(struct wfs_export *x, const struct wfs_export_item *item,
		const struct wfs_recipe *recipe, int fd, struct wfs_err *err)
{
	struct stat st;
	uint64_t off = 0;
	int rc;

	if (fstat(fd, &st))
		return cannot_write(x, item, -errno, err);
	rc = wfs_export_compare(x, item, recipe, fd, (uint64_t)st.st_size, &off,
				err);
	if (rc)
		return rc;
	if (ftruncate(fd, (off_t)off))
		return cannot_write(x, item, -errno, err);
	rc = reserve(fd, item->size);
	if (rc)
		return cannot_write(x, item, rc, err);
	while (off < item->size) {
		size_t len = block(off, item->size);

		rc = read_recipe(x, item, recipe, len, off, err);
		if (rc)
			return rc;
		rc = wfs_pwrite_all(fd, x->buffers[0], len, off);
		if (rc)
			return cannot_write(x, item, rc, err);
		/* Begins to write back, so that the end need not wait long. */
		sync_file_range(fd, (off_t)off, (off_t)len,
				SYNC_FILE_RANGE_WRITE);
		off += len;
		wfs_progress_step(&x->progress, len);
	}
	return 0;
}

/* Makes it safe, gives it its name, and writes that down. */
static int finish(struct wfs_export *x, const struct wfs_export_item *item,
		  const struct wfs_recipe *recipe, int fd, const char *part,
		  struct wfs_err *err)
{
	struct stat st;
	int rc = wfs_recipe_check_sources(recipe);

	if (rc)
		return cannot_read(x, item, rc, err);
	if (fchmod(fd, item->mode & ~x->umask) || fsync(fd) ||
	    renameat(x->work_fd, part, x->dir_fd, item->path) || fstat(fd, &st))
		return cannot_write(x, item, -errno, err);
	return wfs_export_journal_add(x, item, &st, err);
}

int wfs_export_write(struct wfs_export *x, struct wfs_export_item *item,
		     struct wfs_err *err)
{
	char part[WFS_EXPORT_PART_NAME];
	struct wfs_recipe *recipe;
	int fd wfs_autoclose = -1;
	int rc;

	wfs_export_part_name(item, part);
	/* For nobody else until it is whole: its source may be private. */
	fd = openat(x->work_fd, part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return cannot_write(x, item, -errno, err);
	rc = wfs_export_recipe(x, item, &recipe, err);
	if (rc)
		return rc;
	rc = fill(x, item, recipe, fd, err);
	if (!rc)
		rc = finish(x, item, recipe, fd, part, err);
	wfs_recipe_free(recipe);
	return rc;
}
