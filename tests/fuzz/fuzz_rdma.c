/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds what RDMA's two ends say to one another: a seed of its memory, as JSON,
 * and a node that connects, as private data.  A place that is accepted must
 * never lead a READ around the end of the address space.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "core/digest/digests.h"
#include "transport/rdma/hello.h"
#include "transport/rdma/peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth)
{
	if (!truth)
		abort();
}

static void check_place(const struct wfs_rdma_place *place)
{
	uint64_t digests = wfs_chunk_count(place->size) * WFS_WIRE_HASH_SIZE;

	must(place->size && place->address + place->size > place->address);
	must(place->digests >= place->address + place->size);
	must(place->digests + digests > place->digests);
}

static void check_table(const struct wfs_rdma_table *table)
{
	must(table->session && table->lease_ns);
	must(table->rail_count && table->rail_count <= WFS_PEER_RAILS);
	for (size_t i = 0; i < table->rail_count; i++) {
		const struct wfs_rdma_rail *rail = &table->rails[i];

		must(rail->port &&
		     memchr(rail->address, 0, sizeof(rail->address)));
	}
	for (size_t i = 0; i < table->place_count; i++) {
		check_place(&table->places[i]);
		must(!i || memcmp(table->places[i - 1].id, table->places[i].id,
				  WFS_WIRE_ID_BYTES) <= 0);
	}
}

static void feed_table(const uint8_t *data, size_t size)
{
	char *text wfs_autofree = wfs_malloc(size + WFS_JSON_PADDING);
	struct wfs_rdma_table table;
	struct wfs_err err = { 0 };

	memcpy(text, data, size);
	if (wfs_rdma_table_parse(text, size, "t", &table, &err)) {
		must(err.code < 0 && *err.text);
		return;
	}
	check_table(&table);
	wfs_rdma_table_clear(&table);
}

static void feed_hello(const uint8_t *data, size_t size)
{
	static const uint8_t key[WFS_HELLO_KEY];
	uint8_t again[WFS_HELLO_BYTES];
	struct wfs_hello hello;

	if (wfs_hello_get(data, size, &hello))
		return;
	must(size >= WFS_HELLO_BYTES);
	wfs_hello_put(&hello, again);
	must(memcmp(again, data, sizeof(again)) == 0);
	wfs_hello_sign(&hello, key, 7);
	must(wfs_hello_is_signed(&hello, key, 7));
	must(!wfs_hello_is_signed(&hello, key, 8));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	feed_table(data, size);
	feed_hello(data, size);
	return 0;
}
