/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tensors there are in files: what attributes say of a tensor file, and
 * its header of a safetensors file.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "core/model/dtype.h"
#include "core/model/safetensors.h"
#include "tools/lib/client.h"

#define ATTR_MAX   2048 /* bytes of an attribute: 64 dimensions fit */
#define NAME_BYTES 65536

int wfs_weights_fail(const struct weightfs_set *set, const char *name, int rc,
		     struct wfs_err *err)
{
	return wfs_err_set(err, rc, "cannot read '%s' in '%s': %s", name,
			   set->path, strerror(-rc));
}

ssize_t wfs_weights_attribute(int dir, const char *name, const char *what,
			      char *buf, size_t size)
{
	char *path wfs_autofree =
		wfs_asprintf("/proc/self/fd/%d/%s", dir, name);
	ssize_t n = getxattr(path, what, buf, size - 1);

	if (n < 0)
		return errno == EOPNOTSUPP ? -ENODATA : -errno;
	buf[n] = '\0';
	return n;
}

static struct wfs_weights_tensor *add_tensor(struct weightfs_set *set,
					     uint32_t file)
{
	struct wfs_weights_tensor *t;

	/* Grows at powers of two. */
	if ((set->count & (set->count - 1)) == 0)
		set->tensors = wfs_realloc(set->tensors,
					   (set->count * 2 + 1) * sizeof(*t));
	t = &set->tensors[set->count++];
	memset(t, 0, sizeof(*t));
	t->file = file;
	return t;
}

/* "[2, 3]" */
static int parse_shape(struct wfs_pool *pool, const char *text,
		       struct wfs_weights_tensor *t)
{
	uint64_t dims[WFS_DIMS_MAX];
	unsigned n = 0;
	char *end = NULL, *shape;

	if (*text++ != '[')
		return -EBADMSG;
	while (*text && *text != ']' && n < WFS_DIMS_MAX) {
		errno = 0;
		dims[n++] = strtoull(text, &end, 10);
		if (errno || end == text)
			return -EBADMSG;
		text = end + strspn(end, ", ");
	}
	if (strcmp(text, "]") != 0)
		return -EBADMSG;
	if (n) {
		shape = wfs_pool_alloc(pool, n * sizeof(*dims), 1);
		memcpy(shape, dims, n * sizeof(*dims));
		t->shape = (const uint64_t *)(void *)shape;
	}
	t->ndim = (uint8_t)n;
	return 0;
}

/* A tensor file.  -ENODATA if it is none. */
static int look_tensor(struct weightfs_set *set, uint32_t file,
		       struct wfs_err *err)
{
	const char *name = set->files[file].name;
	char *text wfs_autofree = wfs_malloc(NAME_BYTES);
	struct wfs_weights_tensor *t;
	uint64_t bytes;
	int dtype;
	ssize_t n = wfs_weights_attribute(set->dir, name, "user.weightfs.dtype",
					  text, ATTR_MAX);

	if (n < 0)
		return (int)n;
	t = add_tensor(set, file);
	dtype = wfs_dtype_parse(text, (size_t)n);
	n = wfs_weights_attribute(set->dir, name, "user.weightfs.shape", text,
				  ATTR_MAX);
	if (n < 0 || dtype < 0 || parse_shape(&set->pool, text, t) ||
	    wfs_dtype_bytes((enum wfs_dtype)dtype, t->shape, t->ndim, &bytes) ||
	    bytes != set->files[file].size)
		return wfs_err_set(err, -EBADMSG,
				   "dtype and shape of '%s' in '%s' do not "
				   "say what its size does: is the mount of "
				   "another version?",
				   name, set->path);
	n = wfs_weights_attribute(set->dir, name, "user.weightfs.name", text,
				  NAME_BYTES);
	if (n < 0)
		return wfs_weights_fail(set, name, (int)n, err);
	t->dtype = (uint8_t)dtype;
	t->size = bytes;
	t->name = wfs_pool_text(&set->pool, text, (size_t)n);
	t->name_len = (uint32_t)n;
	return 0;
}

/* The header of an open safetensors file, parsed. */
static int read_header(struct weightfs_set *set, int fd, uint64_t size,
		       const char *name, struct wfs_safetensors *ret,
		       struct wfs_err *err)
{
	char head[8], *json wfs_autofree = NULL;
	uint64_t len = size < 8 ? size : 8;
	ssize_t n = wfs_pread_all(fd, head, len, 0);
	int rc;

	if (n < 0 || (uint64_t)n < len)
		return wfs_weights_fail(set, name, n < 0 ? (int)n : -EIO, err);
	rc = wfs_safetensors_header_len(head, size, name, &len, err);
	if (rc)
		return rc;
	json = wfs_malloc(len + WFS_JSON_PADDING);
	n = wfs_pread_all(fd, json, len, 8);
	if (n < 0 || (uint64_t)n < len)
		return wfs_weights_fail(set, name, n < 0 ? (int)n : -EIO, err);
	return wfs_safetensors_parse(json, len, size, name, &set->pool, ret,
				     err);
}

static int look_safetensors(struct weightfs_set *set, uint32_t file,
			    struct wfs_err *err)
{
	struct wfs_weights_file *f = &set->files[file];
	struct wfs_safetensors st = { 0 };
	int fd wfs_autoclose =
		openat(set->dir, f->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int rc;

	if (fd < 0)
		return wfs_weights_fail(set, f->name, -errno, err);
	rc = read_header(set, fd, f->size, f->name, &st, err);
	for (uint32_t i = 0; !rc && i < st.count; i++) {
		const struct wfs_safetensor *s = &st.tensors[st.file_order[i]];
		struct wfs_weights_tensor *t = add_tensor(set, file);

		t->name = s->name;
		t->name_len = s->name_len;
		t->shape = s->shape;
		t->ndim = s->ndim;
		t->dtype = s->dtype;
		t->off = s->off;
		t->size = s->size;
	}
	wfs_safetensors_clear(&st);
	return rc;
}

int wfs_weights_look(struct weightfs_set *set,
		     const struct wfs_weights_names *names, struct wfs_err *err)
{
	struct stat st;
	int rc = 0;

	set->files = wfs_calloc(names->count + 1, sizeof(*set->files));
	for (uint32_t i = 0; !rc && i < names->count; i++) {
		struct wfs_weights_file *f = &set->files[i];

		f->name = names->rows[i].s;
		f->fd = -1;
		f->first = set->count;
		pthread_mutex_init(&f->lock, NULL);
		set->file_count++;
		if (fstatat(set->dir, f->name, &st, 0) != 0)
			return wfs_weights_fail(set, f->name, -errno, err);
		f->size = (uint64_t)st.st_size;
		rc = look_tensor(set, i, err);
		if (rc == -ENODATA &&
		    wfs_ends_with(f->name, WFS_WEIGHTS_SUFFIX))
			rc = look_safetensors(set, i, err);
		else if (rc == -ENODATA)
			rc = wfs_err_set(err, -EINVAL,
					 "'%s' in '%s' is no tensor of a "
					 "weightfs mount and no safetensors "
					 "file",
					 f->name, set->path);
		f->count = set->count - f->first;
	}
	return rc;
}
