/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that its owner changes, read over FAKE devices: in pieces, where they
 * lie, and never with bytes of two epochs.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/mem.h"
#include "core/base/text.h"
#include "tests/unit/rdma_live.h"

#define SOME (8 * WFS_CHUNK)

static void pieces_are_read_where_they_lie(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 0);

	(void)state;
	rdma_bench_reads_by_rdma(w->b, 0, SIZE);
	rdma_bench_reads_by_rdma(w->b, SIZE - 1, 1);
	rdma_bench_reads_by_rdma(w->b, PIECE - 1, 2);
	w->b->lands = true;
	rdma_bench_reads_by_rdma(w->b, 0, SIZE);
	assert_int_equal(fake_rdma_count(FAKE_FAILS), 0);
	assert_true(rdma_seed_stats(&w->b->seed).lent == PIECES * ROOM);
	rdma_live_close(w);
}

/* What a registration may have is less than what lies together. */
static void memory_is_registered_in_parts_where_it_must_be(void **state)
{
	static const struct fake_rail small = { .region_max = 5 << 20 };
	struct rdma_live *w = rdma_live_open(&small, 1, 0);
	struct rdma_seed *seed = &w->b->seed;
	struct rdma_reader reader;

	(void)state;
	assert_int_equal(rdma_reader_open(&reader, seed, NULL), 0);
	assert_true(seed->peer->table.memory_count > PIECES * ROOM / (5 << 20));
	for (uint64_t off = 0; off < SIZE; off += WFS_CHUNK) {
		uint8_t id[WFS_WIRE_ID_BYTES];
		const struct wfs_rdma_want want = {
			id, off, wfs_chunk_len(SIZE, off / WFS_CHUNK), 0
		};
		struct wfs_rdma_plan plan;
		uint64_t at = off;

		rdma_seed_name(id, 0);
		assert_int_equal(wfs_rdma_peer_find(seed->peer,
						    reader.way.session, &want,
						    &plan),
				 0);
		for (unsigned i = 0; i + 1 < plan.count; i++) {
			const struct wfs_rdma_read *read = &plan.reads[i];

			assert_int_equal(
				rdma_reader_read(&reader, read->address,
						 read->len, read->rkey),
				IBV_WC_SUCCESS);
			assert_memory_equal(reader.bytes,
					    w->b->fetch->bytes + at, read->len);
			at += read->len;
		}
	}
	rdma_reader_close(&reader);
	rdma_live_close(w);
}

struct reading {
	struct rdma_live *w;
	uint8_t *buf;
	pthread_t thread;
	int rc;
};

static void *read_chunk(void *arg)
{
	struct reading *r = arg;

	r->rc = wfs_far_read(r->w->b->fetch->far, r->buf, WFS_CHUNK, 0);
	return NULL;
}

/*
 * A chunk of which half had come when its owner began to change it, and the
 * rest when he was at it, with nobody else answering before it was looked at.
 */
static int read_a_torn_chunk(struct rdma_live *w, uint8_t *buf, uint32_t refuse)
{
	const struct fake_fault fault = { .kind = FAKE_HELD,
					  .device = FAKE_ANY,
					  .least = PIECE / 2,
					  .times = 1 };
	struct reading r = { .w = w, .buf = buf };
	struct fake *plain = &w->b->fetch->fakes[0];
	unsigned before = fake_rdma_count(FAKE_READS);

	SET(plain, frozen, true);
	plain->refuse = refuse;
	fake_rdma_inject(&fault);
	assert_int_equal(pthread_create(&r.thread, NULL, read_chunk, &r), 0);
	fake_rdma_await(FAKE_HOLDS, 1);
	atomic_store(&w->epoch, EPOCH + 1);
	memset(w->pool, 0xee, PIECES * ROOM);
	fake_rdma_release();
	/* Two pieces, and the cell. */
	fake_rdma_await(FAKE_READS, before + 3);
	SET(plain, frozen, false);
	pthread_join(r.thread, NULL);
	return r.rc;
}

static void torn(bool lands)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 1);
	uint8_t *buf = lands ? w->b->ground : wfs_malloc(WFS_CHUNK);

	assert_int_equal(read_a_torn_chunk(w, buf, WFS_WIRE_OK), 0);
	assert_memory_equal(buf, w->b->fetch->bytes, WFS_CHUNK);
	assert_int_equal(rdma_bench_stats(w->b).chunks, 0);
	assert_int_equal(rdma_bench_stats(w->b).wrong, 0);
	rdma_live_close(w);
	if (!lands)
		free(buf);
}

