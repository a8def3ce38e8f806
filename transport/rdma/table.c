/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the answer to /v1/rdma, which comes from somewhere else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/base/mem.h"
#include "core/digest/digests.h"
#include "transport/rdma/table.h"

#define LEASE_MAX_S 86400
#define NS_PER_S    1000000000ull

int wfs_rdma_table_hex(yyjson_val *object, const char *key, void *bytes,
		       size_t len)
{
	yyjson_val *val = yyjson_obj_get(object, key);

	if (!yyjson_is_str(val))
		return -EINVAL;
	return wfs_hex_parse(yyjson_get_str(val), yyjson_get_len(val), bytes,
			     len);
}

static int parse_rails(yyjson_val *rails, struct wfs_rdma_table *table)
{
	yyjson_arr_iter iter;
	yyjson_val *val;

	/* No seed of ours has more. */
	if (!yyjson_is_arr(rails) || !yyjson_arr_size(rails) ||
	    yyjson_arr_size(rails) > WFS_PEER_RAILS)
		return -EINVAL;
	yyjson_arr_iter_init(rails, &iter);
	while ((val = yyjson_arr_iter_next(&iter))) {
		struct wfs_rdma_rail *rail = &table->rails[table->rail_count++];
		const char *address =
			yyjson_get_str(yyjson_obj_get(val, "address"));
		uint64_t port = yyjson_get_uint(yyjson_obj_get(val, "port"));

		if (!address || strlen(address) >= sizeof(rail->address) ||
		    !port || port > UINT16_MAX)
			return -EINVAL;
		memcpy(rail->address, address, strlen(address) + 1);
		rail->port = (uint16_t)port;
	}
	return 0;
}

int wfs_rdma_table_keys(yyjson_val *object, size_t rails, uint32_t *ret_rkeys)
{
	yyjson_val *keys = yyjson_obj_get(object, "rkeys");

	if (!yyjson_is_arr(keys) || yyjson_arr_size(keys) != rails)
		return -EINVAL;
	for (size_t i = 0; i < rails; i++) {
		yyjson_val *key = yyjson_arr_get(keys, i);

		if (!yyjson_is_uint(key) || yyjson_get_uint(key) > UINT32_MAX)
			return -EINVAL;
		ret_rkeys[i] = (uint32_t)yyjson_get_uint(key);
	}
	return 0;
}

static int parse_place(yyjson_val *val, size_t rails,
		       struct wfs_rdma_place *place)
{
	uint64_t bytes;

	place->size = yyjson_get_uint(yyjson_obj_get(val, "size"));
	place->address = yyjson_get_uint(yyjson_obj_get(val, "address"));
	place->digests = yyjson_get_uint(yyjson_obj_get(val, "digests"));
	bytes = wfs_chunk_count(place->size) * WFS_WIRE_HASH_SIZE;
	if (wfs_rdma_table_hex(val, "region", place->id, sizeof(place->id)) ||
	    !place->size || place->size > UINT64_MAX - place->address ||
	    place->digests < place->address + place->size ||
	    bytes > UINT64_MAX - place->digests)
		return -EINVAL;
	return wfs_rdma_table_keys(val, rails, place->rkeys);
}

static int by_id(const void *a, const void *b)
{
	return memcmp(((const struct wfs_rdma_place *)a)->id,
		      ((const struct wfs_rdma_place *)b)->id,
		      WFS_WIRE_ID_BYTES);
}

static int parse_places(yyjson_val *regions, struct wfs_rdma_table *table)
{
	yyjson_arr_iter iter;
	yyjson_val *val;

	if (!yyjson_is_arr(regions))
		return -EINVAL;
	table->places = wfs_calloc(yyjson_arr_size(regions) + 1,
				   sizeof(*table->places));
	yyjson_arr_iter_init(regions, &iter);
	while ((val = yyjson_arr_iter_next(&iter))) {
		int rc = parse_place(val, table->rail_count,
				     &table->places[table->place_count]);

		if (rc)
			return rc;
		table->place_count++;
	}
	qsort(table->places, table->place_count, sizeof(*table->places), by_id);
	return 0;
}

static int parse_top(yyjson_val *top, struct wfs_rdma_table *table)
{
	uint64_t lease = yyjson_get_uint(yyjson_obj_get(top, "lease_s"));

	table->session = yyjson_get_uint(yyjson_obj_get(top, "session"));
	table->expires = yyjson_get_uint(yyjson_obj_get(top, "expires"));
	table->lease_ns = lease * NS_PER_S;
	if (!table->session || !lease || lease > LEASE_MAX_S ||
	    wfs_rdma_table_hex(top, "key", table->key, sizeof(table->key)))
		return -EINVAL;
	return parse_rails(yyjson_obj_get(top, "rails"), table);
}

int wfs_rdma_table_parse(char *text, size_t len, const char *what,
			 struct wfs_rdma_table *ret, struct wfs_err *err)
{
	struct wfs_rdma_table table = { 0 };
	yyjson_doc *doc;
	yyjson_val *top;
	int rc = wfs_json_parse(text, len, what, &doc, err);

	if (rc)
		return rc;
	top = yyjson_doc_get_root(doc);
	rc = parse_top(top, &table);
	if (!rc)
		rc = parse_places(yyjson_obj_get(top, "regions"), &table);
	if (!rc)
		rc = wfs_rdma_table_take_live(&table, top);
	yyjson_doc_free(doc);
	if (!rc) {
		*ret = table;
		return 0;
	}
	wfs_rdma_table_clear(&table);
	return wfs_err_set(err, -EBADMSG,
			   "%s: what it says of its memory is malformed", what);
}

void wfs_rdma_table_clear(struct wfs_rdma_table *table)
{
	free(table->places);
	free(table->memory);
	for (size_t i = 0; i < table->live_count; i++)
		free(table->live[i].pieces);
	free(table->live);
	*table = (struct wfs_rdma_table){ 0 };
}
