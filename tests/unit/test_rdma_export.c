/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seed's side of RDMA, over FAKE devices: who may connect, what can be read
 * and what cannot, and that nothing is left of those who went.
 */
#include "tests/unit/t.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/digest/digests.h"
#include "tests/unit/rdma_seed.h"

#define LEN	 4096u
#define SIZE	 (WFS_CHUNK + 12345ull)
#define NS_PER_S 1000000000ull

static uint8_t bytes[SIZE];

static struct rdma_seed *open_seed(const struct fake_rail *rails, size_t n,
				   struct rdma_seed seed)
{
	struct rdma_seed *copy = wfs_calloc(1, sizeof(*copy));

	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 11);
	*copy = seed;
	if (!seed.stock.count)
		copy->stock.count = 1;
	copy->stock.size = SIZE;
	copy->stock.bytes = bytes;
	fake_rdma_open(rails, n);
	rdma_seed_open(copy);
	return copy;
}

static void close_seed(struct rdma_seed *seed)
{
	rdma_seed_close(seed);
	fake_rdma_close();
	free(seed);
}

static struct rdma_seed *open_usual(void)
{
	struct rdma_seed *seed =
		open_seed(NULL, 1, (struct rdma_seed){ .memory = 0 });

	rdma_seed_await(seed, 1, 0);
	return seed;
}

static void a_file_and_its_digests_can_be_read(void **state)
{
	struct rdma_seed *seed = open_usual();
	uint8_t want[WFS_WIRE_HASH_SIZE];
	struct rdma_reader reader;
	struct wfs_rdma_place place;

	(void)state;
	assert_int_equal(rdma_reader_open(&reader, seed, NULL), 0);
	place = rdma_reader_find(&reader, seed, 0);
	assert_int_equal(place.size, SIZE);
	assert_int_equal(rdma_reader_read(&reader, place.address, WFS_CHUNK,
					  place.rkeys[0]),
			 IBV_WC_SUCCESS);
	assert_memory_equal(reader.bytes, bytes, WFS_CHUNK);
	assert_int_equal(rdma_reader_read(&reader, place.digests + sizeof(want),
					  sizeof(want), place.rkeys[0]),
			 IBV_WC_SUCCESS);
	wfs_digest_bytes(WFS_XXH3_128, bytes + WFS_CHUNK, SIZE - WFS_CHUNK,
			 want);
	assert_memory_equal(reader.bytes, want, sizeof(want));
	rdma_reader_close(&reader);
	close_seed(seed);
}

static enum ibv_wc_status read_once(struct rdma_seed *seed, uint64_t address,
				    uint32_t rkey)
{
	struct rdma_reader reader;
	enum ibv_wc_status status;

	assert_int_equal(rdma_reader_open(&reader, seed, NULL), 0);
	status = rdma_reader_read(&reader, address, LEN, rkey);
	for (size_t i = 0; status != IBV_WC_SUCCESS && i < LEN; i++)
		assert_int_equal(reader.bytes[i], 0x5a);
	rdma_reader_close(&reader);
	return status;
}

static struct wfs_rdma_place find_once(struct rdma_seed *seed)
{
	struct rdma_reader reader;
	struct wfs_rdma_place place;

	assert_int_equal(rdma_reader_open(&reader, seed, NULL), 0);
	place = rdma_reader_find(&reader, seed, 0);
	rdma_reader_close(&reader);
	return place;
}

static void nothing_else_can_be_read(void **state)
{
	struct rdma_seed *seed = open_usual();
	struct wfs_rdma_place place = find_once(seed);
	uint64_t end = place.digests + 2ull * WFS_WIRE_HASH_SIZE;

	(void)state;
	end = (end + 4095) / 4096 * 4096;
	assert_int_equal(read_once(seed, place.address, place.rkeys[0]),
			 IBV_WC_SUCCESS);
	assert_int_equal(read_once(seed, place.address - 1, place.rkeys[0]),
			 IBV_WC_REM_ACCESS_ERR);
	assert_int_equal(read_once(seed, end - LEN + 1, place.rkeys[0]),
			 IBV_WC_REM_ACCESS_ERR);
	assert_int_equal(read_once(seed, (uintptr_t)bytes, place.rkeys[0]),
			 IBV_WC_REM_ACCESS_ERR);
	for (int i = -19; i < 20; i++)
		assert_int_equal(read_once(seed, place.address,
					   place.rkeys[0] + (uint32_t)i),
				 i ? IBV_WC_REM_ACCESS_ERR : IBV_WC_SUCCESS);
	close_seed(seed);
}

static void nobody_may_write(void **state)
{
	struct rdma_seed *seed = open_usual();
	struct rdma_reader reader;

	(void)state;
	assert_int_equal(rdma_reader_open(&reader, seed, NULL), 0);
	/* The reader's own side grants nobody anything: it has no such memory. */
	while (fake_rdma_count(FAKE_WRITABLE) > 1)
		usleep(1000);
	rdma_reader_close(&reader);
	close_seed(seed);
}