static void bytes_of_two_epochs_are_not_taken(void **state)
{
	(void)state;
	torn(false);
	torn(true);
}

static void an_epoch_that_is_over_is_stale_as_the_seed_says(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 1);
	uint8_t *buf wfs_autofree = wfs_malloc(WFS_CHUNK);

	(void)state;
	assert_int_equal(read_a_torn_chunk(w, buf, WFS_WIRE_STALE), -ESTALE);
	rdma_live_close(w);
}

/* What was begun and undone is the same epoch for nobody. */
static void what_was_not_held_for_a_moment_is_read_again(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 1);

	(void)state;
	atomic_store(&w->epoch, EPOCH + 1);
	rdma_bench_reads(w->b, 0, SOME);
	assert_int_equal(rdma_bench_stats(w->b).chunks, 0);
	atomic_store(&w->epoch, EPOCH);
	while (!rdma_bench_stats(w->b).chunks)
		rdma_bench_reads(w->b, 0, SOME);
	rdma_live_close(w);
}

static void memory_that_was_taken_back_is_read_by_nobody(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 1);
	struct wfs_exporter *exporter = w->b->seed.exporter;

	(void)state;
	while (!rdma_bench_stats(w->b).chunks)
		rdma_bench_reads(w->b, 0, SOME);
	assert_int_equal(wfs_exporter_take_back(exporter, &w->epoch), 0);
	assert_int_equal(rdma_seed_stats(&w->b->seed).lent, 0);
	/* Its epoch says nothing of that. */
	memset(w->pool, 0xee, PIECES * ROOM);
	rdma_bench_reads(w->b, 0, SOME);
	assert_int_equal(wfs_exporter_take_back(exporter, &w->epoch), -ENOENT);
	rdma_live_close(w);
}

#define TOP                                                                    \
	"{\"session\":7,\"expires\":9,\"lease_s\":300,\"key\":\""              \
	"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\","  \
	"\"rails\":[{\"address\":\"192.0.2.1\",\"port\":4711}],"               \
	"\"regions\":[],"
#define MEMORY                                                                 \
	"\"memory\":[{\"address\":8192,\"size\":100,\"rkeys\":[5]},"           \
	"{\"address\":4096,\"size\":100,\"rkeys\":[4]}],"
#define REGION "\"region\":\"00112233445566778899aabbccddeeff\",\"size\":150,"

static int parse(const char *rest, struct wfs_rdma_table *ret_table)
{
	char *text wfs_autofree =
		wfs_asprintf(TOP "%s}%*s", rest, WFS_JSON_PADDING, "");
	struct wfs_err err = { 0 };

	return wfs_rdma_table_parse(text, strlen(text) - WFS_JSON_PADDING,
				    "seed 'x'", ret_table, &err);
}

static void what_contradicts_itself_is_malformed(void **state)
{
	static const char *const bad[] = {
		"\"live\":[]", /* without memory nothing lies in it */
		MEMORY "\"live\":7",
		MEMORY "\"live\":[{" REGION "\"epoch\":3,\"cell\":4096,"
		       "\"pieces\":[]}]",
		MEMORY "\"live\":[{" REGION "\"cell\":4096,\"pieces\":[]}]",
		MEMORY "\"live\":[{" REGION "\"epoch\":4,\"cell\":4096}]",
		MEMORY "\"live\":[{\"epoch\":4,\"pieces\":[]}]",
		MEMORY "\"live\":[{" REGION "\"epoch\":4,\"cell\":4096,"
		       "\"pieces\":[[0,4096,0]]}]",
		MEMORY "\"live\":[{" REGION "\"epoch\":4,\"cell\":4096,"
		       "\"pieces\":[[0,4096,151]]}]",
		MEMORY "\"live\":[{" REGION "\"epoch\":4,\"cell\":4096,"
		       "\"pieces\":[[0,4096,50],[49,4196,5]]}]",
		MEMORY "\"live\":[{" REGION "\"epoch\":4,\"cell\":4096,"
		       "\"pieces\":[[0,18446744073709551615,50]]}]",
		"\"memory\":[{\"address\":9,\"size\":0,\"rkeys\":[5]}],"
		"\"live\":[]",
		"\"memory\":[{\"address\":9,\"size\":5,\"rkeys\":[]}],"
		"\"live\":[]",
		"\"memory\":[{\"address\":9,\"size\":5,\"rkeys\":[5]},"
		"{\"address\":13,\"size\":5,\"rkeys\":[5]}],\"live\":[]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct wfs_rdma_table table;

		if (parse(bad[i], &table) != -EBADMSG)
			fail_msg("taken: %s", bad[i]);
	}
}

