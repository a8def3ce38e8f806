/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For a faster way to the regions than ours: what it takes of them, and the
 * route by which nodes hear of it.
 */
#include <errno.h>
#include <string.h>

#include "transport/seed/inner.h"

void wfs_seed_set_fabric(struct wfs_seed *seed,
			 const struct wfs_seed_fabric *fabric)
{
	seed->fabric = *fabric;
	wfs_stock_set_rdma(seed->stock);
}

/* Asks the holder of the region, so no lock may be held. */
static bool is_whole(struct wfs_seed *seed,
		     const struct wfs_wire_region *region)
{
	struct wfs_stock_model *model;
	struct wfs_stock_file *file;
	bool whole;

	if (wfs_stock_region(seed->stock, region->id, &model, &file))
		return false;
	whole = wfs_stock_held(model, file) == region->size;
	wfs_stock_put(model);
	return whole;
}

size_t wfs_seed_regions(struct wfs_seed *seed,
			struct wfs_wire_region **ret_regions)
{
	struct wfs_wire_region *regions;
	size_t n = wfs_stock_regions(seed->stock, &regions), kept = 0;

	for (size_t i = 0; i < n; i++)
		if (is_whole(seed, &regions[i]))
			regions[kept++] = regions[i];
	*ret_regions = regions;
	return kept;
}

void wfs_seed_each_region(struct wfs_seed *seed,
			  void (*each)(void *ctx,
				       const struct wfs_wire_region *listed,
				       struct wfs_region *region),
			  void *ctx)
{
	struct wfs_wire_region *regions wfs_autofree = NULL;
	size_t n = wfs_stock_regions(seed->stock, &regions);

	for (size_t i = 0; i < n; i++) {
		struct wfs_stock_model *model;
		struct wfs_stock_file *file;

		if (wfs_stock_region(seed->stock, regions[i].id, &model, &file))
			continue;
		each(ctx, &regions[i], file->region);
		wfs_stock_put(model);
	}
}

/* Held against what is known of it, which it adds to. */
static int check_chunk(struct wfs_page *page, uint64_t index, const void *buf,
		       uint32_t len, uint8_t ret_digest[WFS_WIRE_HASH_SIZE])
{
	uint8_t known[WFS_WIRE_HASH_SIZE];

	wfs_digest_bytes(WFS_XXH3_128, buf, len, ret_digest);
	if (page && wfs_page_chunk(page, index, known))
		return memcmp(known, ret_digest, sizeof(known)) ? -EIO : 0;
	return 0;
}

static int read_chunk(struct wfs_stock_model *model,
		      struct wfs_stock_file *file, uint64_t off, uint32_t len,
		      void *buf)
{
	struct wfs_stretch stretch;
	int rc = wfs_stock_take(model, file, off, len, &stretch);

	if (rc)
		return rc;
	rc = stretch.len == len ? wfs_stretch_read(&stretch, buf) : -ENODATA;
	wfs_stretch_release(&stretch);
	return rc;
}

int wfs_seed_chunk(struct wfs_seed *seed, const uint8_t id[WFS_WIRE_ID_BYTES],
		   uint64_t off, uint32_t len, void *buf,
		   uint8_t ret_digest[WFS_WIRE_HASH_SIZE])
{
	struct wfs_stock_model *model;
	struct wfs_stock_file *file;
	struct wfs_page *page;
	int rc = wfs_stock_region(seed->stock, id, &model, &file);

	if (rc)
		return rc;
	page = wfs_stock_page(model, file);
	rc = read_chunk(model, file, off, len, buf);
	if (!rc)
		rc = check_chunk(page, off / WFS_CHUNK, buf, len, ret_digest);
	/* After the reading: what was read before a change is right. */
	if (wfs_region_check(file->region))
		rc = -ESTALE;
	if (!rc && page)
		wfs_page_note(page, off / WFS_CHUNK, ret_digest);
	wfs_stock_put(model);
	return rc;
}

/* Whoever has the same right to read is one and the same. */
static const char *who_asks(const struct wfs_ask *ask)
{
	if (ask->seed->mutual)
		return ask->client->identity;
	return ask->seed->has_token ? "token" : "anybody";
}

enum MHD_Result wfs_seed_rdma(struct wfs_ask *ask)
{
	const char *given = wfs_ask_query(ask, "session");
	struct wfs_text text = { 0 };
	uint64_t session = 0;
	char *end;
	int rc;

	if (!ask->seed->fabric.tell)
		return wfs_ask_refuse(ask, MHD_HTTP_NOT_FOUND,
				      "this seed has no RDMA");
	if (given) {
		errno = 0;
		session = strtoull(given, &end, 10);
		if (errno || end == given || *end || *given == '-')
			return wfs_ask_refuse(ask, MHD_HTTP_BAD_REQUEST,
					      "session='%s' is not a number",
					      given);
	}
	rc = ask->seed->fabric.tell(ask->seed->fabric.ctx, who_asks(ask),
				    session, &text);
	if (rc)
		return wfs_ask_refuse(ask, MHD_HTTP_SERVICE_UNAVAILABLE,
				      "this seed's memory cannot be read by "
				      "RDMA now: %s",
				      rc == -EBUSY ?
					      "too many kinds of clients do" :
					      strerror(-rc));
	return wfs_ask_answer(ask, "application/json", &text, NULL);
}
