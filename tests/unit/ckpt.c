/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source in memory.  The listing is sorted when it is asked for.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "tests/unit/ckpt.h"

struct file {
	struct wfs_region region;
	char *path, *bytes;
	mode_t mode;
	time_t mtime;
	int fail;
};

struct ckpt {
	struct wfs_source src;
	struct file **files;
	struct wfs_source_entry *list;
	size_t count;
};

static const struct wfs_source_entry *ckpt_list(struct wfs_source *src,
						size_t *ret_count)
{
	struct ckpt *m = (struct ckpt *)src;

	*ret_count = m->count;
	return m->list;
}

static int ckpt_read(struct wfs_region *region, void *buf, size_t len,
		     uint64_t off)
{
	struct file *f = (struct file *)region;

	if (f->fail)
		return f->fail;
	memcpy(buf, f->bytes + off, len);
	return 0;
}

static void ckpt_close(struct wfs_source *src)
{
	struct ckpt *m = (struct ckpt *)src;

	for (size_t i = 0; i < m->count; i++) {
		free(m->files[i]->path);
		free(m->files[i]->bytes);
		free(m->files[i]);
	}
	free(m->files);
	free(m->list);
	free(m);
}

static const struct wfs_source_ops ckpt_ops = {
	.name = "ckpt",
	.list = ckpt_list,
	.read = ckpt_read,
	.close = ckpt_close,
};

struct ckpt *ckpt_new(const char *label)
{
	struct ckpt *m = wfs_calloc(1, sizeof(*m));

	wfs_source_init(&m->src, &ckpt_ops, label);
	return m;
}

static struct file *find(struct ckpt *m, const char *path)
{
	for (size_t i = 0; i < m->count; i++)
		if (!strcmp(m->files[i]->path, path))
			return m->files[i];
	return NULL;
}

static struct file *add(struct ckpt *m, const char *path, mode_t mode)
{
	struct file *f = wfs_calloc(1, sizeof(*f));

	f->path = wfs_strdup(path);
	f->mode = mode;
	f->mtime = 1000 + (time_t)m->count;
	f->region.path = f->path;
	m->files = wfs_realloc(m->files, (m->count + 1) * sizeof(*m->files));
	m->files[m->count++] = f;
	return f;
}

void ckpt_add_dir(struct ckpt *m, const char *path)
{
	if (!find(m, path))
		add(m, path, S_IFDIR | 0755);
}

void ckpt_add(struct ckpt *m, const char *path, const void *bytes, size_t len)
{
	char *dir wfs_autofree = wfs_strdup(path);
	struct file *f;

	for (char *at = strchr(dir, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		ckpt_add_dir(m, dir);
		*at = '/';
	}
	f = add(m, path, S_IFREG | 0644);
	f->bytes = wfs_malloc(len + 1);
	memcpy(f->bytes, bytes, len);
	f->region.source = &m->src;
	f->region.size = len;
}

void ckpt_add_text(struct ckpt *m, const char *path, const char *text)
{
	ckpt_add(m, path, text, strlen(text));
}

void ckpt_add_safetensors(struct ckpt *m, const char *path, const char *header,
			  size_t data)
{
	size_t len = strlen(header);
	uint64_t le = htole64(len);
	struct wfs_text file = { 0 };

	wfs_text_add_bytes(&file, &le, sizeof(le));
	wfs_text_add_bytes(&file, header, len);
	for (size_t i = 0; i < data; i++)
		wfs_text_add_bytes(&file, &(char){ (char)i }, 1);
	ckpt_add(m, path, file.data, file.len);
	free(file.data);
}

void ckpt_fail(struct ckpt *m, const char *path, int code)
{
	find(m, path)->fail = code;
}

void ckpt_touch(struct ckpt *m, const char *path)
{
	find(m, path)->mtime += 1000;
}

void ckpt_add_odd(struct ckpt *m, const char *path, mode_t mode, bool region)
{
	struct file *f = add(m, path, mode);

	f->region.source = region ? &m->src : NULL;
}

static int by_path(const void *a, const void *b)
{
	const struct wfs_source_entry *x = a, *y = b;

	return strcmp(x->path, y->path);
}

struct wfs_source *ckpt_source(struct ckpt *m)
{
	m->list = wfs_calloc(m->count + 1, sizeof(*m->list));
	for (size_t i = 0; i < m->count; i++) {
		struct wfs_source_entry *e = &m->list[i];
		struct file *f = m->files[i];

		e->path = f->path;
		e->region = f->region.source ? &f->region : NULL;
		e->st.st_mode = f->mode;
		e->st.st_size = (off_t)f->region.size;
		e->st.st_ino = 100 + i;
		e->st.st_nlink = 1;
		e->st.st_mtim.tv_sec = f->mtime;
		e->st.st_ctim.tv_sec = f->mtime;
	}
	qsort(m->list, m->count, sizeof(*m->list), by_path);
	return &m->src;
}