static void what_is_listed_no_more_cannot_be_read(void **state)
{
	struct rdma_seed *seed = open_usual();
	struct wfs_rdma_place place = find_once(seed);

	(void)state;
	atomic_store(&seed->stock.gone, true);
	rdma_seed_await(seed, 0, 0);
	assert_int_equal(read_once(seed, place.address, place.rkeys[0]),
			 IBV_WC_REM_ACCESS_ERR);
	/* And is elsewhere when it comes back. */
	atomic_store(&seed->stock.gone, false);
	rdma_seed_await(seed, 1, 0);
	assert_int_equal(read_once(seed, place.address, place.rkeys[0]),
			 IBV_WC_REM_ACCESS_ERR);
	close_seed(seed);
}

/* Its queue pairs end, and nobody connects with it again. */
static void a_session_ends_with_its_lease(void **state)
{
	struct rdma_seed *seed =
		open_seed(NULL, 1, (struct rdma_seed){ .lease_ns = NS_PER_S });
	struct rdma_reader reader, again;

	(void)state;
	rdma_seed_await(seed, 1, 0);
	/* To connect may take longer than the lease. */
	while (rdma_reader_open(&reader, seed, NULL))
		rdma_reader_close(&reader);
	while (fake_rdma_live_of("qp") > 1) /* the reader's own */
		usleep(1000);
	assert_int_equal(rdma_reader_open(&again, seed, &reader.way), -EACCES);
	rdma_reader_close(&again);
	rdma_reader_close(&reader);
	close_seed(seed);
}

/* … and when it was the last of its kind, all that it could have read. */
static void what_nobody_has_a_session_for_is_not_registered(void **state)
{
	struct rdma_seed *seed =
		open_seed(NULL, 1, (struct rdma_seed){ .lease_ns = NS_PER_S });

	(void)state;
	rdma_seed_await(seed, 1, 0);
	assert_int_equal(fake_rdma_live_of("mr"), 0);
	do /* once more when the lease was over before that was seen */
		rdma_seed_way(seed);
	while (fake_rdma_live_of("mr") != 1);
	while (fake_rdma_live_of("pd"))
		usleep(1000);
	assert_int_equal(fake_rdma_live_of("mr"), 0);
	assert_int_equal(rdma_seed_stats(seed).sessions, 0);
	close_seed(seed);
}

static void a_key_of_one_kind_opens_nothing_to_another(void **state)
{
	struct rdma_seed *seed = open_usual();
	struct wfs_rdma_place of_anybody = find_once(seed), of_token;

	(void)state;
	wfs_rdma_peer_forget(seed->peer, rdma_seed_way(seed).session);
	seed->who = "token";
	of_token = find_once(seed);
	assert_int_equal(fake_rdma_live_of("mr"), 2);
	assert_int_equal(of_token.address, of_anybody.address);
	assert_int_equal(read_once(seed, of_token.address, of_token.rkeys[0]),
			 IBV_WC_SUCCESS);
	assert_int_equal(read_once(seed, of_token.address, of_anybody.rkeys[0]),
			 IBV_WC_REM_ACCESS_ERR);
	close_seed(seed);
}

static void a_node_that_vanishes_is_noticed(void **state)
{
	struct rdma_seed *seed = open_usual();
	struct rdma_reader reader;

	(void)state;
	assert_int_equal(rdma_reader_open(&reader, seed, NULL), 0);
	fake_rdma_await(FAKE_PROBES, 2);
	assert_int_equal(rdma_seed_stats(seed).connections, 1);
	fake_rdma_port(0, false);
	rdma_seed_await_links(seed, 0);
	assert_int_equal(rdma_seed_stats(seed).vanished, 1);
	rdma_reader_close(&reader);
	close_seed(seed);
}

static void a_device_that_allows_few_reads_is_connected_to(void **state)
{
	const struct fake_rail few = { .reads = 1, .reads_init = 16 };
	struct rdma_seed *seed =
		open_seed(&few, 1, (struct rdma_seed){ .memory = 0 });
	struct wfs_rdma_place place;

	(void)state;
	rdma_seed_await(seed, 1, 0);
	place = find_once(seed);
	assert_int_equal(read_once(seed, place.address, place.rkeys[0]),
			 IBV_WC_SUCCESS);
	close_seed(seed);
}

static void what_does_not_fit_is_left_out(void **state)
{
	const struct fake_rail small = { .lockable = 2 * SIZE };
	struct rdma_seed *seed = open_seed(
		NULL, 1,
		(struct rdma_seed){ .stock.count = 4, .memory = 3 * SIZE });

	(void)state;
	rdma_seed_await(seed, 2, 2);
	close_seed(seed);
	seed = open_seed(&small, 1, (struct rdma_seed){ .stock.count = 3 });
	rdma_seed_await(seed, 3, 0);
	rdma_seed_way(seed);
	assert_int_equal(fake_rdma_live_of("mr"), 1);
	close_seed(seed);
}

static void a_file_is_registered_on_all_rails_or_on_none(void **state)
{
	const struct fake_rail rails[] = { { 0 }, { .lockable = LEN } };
	struct rdma_seed *seed =
		open_seed(rails, 2, (struct rdma_seed){ .memory = 0 });

	(void)state;
	rdma_seed_await(seed, 1, 0);
	rdma_seed_way(seed);
	assert_int_equal(fake_rdma_live_of("mr"), 0);
	close_seed(seed);
}

