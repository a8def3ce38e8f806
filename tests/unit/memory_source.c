/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source over memory.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "tests/unit/memory_source.h"

static struct memory_source *to_memory(struct wfs_source *src)
{
	return (struct memory_source *)src;
}

static const struct wfs_source_entry *memory_list(struct wfs_source *src,
						  size_t *ret_count)
{
	*ret_count = 1;
	return &to_memory(src)->entry;
}

static int memory_read(struct wfs_region *region, void *buf, size_t len,
		       uint64_t off)
{
	struct memory_source *m = to_memory(region->source);
	int fail = atomic_load(&m->fail_read);

	atomic_fetch_add(&m->reads, 1);
	if (fail)
		return fail;
	/* What the wrapper promises. */
	if (!len || off > region->size || len > region->size - off)
		abort();
	memcpy(buf, m->bytes + off, len);
	return 0;
}

static int memory_descriptor(struct wfs_region *region)
{
	struct memory_source *m = to_memory(region->source);

	return m->fd ? m->fd : -ENOTSUP;
}

static int memory_check(struct wfs_region *region)
{
	struct memory_source *m = to_memory(region->source);

	atomic_fetch_add(&m->checks, 1);
	return atomic_load(&m->fail_check);
}

static void memory_close(struct wfs_source *src)
{
	struct memory_source *m = to_memory(src);

	if (m->closed)
		*m->closed = true;
	free(m);
}

static enum wfs_trust memory_trust(struct wfs_region *region)
{
	return ((struct memory_source *)region->source)->trust;
}

static const struct wfs_source_ops memory_ops = {
	.name = "memory",
	.list = memory_list,
	.read = memory_read,
	.descriptor = memory_descriptor,
	.trust = memory_trust,
	.check = memory_check,
	.close = memory_close,
};

struct memory_source *memory_source_new(const unsigned char *bytes, size_t size)
{
	struct memory_source *m = wfs_calloc(1, sizeof(*m));

	wfs_source_init(&m->base, &memory_ops, "memory");
	m->region.source = &m->base;
	m->region.path = "bytes";
	m->region.size = size;
	m->entry.path = m->region.path;
	m->entry.st.st_mode = S_IFREG | 0444;
	m->entry.st.st_size = (off_t)size;
	m->entry.region = &m->region;
	m->bytes = bytes;
	return m;
}