static int plan(const struct wfs_rdma_table *table, uint64_t off, uint32_t len,
		struct wfs_rdma_plan *ret_plan)
{
	static const uint8_t id[WFS_WIRE_ID_BYTES] = { 0x00, 0x11, 0x22, 0x33,
						       0x44, 0x55, 0x66, 0x77,
						       0x88, 0x99, 0xaa, 0xbb,
						       0xcc, 0xdd, 0xee, 0xff };
	const struct wfs_rdma_want want = { id, off, len, 0 };

	return wfs_rdma_table_plan(table, &want, ret_plan);
}

/* [0, 50) in one memory, [60, 100) in the other, [100, 150) beyond it. */
static void only_what_lies_in_memory_that_was_lent_is_planned(void **state)
{
	struct wfs_rdma_table table;
	struct wfs_rdma_plan got;

	(void)state;
	assert_int_equal(parse(MEMORY "\"live\":[{" REGION
				      "\"epoch\":4,\"cell\":4096,\"pieces\":"
				      "[[0,4140,50],[60,8192,40],"
				      "[100,8250,50]]}]",
			       &table),
			 0);
	assert_int_equal(plan(&table, 10, 40, &got), 0);
	assert_int_equal(got.count, 2);
	assert_true(got.live && got.epoch == 4);
	assert_int_equal(got.reads[0].address, 4150);
	assert_int_equal(got.reads[0].rkey, 4);
	assert_int_equal(got.reads[1].address, 4096);
	assert_int_equal(got.reads[1].len, WFS_RDMA_CELL);
	assert_int_equal(plan(&table, 60, 40, &got), 0);
	assert_int_equal(got.reads[0].rkey, 5);
	assert_int_equal(plan(&table, 49, 2, &got), -ENODATA);
	assert_int_equal(plan(&table, 55, 10, &got), -ENODATA);
	assert_int_equal(plan(&table, 100, 50, &got), -ENODATA);
	assert_int_equal(plan(&table, 100, 51, &got), -EPROTO);
	assert_int_equal(plan(&table, 151, 1, &got), -EPROTO);
	wfs_rdma_table_clear(&table);
}

static void what_lies_in_many_pieces_is_not_planned(void **state)
{
	struct wfs_text text = { 0 };
	struct wfs_rdma_table table;
	struct wfs_rdma_plan got;

	(void)state;
	wfs_text_add(&text, MEMORY "\"live\":[{" REGION
				   "\"epoch\":4,\"cell\":4096,\"pieces\":[");
	for (unsigned i = 0; i < 50; i++)
		wfs_text_add(&text, "%s[%u,%u,1]", i ? "," : "", i,
			     4096 + 2 * i);
	wfs_text_add(&text, "]}]");
	assert_int_equal(parse(text.data, &table), 0);
	assert_int_equal(plan(&table, 0, WFS_RDMA_READS - 1, &got), 0);
	assert_int_equal(got.count, WFS_RDMA_READS);
	assert_int_equal(plan(&table, 0, WFS_RDMA_READS, &got), -ENODATA);
	wfs_rdma_table_clear(&table);
	free(text.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_are_read_where_they_lie),
		cmocka_unit_test(
			memory_is_registered_in_parts_where_it_must_be),
		cmocka_unit_test(bytes_of_two_epochs_are_not_taken),
		cmocka_unit_test(
			an_epoch_that_is_over_is_stale_as_the_seed_says),
		cmocka_unit_test(what_was_not_held_for_a_moment_is_read_again),
		cmocka_unit_test(memory_that_was_taken_back_is_read_by_nobody),
		cmocka_unit_test(what_contradicts_itself_is_malformed),
		cmocka_unit_test(
			only_what_lies_in_memory_that_was_lent_is_planned),
		cmocka_unit_test(what_lies_in_many_pieces_is_not_planned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