/* What a request says, without a node: 0, or how it ended. */
static int request(const struct wfs_rdma_way *way, const void *data,
		   uint8_t len)
{
	const struct wfs_verbs *verbs = wfs_verbs_load(NULL);
	struct rdma_event_channel *events = verbs->rdma_create_event_channel();
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(way->to.port) };
	struct rdma_conn_param param = { .private_data = data,
					 .private_data_len = len,
					 .initiator_depth = 1 };
	struct ibv_qp_init_attr attr = { .qp_type = IBV_QPT_RC,
					 .cap = { 1, 1, 1, 1, 0 } };
	struct rdma_cm_event *event;
	struct rdma_cm_id *id;
	struct ibv_pd *pd;
	int status = 0;

	inet_pton(AF_INET, way->to.address, &to.sin_addr);
	verbs->rdma_create_id(events, &id, NULL, RDMA_PS_TCP);
	verbs->rdma_resolve_addr(id, NULL, (struct sockaddr *)&to, 1);
	verbs->rdma_resolve_route(id, 1);
	pd = verbs->ibv_alloc_pd(id->verbs);
	attr.send_cq = attr.recv_cq =
		verbs->ibv_create_cq(id->verbs, 1, NULL, NULL, 0);
	verbs->rdma_create_qp(id, pd, &attr);
	verbs->rdma_connect(id, &param);
	for (int i = 0; i < 3; i++) { /* address, route, the answer */
		verbs->rdma_get_cm_event(events, &event);
		status = event->status;
		verbs->rdma_ack_cm_event(event);
	}
	verbs->rdma_destroy_qp(id);
	verbs->ibv_destroy_cq(attr.send_cq);
	verbs->ibv_dealloc_pd(pd);
	verbs->rdma_destroy_id(id);
	verbs->rdma_destroy_event_channel(events);
	return status;
}

static void a_request_that_proves_nothing_is_refused(void **state)
{
	struct rdma_seed *seed = open_usual();
	const struct wfs_rdma_way way = rdma_seed_way(seed);
	struct wfs_hello hello = { .session = way.session,
				   .expires = way.expires };
	uint8_t data[WFS_HELLO_BYTES] = { 0 };
	unsigned live = fake_rdma_live();

	(void)state;
	assert_true(request(&way, NULL, 0));
	assert_true(request(&way, data, sizeof(data)));
	assert_true(request(&way, data, 7));
	/* Of another queue pair, and of a session that nobody has. */
	wfs_hello_sign(&hello, way.key, 1);
	wfs_hello_put(&hello, data);
	assert_true(request(&way, data, sizeof(data)));
	hello.session++;
	wfs_hello_sign(&hello, way.key, 1);
	wfs_hello_put(&hello, data);
	assert_true(request(&way, data, sizeof(data)));
	assert_int_equal(fake_rdma_count(FAKE_CONNECTIONS), 0);
	assert_int_equal(rdma_seed_stats(seed).connections, 0);
	assert_true(rdma_seed_stats(seed).refused >= 2);
	while (fake_rdma_live() > live)
		usleep(1000);
	close_seed(seed);
}

static void who_goes_without_a_word_is_let_go(void **state)
{
	struct rdma_seed *seed = open_usual();
	struct rdma_reader readers[20];

	(void)state;
	for (size_t i = 0; i < 20; i++)
		assert_int_equal(rdma_reader_open(&readers[i], seed, NULL), 0);
	rdma_seed_await_links(seed, 20);
	for (size_t i = 0; i < 20; i++)
		rdma_reader_close(&readers[i]);
	rdma_seed_await_links(seed, 0);
	close_seed(seed);
}

static void an_end_with_nodes_connected_leaves_nothing(void **state)
{
	struct rdma_seed *seed = open_usual();
	struct rdma_reader readers[20];

	(void)state;
	for (size_t i = 0; i < 20; i++)
		assert_int_equal(rdma_reader_open(&readers[i], seed, NULL), 0);
	wfs_exporter_stop(seed->exporter);
	assert_int_equal(rdma_seed_stats(seed).connections, 0);
	for (size_t i = 0; i < 20; i++)
		rdma_reader_close(&readers[i]);
	close_seed(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_file_and_its_digests_can_be_read),
		T(nothing_else_can_be_read),
		T(nobody_may_write),
		T(what_is_listed_no_more_cannot_be_read),
		T(a_session_ends_with_its_lease),
		T(what_nobody_has_a_session_for_is_not_registered),
		T(a_key_of_one_kind_opens_nothing_to_another),
		T(a_node_that_vanishes_is_noticed),
		T(a_device_that_allows_few_reads_is_connected_to),
		T(what_does_not_fit_is_left_out),
		T(a_file_is_registered_on_all_rails_or_on_none),
		T(a_request_that_proves_nothing_is_refused),
		T(who_goes_without_a_word_is_let_go),
		T(an_end_with_nodes_connected_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
