/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue pair of the node's, over FAKE devices: how connecting ends, and what
 * waiting for completions does.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/digest/digests.h"
#include "tests/unit/rdma_seed.h"

#define LEN   4096u
#define LONG  60000000000ull
#define SHORT 20000000ull

static uint8_t bytes[2 * WFS_CHUNK];

static int setup(void **state)
{
	struct rdma_seed *seed = wfs_calloc(1, sizeof(*seed));

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 11);
	seed->stock = (struct rdma_stock){ .count = 1,
					   .size = sizeof(bytes),
					   .bytes = bytes };
	fake_rdma_open(NULL, 1);
	rdma_seed_open(seed);
	rdma_seed_await(seed, 1, 0);
	*state = seed;
	return 0;
}

static int teardown(void **state)
{
	rdma_seed_close(*state);
	free(*state);
	fake_rdma_close();
	return 0;
}

static void a_read_is_told(void **state)
{
	struct rdma_reader reader;
	struct wfs_rdma_place place;

	assert_int_equal(rdma_reader_open(&reader, *state, NULL), 0);
	place = rdma_reader_find(&reader, *state, 0);
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(rdma_reader_read(&reader, place.address + i,
						  LEN, place.rkeys[0]),
				 IBV_WC_SUCCESS);
		assert_memory_equal(reader.bytes, bytes + i, LEN);
	}
	rdma_reader_close(&reader);
}

struct waiter {
	struct rdma_reader *reader;
	pthread_t thread;
	int rc;
	struct ibv_wc wc;
};

static void *wait_long(void *arg)
{
	struct waiter *w = arg;

	w->rc = wfs_rdma_link_wait(&w->reader->link, LONG, &w->wc);
	return NULL;
}

/* A READ that is held, and a thread that waits for it. */
static void start(struct waiter *w, struct rdma_reader *reader,
		  struct rdma_seed *seed)
{
	const struct fake_fault fault = { .kind = FAKE_HELD,
					  .device = FAKE_ANY,
					  .times = 1 };
	struct wfs_rdma_place place;

	assert_int_equal(rdma_reader_open(reader, seed, NULL), 0);
	place = rdma_reader_find(reader, seed, 0);
	fake_rdma_inject(&fault);
	rdma_reader_post(reader, place.address, LEN, place.rkeys[0]);
	fake_rdma_await(FAKE_HOLDS, 1);
	*w = (struct waiter){ .reader = reader };
	assert_int_equal(pthread_create(&w->thread, NULL, wait_long, w), 0);
}

static void whoever_sleeps_is_woken_by_a_completion(void **state)
{
	struct rdma_reader reader;
	struct waiter w;

	start(&w, &reader, *state);
	fake_rdma_release();
	pthread_join(w.thread, NULL);
	assert_int_equal(w.rc, 0);
	assert_int_equal(w.wc.status, IBV_WC_SUCCESS);
	assert_memory_equal(reader.bytes, bytes, LEN);
	rdma_reader_close(&reader);
}

static void a_stop_wakes_whoever_sleeps(void **state)
{
	struct rdma_reader reader;
	struct waiter w;

	start(&w, &reader, *state);
	wfs_rdma_link_stop(&reader.link);
	pthread_join(w.thread, NULL);
	assert_int_equal(w.rc, -ECANCELED);
	rdma_reader_close(&reader);
}

/* By its end or a flush, whatever is seen first. */
static void a_seed_that_ends_wakes_whoever_sleeps(void **state)
{
	struct rdma_seed *seed = *state;
	struct rdma_reader reader;
	struct waiter w;

	start(&w, &reader, seed);
	wfs_exporter_stop(seed->exporter);
	pthread_join(w.thread, NULL);
	if (w.rc)
		assert_int_equal(w.rc, -ECONNRESET);
	else
		assert_int_equal(w.wc.status, IBV_WC_WR_FLUSH_ERR);
	rdma_reader_close(&reader);
}

