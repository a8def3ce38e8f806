/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which READs bring a chunk, by what the seed told of its memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/least.h"
#include "core/digest/digests.h"
#include "transport/rdma/peer.h"

/* Of either sort: both begin with their id. */
static int compare_id(const void *id, const void *entry)
{
	return memcmp(id, entry, WFS_WIRE_ID_BYTES);
}

_Static_assert(offsetof(struct wfs_rdma_place, id) == 0, "as a search wants");
_Static_assert(offsetof(struct wfs_rdma_live, id) == 0, "as a search wants");

/* What is not there has no place to be searched in. */
static const void *find(const uint8_t *id, const void *all, size_t n,
			size_t size)
{
	return n ? bsearch(id, all, n, size, compare_id) : NULL;
}

static bool is_within(uint64_t size, const struct wfs_rdma_want *want)
{
	return want->off < size && want->len <= size - want->off &&
	       want->len <= WFS_CHUNK;
}

static int plan_place(const struct wfs_rdma_place *place,
		      const struct wfs_rdma_want *want,
		      struct wfs_rdma_plan *plan)
{
	uint32_t key = place->rkeys[want->rail];

	if (!is_within(place->size, want))
		return -EPROTO;
	plan->reads[0] = (struct wfs_rdma_read){ place->address + want->off,
						 want->len, key };
	plan->reads[1] = (struct wfs_rdma_read){
		place->digests + want->off / WFS_CHUNK * WFS_WIRE_HASH_SIZE,
		WFS_WIRE_HASH_SIZE, key
	};
	plan->count = 2;
	plan->live = false;
	return 0;
}

/* The lent memory that these bytes lie in, or NULL. */
static const struct wfs_rdma_memory *
find_memory(const struct wfs_rdma_table *table, uint64_t address, uint64_t len)
{
	size_t low = 0, high = table->memory_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct wfs_rdma_memory *it = &table->memory[mid];

		if (address < it->address)
			high = mid;
		else if (address - it->address >= it->size)
			low = mid + 1;
		else
			return len <= it->size - (address - it->address) ? it :
									   NULL;
	}
	return NULL;
}

/* -ENODATA: it is not lent, or one READ too many. */
static int add_read(const struct wfs_rdma_table *table,
		    struct wfs_rdma_plan *plan, unsigned rail, uint64_t address,
		    uint32_t len)
{
	const struct wfs_rdma_memory *memory = find_memory(table, address, len);

	if (!memory || plan->count == WFS_RDMA_READS)
		return -ENODATA;
	plan->reads[plan->count++] =
		(struct wfs_rdma_read){ address, len, memory->rkeys[rail] };
	return 0;
}

/* The first that ends behind `off`; piece_count: there is none. */
static size_t find_piece(const struct wfs_rdma_live *live, uint64_t off)
{
	size_t low = 0, high = live->piece_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (live->pieces[mid].off + live->pieces[mid].len <= off)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int plan_live(const struct wfs_rdma_table *table,
		     const struct wfs_rdma_live *live,
		     const struct wfs_rdma_want *want,
		     struct wfs_rdma_plan *plan)
{
	uint64_t off = want->off, end = want->off + want->len;
	size_t at = find_piece(live, off);
	int rc = 0;

	if (!is_within(live->size, want))
		return -EPROTO;
	plan->count = 0;
	plan->live = true;
	plan->epoch = live->epoch;
	for (; off < end && !rc; at++) {
		const struct wfs_rdma_piece *piece = &live->pieces[at];
		uint64_t len;

		if (at == live->piece_count || piece->off > off)
			return -ENODATA;
		len = wfs_least(piece->off + piece->len, end) - off;
		rc = add_read(table, plan, want->rail,
			      piece->address + (off - piece->off),
			      (uint32_t)len);
		off += len;
	}
	return rc ? rc :
		    add_read(table, plan, want->rail, live->cell,
			     WFS_RDMA_CELL);
}

int wfs_rdma_table_plan(const struct wfs_rdma_table *table,
			const struct wfs_rdma_want *want,
			struct wfs_rdma_plan *ret_plan)
{
	const struct wfs_rdma_place *place = find(want->id, table->places,
						  table->place_count,
						  sizeof(*table->places));
	const struct wfs_rdma_live *live = place ? NULL :
						   find(want->id, table->live,
							table->live_count,
							sizeof(*table->live));

	if (place)
		return plan_place(place, want, ret_plan);
	return live ? plan_live(table, live, want, ret_plan) : -ENODATA;
}
