/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what a seed says of memory that was lent to it, and of the regions that
 * lie there in pieces.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "transport/rdma/table.h"

static int by_address(const void *a, const void *b)
{
	const struct wfs_rdma_memory *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static int by_id(const void *a, const void *b)
{
	return memcmp(((const struct wfs_rdma_live *)a)->id,
		      ((const struct wfs_rdma_live *)b)->id, WFS_WIRE_ID_BYTES);
}

static int parse_memory(yyjson_val *all, struct wfs_rdma_table *table)
{
	yyjson_arr_iter iter;
	yyjson_val *val;

	if (!yyjson_is_arr(all))
		return -EINVAL;
	table->memory =
		wfs_calloc(yyjson_arr_size(all) + 1, sizeof(*table->memory));
	yyjson_arr_iter_init(all, &iter);
	while ((val = yyjson_arr_iter_next(&iter))) {
		struct wfs_rdma_memory *it =
			&table->memory[table->memory_count++];

		it->address = yyjson_get_uint(yyjson_obj_get(val, "address"));
		it->size = yyjson_get_uint(yyjson_obj_get(val, "size"));
		if (!it->size || it->size > UINT64_MAX - it->address ||
		    wfs_rdma_table_keys(val, table->rail_count, it->rkeys))
			return -EINVAL;
	}
	qsort(table->memory, table->memory_count, sizeof(*table->memory),
	      by_address);
	for (size_t i = 1; i < table->memory_count; i++)
		if (table->memory[i].address - table->memory[i - 1].address <
		    table->memory[i - 1].size)
			return -EINVAL;
	return 0;
}

/* [off, address, len] */
static int parse_piece(yyjson_val *val, const struct wfs_rdma_live *live,
		       uint64_t end, struct wfs_rdma_piece *ret)
{
	ret->off = yyjson_get_uint(yyjson_arr_get(val, 0));
	ret->address = yyjson_get_uint(yyjson_arr_get(val, 1));
	ret->len = yyjson_get_uint(yyjson_arr_get(val, 2));
	return !ret->len || ret->off < end || ret->off > live->size ||
			       ret->len > live->size - ret->off ||
			       ret->len > UINT64_MAX - ret->address ?
		       -EINVAL :
		       0;
}

static int parse_live(yyjson_val *val, struct wfs_rdma_live *live)
{
	yyjson_val *pieces = yyjson_obj_get(val, "pieces"), *piece;
	yyjson_arr_iter iter;
	uint64_t end = 0;

	live->size = yyjson_get_uint(yyjson_obj_get(val, "size"));
	live->epoch = yyjson_get_uint(yyjson_obj_get(val, "epoch"));
	live->cell = yyjson_get_uint(yyjson_obj_get(val, "cell"));
	if (!yyjson_is_uint(yyjson_obj_get(val, "epoch")) || live->epoch % 2 ||
	    wfs_rdma_table_hex(val, "region", live->id, sizeof(live->id)) ||
	    !yyjson_is_arr(pieces))
		return -EINVAL;
	live->pieces =
		wfs_calloc(yyjson_arr_size(pieces) + 1, sizeof(*live->pieces));
	yyjson_arr_iter_init(pieces, &iter);
	while ((piece = yyjson_arr_iter_next(&iter))) {
		struct wfs_rdma_piece *it = &live->pieces[live->piece_count++];

		if (parse_piece(piece, live, end, it))
			return -EINVAL;
		end = it->off + it->len;
	}
	return 0;
}

int wfs_rdma_table_take_live(struct wfs_rdma_table *table, yyjson_val *top)
{
	yyjson_val *all = yyjson_obj_get(top, "live"), *val;
	yyjson_arr_iter iter;
	int rc;

	if (!all)
		return 0;
	if (!yyjson_is_arr(all))
		return -EINVAL;
	rc = parse_memory(yyjson_obj_get(top, "memory"), table);
	if (rc)
		return rc;
	table->live =
		wfs_calloc(yyjson_arr_size(all) + 1, sizeof(*table->live));
	yyjson_arr_iter_init(all, &iter);
	while ((val = yyjson_arr_iter_next(&iter))) {
		rc = parse_live(val, &table->live[table->live_count++]);
		if (rc)
			return rc;
	}
	qsort(table->live, table->live_count, sizeof(*table->live), by_id);
	return 0;
}