/* What is posted then fails as it does where a rail is dead. */
static void what_fails_for_the_seed_s_end_is_known_to(void **state)
{
	struct rdma_seed *seed = *state;
	struct rdma_reader reader;
	struct wfs_rdma_place place;
	struct ibv_wc wc;

	assert_int_equal(rdma_reader_open(&reader, seed, NULL), 0);
	place = rdma_reader_find(&reader, seed, 0);
	assert_int_equal(wfs_rdma_link_over(&reader.link), 0);
	wfs_exporter_stop(seed->exporter);
	rdma_reader_post(&reader, place.address, LEN, place.rkeys[0]);
	/* Whoever waits on the link may hear of its end first. */
	while (!ibv_poll_cq(reader.link.cq, 1, &wc))
		usleep(1000);
	assert_int_equal(wc.status, IBV_WC_RETRY_EXC_ERR);
	assert_int_equal(wfs_rdma_link_over(&reader.link), -ECONNRESET);
	rdma_reader_close(&reader);
}

static void what_nobody_hears_of_ends_with_the_deadline(void **state)
{
	const struct fake_fault fault = { .kind = FAKE_LOST,
					  .device = FAKE_ANY,
					  .times = 1 };
	struct rdma_reader reader;
	struct wfs_rdma_place place;
	struct ibv_wc wc;

	assert_int_equal(rdma_reader_open(&reader, *state, NULL), 0);
	place = rdma_reader_find(&reader, *state, 0);
	fake_rdma_inject(&fault);
	rdma_reader_post(&reader, place.address, LEN, place.rkeys[0]);
	assert_int_equal(wfs_rdma_link_wait(&reader.link, SHORT, &wc),
			 -ETIMEDOUT);
	rdma_reader_close(&reader);
}

/* The half that was there stays, the rest never comes. */
static void after_the_cut_nothing_is_written(void **state)
{
	struct rdma_reader reader;
	struct waiter w;
	unsigned reads;

	start(&w, &reader, *state);
	wfs_rdma_link_stop(&reader.link);
	pthread_join(w.thread, NULL);
	wfs_rdma_link_cut(&reader.link);
	assert_int_equal(fake_rdma_count(FAKE_HOLDS), 0);
	reads = fake_rdma_count(FAKE_READS);
	fake_rdma_release();
	assert_memory_equal(reader.bytes, bytes, LEN / 2);
	for (size_t i = LEN / 2; i < LEN; i++)
		assert_int_equal(reader.bytes[i], 0x5a);
	assert_int_equal(fake_rdma_count(FAKE_READS), reads);
	rdma_reader_close(&reader);
}

static void after_an_error_the_rest_is_flushed(void **state)
{
	const struct fake_fault fault = { .kind = FAKE_STATUS,
					  .status = IBV_WC_GENERAL_ERR,
					  .device = FAKE_ANY,
					  .times = 1 };
	struct rdma_reader reader;
	struct wfs_rdma_place place;
	struct ibv_wc wc;

	assert_int_equal(rdma_reader_open(&reader, *state, NULL), 0);
	place = rdma_reader_find(&reader, *state, 0);
	fake_rdma_inject(&fault);
	assert_int_equal(rdma_reader_read(&reader, place.address, LEN,
					  place.rkeys[0]),
			 IBV_WC_GENERAL_ERR);
	rdma_reader_post(&reader, place.address, LEN, place.rkeys[0]);
	assert_int_equal(wfs_rdma_link_wait(&reader.link, LONG, &wc), 0);
	assert_int_equal(wc.status, IBV_WC_WR_FLUSH_ERR);
	rdma_reader_close(&reader);
}

static void fails(struct rdma_seed *seed, const struct wfs_rdma_way *way,
		  int want)
{
	struct rdma_reader reader;

	assert_int_equal(rdma_reader_open(&reader, seed, way), want);
	rdma_reader_close(&reader);
}

