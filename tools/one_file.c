/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listing has one row, which is called as the only file of a checkpoint
 * is, so that a file named like one rank's part is not missed its siblings.
 * Messages name the region, and that has its own name.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/one_file.h"

struct one_file {
	struct wfs_source base;
	struct wfs_region region;
	struct wfs_source_entry entry;
	char *name;
	int fd;
};

static const struct wfs_source_entry *one_list(struct wfs_source *src,
					       size_t *ret_count)
{
	*ret_count = 1;
	return &((struct one_file *)src)->entry;
}

static int one_read(struct wfs_region *region, void *buf, size_t len,
		    uint64_t off)
{
	const struct one_file *one = (struct one_file *)region->source;
	ssize_t got = wfs_pread_all(one->fd, buf, len, off);

	if (got < 0)
		return (int)got;
	return (size_t)got == len ? 0 : -ESTALE;
}

static void one_close(struct wfs_source *src)
{
	struct one_file *one = (struct one_file *)src;

	close(one->fd);
	free(one->name);
	free(one);
}

static const struct wfs_source_ops one_ops = {
	.name = "file",
	.list = one_list,
	.read = one_read,
	.close = one_close,
};

int wfs_one_file_open(const char *path, struct wfs_source **ret_source,
		      struct wfs_err *err)
{
	int fd wfs_autoclose =
		open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	const char *slash = strrchr(path, '/');
	char *dir wfs_autofree = NULL;
	struct one_file *one;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return wfs_err_set(err, -errno, "cannot open '%s': %s", path,
				   strerror(errno));
	if (!S_ISREG(st.st_mode))
		return wfs_err_set(err, -EINVAL,
				   "'%s' is neither a directory nor a file",
				   path);
	dir = wfs_strdup(path);
	dir[slash - path] = '\0';
	one = wfs_calloc(1, sizeof(*one));
	wfs_source_init(&one->base, &one_ops, dir);
	one->fd = wfs_steal_fd(&fd);
	one->name = wfs_strdup(slash + 1);
	one->region.source = &one->base;
	one->region.path = one->name;
	one->region.size = (uint64_t)st.st_size;
	one->entry.path = "model.safetensors";
	one->entry.st = st;
	one->entry.region = &one->region;
	*ret_source = &one->base;
	return 0;
}
