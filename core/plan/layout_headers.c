/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers of the files of a layout.  They lie in memory as the regions of a
 * source, so that a file is a recipe like any other.
 */
#include <string.h>

#include "core/base/text.h"
#include "core/model/header.h"
#include "core/plan/inner.h"

struct headers {
	struct wfs_source base;
	struct wfs_region **regions; /* each with its bytes behind it */
	uint32_t count;
};

static int headers_read(struct wfs_region *region, void *buf, size_t len,
			uint64_t off)
{
	memcpy(buf, (const char *)(region + 1) + off, len);
	return 0;
}

static const struct wfs_source_entry *headers_list(struct wfs_source *src,
						   size_t *ret_count)
{
	(void)src;
	*ret_count = 0;
	return NULL;
}

static void headers_close(struct wfs_source *src)
{
	struct headers *h = (struct headers *)src;

	for (uint32_t i = 0; i < h->count; i++)
		free(h->regions[i]);
	free(h->regions);
	free(h);
}

struct wfs_source *wfs_headers_new(void)
{
	static const struct wfs_source_ops ops = {
		.name = "plan",
		.list = headers_list,
		.read = headers_read,
		.close = headers_close,
	};
	struct headers *h = wfs_calloc(1, sizeof(*h));

	wfs_source_init(&h->base, &ops, "headers");
	return &h->base;
}

uint32_t wfs_headers_add_text(struct wfs_source *headers, const char *path,
			      const char *text, size_t len)
{
	struct headers *h = (struct headers *)headers;
	struct wfs_region *region = wfs_calloc(1, sizeof(*region) + len);

	region->source = headers;
	region->path = path;
	region->size = len;
	memcpy(region + 1, text, len);
	h->regions =
		wfs_realloc(h->regions, (h->count + 1) * sizeof(*h->regions));
	h->regions[h->count] = region;
	return h->count++;
}

uint32_t wfs_headers_add(struct wfs_source *headers,
			 const struct wfs_rank *rank, const uint32_t *order,
			 uint32_t count, bool format)
{
	struct wfs_text t = { 0 };
	uint32_t index;

	wfs_header_write(rank->tensors, order, count, format, &t);
	index = wfs_headers_add_text(headers, "header", t.data, t.len);
	free(t.data);
	return index;
}

struct wfs_region *wfs_headers_region(struct wfs_source *headers,
				      uint32_t index)
{
	return ((struct headers *)headers)->regions[index];
}