static void every_way_not_to_connect_has_its_error(void **state)
{
	struct rdma_seed *seed = *state;
	struct wfs_rdma_way way = rdma_seed_way(seed), other = way;

	fake_rdma_answer(FAKE_UNREACHABLE, 1);
	fails(seed, &way, -ETIMEDOUT);
	fake_rdma_answer(FAKE_NO_ROUTE, 1);
	fails(seed, &way, -ENETUNREACH);
	fake_rdma_answer(FAKE_NO_DEPTH, 1);
	fails(seed, &way, -EPROTO);
	other.key[3] ^= 1;
	fails(seed, &other, -EACCES);
	other = way;
	other.session++;
	fails(seed, &other, -EACCES);
	other = way;
	strcpy(other.to.address, "198.51.100.1");
	fails(seed, &other, -ENETUNREACH);
	strcpy(other.to.address, "no address");
	fails(seed, &other, -EINVAL);
	fake_rdma_port(0, false);
	fails(seed, &way, -ENETUNREACH);
	fake_rdma_port(0, true);
	fails(seed, &way, 0);
}

static void who_is_to_end_does_not_connect(void **state)
{
	static const atomic_bool stopped = true;
	const struct wfs_rdma_way way = rdma_seed_way(*state);
	struct rdma_reader reader = { .way = way };
	struct wfs_err err = { 0 };

	assert_int_equal(wfs_rdma_link_open(&reader.link, "seed", &way,
					    &stopped, &err),
			 -ESHUTDOWN);
	rdma_reader_close(&reader);
}

static void two_hundred_connections_leave_nothing(void **state)
{
	struct rdma_seed *seed = *state;
	unsigned before;

	fails(seed, NULL, 0);
	rdma_seed_await_none(seed);
	before = fake_rdma_live();
	for (unsigned i = 0; i < 200; i++)
		fails(seed, NULL, 0);
	rdma_seed_await_none(seed);
	assert_int_equal(fake_rdma_live(), before);
	assert_true(fake_rdma_count(FAKE_CONNECTIONS) >= 201);
}

/* As many as it says it keeps; whoever goes makes room. */
static void a_full_seed_refuses_and_is_not_hurt(void **state)
{
	enum { FULL = 1024 };
	struct rdma_seed *seed = *state;
	const struct wfs_rdma_way way = rdma_seed_way(seed);
	struct wfs_rdma_link *links = wfs_calloc(FULL + 1, sizeof(*links));
	static const atomic_bool never;
	struct wfs_err err = { 0 };

	for (size_t i = 0; i < FULL; i++)
		assert_int_equal(wfs_rdma_link_open(&links[i], "seed", &way,
						    &never, &err),
				 0);
	assert_int_equal(wfs_rdma_link_open(&links[FULL], "seed", &way, &never,
					    &err),
			 -EACCES);
	wfs_rdma_link_close(&links[FULL]);
	wfs_rdma_link_close(&links[17]);
	rdma_seed_await_links(seed, FULL - 1);
	assert_int_equal(
		wfs_rdma_link_open(&links[17], "seed", &way, &never, &err), 0);
	for (size_t i = 0; i < FULL; i++)
		wfs_rdma_link_close(&links[i]);
	rdma_seed_await_links(seed, 0);
	free(links);
}

#define WITH_SEED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SEED(a_read_is_told),
		WITH_SEED(whoever_sleeps_is_woken_by_a_completion),
		WITH_SEED(a_stop_wakes_whoever_sleeps),
		WITH_SEED(a_seed_that_ends_wakes_whoever_sleeps),
		WITH_SEED(what_fails_for_the_seed_s_end_is_known_to),
		WITH_SEED(what_nobody_hears_of_ends_with_the_deadline),
		WITH_SEED(after_the_cut_nothing_is_written),
		WITH_SEED(after_an_error_the_rest_is_flushed),
		WITH_SEED(every_way_not_to_connect_has_its_error),
		WITH_SEED(who_is_to_end_does_not_connect),
		WITH_SEED(two_hundred_connections_leave_nothing),
		WITH_SEED(a_full_seed_refuses_and_is_not_hurt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
