/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler of chunks, over lanes of the test: seeds in memory that are
 * late, fail, lie or hang when told to.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/source.h"
#include "tests/unit/chance.h"
#include "transport/fetch/fetch.h"

#define SIZE	  (37ull * WFS_CHUNK + 12345)
#define MS	  1000000ull
#define PEERS_MAX 4
/* Of reads that must not fail: never the reason for what a test says. */
#define PATIENT (600ull * 1000 * MS)

/* A seed of the test; its conns are cut off by `down`. */
struct fake {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const uint8_t *bytes;
	bool down;	  /* connections fail, those that are there are cut */
	bool frozen;	  /* nothing is answered */
	bool stuck;	  /* answers end in the middle of a chunk */
	bool lies;	  /* wrong bytes under the right digest */
	uint32_t refuse;  /* a status, instead of bytes */
	unsigned fail_in; /* every so many answers a connection breaks */
	unsigned asked, opened;
	unsigned halves; /* chunks that did */
};

struct fake_conn {
	struct fake *fake;
	bool stopped;
	struct wfs_lane_ask asks[2];
	unsigned n;
};

static bool is_cut(const struct fake_conn *c)
{
	return c->stopped || c->fake->down;
}

static int fake_open(void *ctx, const atomic_bool *stop, void **ret,
		     struct wfs_err *err)
{
	struct fake *fake = ctx;
	struct fake_conn *c;
	bool down;

	(void)stop;
	pthread_mutex_lock(&fake->lock);
	down = fake->down;
	fake->opened += !down;
	pthread_mutex_unlock(&fake->lock);
	if (down)
		return wfs_err_set(err, -ECONNREFUSED, "it is down");
	c = wfs_calloc(1, sizeof(*c));
	c->fake = fake;
	*ret = c;
	return 0;
}

static int fake_ask(void *conn, const struct wfs_lane_ask *ask)
{
	struct fake_conn *c = conn;
	struct fake *fake = c->fake;
	int rc;

	pthread_mutex_lock(&fake->lock);
	rc = is_cut(c) ? -ECONNRESET : 0;
	if (c->n == 2)
		abort();
	c->asks[c->n++] = *ask;
	fake->asked++;
	pthread_mutex_unlock(&fake->lock);
	return rc;
}

static int fake_head(void *conn, struct wfs_wire_answer *ret)
{
	struct fake_conn *c = conn;
	struct fake *fake = c->fake;
	int rc = 0;

	pthread_mutex_lock(&fake->lock);
	while (fake->frozen && !is_cut(c))
		pthread_cond_wait(&fake->changed, &fake->lock);
	if (is_cut(c))
		rc = -ECONNRESET;
	if (fake->fail_in && fake->asked % fake->fail_in == 0) {
		fake->asked++;
		rc = -ECONNRESET;
	}
	*ret = (struct wfs_wire_answer){ .tag = c->asks[0].tag,
					 .status = fake->refuse,
					 .len = fake->refuse ? 3 :
							       c->asks[0].len };
	pthread_mutex_unlock(&fake->lock);
	if (!rc && !ret->status)
		wfs_digest_bytes(WFS_XXH3_128, fake->bytes + c->asks[0].off,
				 c->asks[0].len, ret->digest);
	return rc;
}

static int fake_body(void *conn, void *to, uint32_t len)
{
	struct fake_conn *c = conn;
	struct fake *fake = c->fake;
	const uint8_t *from = fake->bytes + c->asks[0].off;
	bool lies;
	int rc = 0;

	if (len < WFS_CHUNK && len == 3) {
		memcpy(to, "no!", 3);
	} else {
		/* In two parts, so that it can be cut off in between. */
		memcpy(to, from, len / 2);
		pthread_mutex_lock(&fake->lock);
		fake->halves += fake->stuck;
		while ((fake->frozen || fake->stuck) && !is_cut(c))
			pthread_cond_wait(&fake->changed, &fake->lock);
		rc = is_cut(c) ? -ECONNRESET : 0;
		lies = fake->lies;
		pthread_mutex_unlock(&fake->lock);
		if (!rc)
			memcpy((uint8_t *)to + len / 2, from + len / 2,
			       len - len / 2);
		if (lies)
			((uint8_t *)to)[len / 3] ^= 1;
	}
	c->asks[0] = c->asks[1];
	c->n--;
	return rc;
}

static void fake_stop(void *conn)
{
	struct fake_conn *c = conn;

	pthread_mutex_lock(&c->fake->lock);
	c->stopped = true;
	pthread_cond_broadcast(&c->fake->changed);
	pthread_mutex_unlock(&c->fake->lock);
}

static void fake_close(void *conn)
{
	free(conn);
}

static const struct wfs_lane_ops fake_ops = {
	.open = fake_open,
	.ask = fake_ask,
	.head = fake_head,
	.body = fake_body,
	.stop = fake_stop,
	.close = fake_close,
};

struct bench {
	uint8_t *bytes;
	struct wfs_fetch *fetch;
	struct fake fakes[PEERS_MAX];
	struct wfs_peer *peers[PEERS_MAX];
	unsigned n;
	struct wfs_far *far;
};

static struct bench *bench_open(unsigned peers, uint64_t deadline_ns)
{
	struct wfs_fetch_config config = {
		.deadline_ns = deadline_ns ? deadline_ns : PATIENT,
		.late_ns = 10 * MS,
		.quarantine_ns = 20 * MS,
		.retry_ns = MS,
		.retry_max_ns = 10 * MS,
	};
	static const uint8_t id[WFS_WIRE_ID_BYTES] = "region";
	struct bench *b = wfs_calloc(1, sizeof(*b));

	b->bytes = wfs_malloc(SIZE);
	for (uint64_t i = 0; i < SIZE; i++)
		b->bytes[i] = (uint8_t)(i * 2654435761u >> 13);
	wfs_fetch_new(&config, &b->fetch);
	b->far = wfs_far_new(b->fetch, "model", "file", SIZE);
	b->n = peers;
	for (unsigned i = 0; i < peers; i++) {
		struct fake *fake = &b->fakes[i];
		char label[16];

		snprintf(label, sizeof(label), "seed-%u", i);
		pthread_mutex_init(&fake->lock, NULL);
		pthread_cond_init(&fake->changed, NULL);
		fake->bytes = b->bytes;
		assert_int_equal(wfs_peer_add(b->fetch, label, &fake_ops, fake,
					      3, &b->peers[i]),
				 0);
		wfs_far_hold(b->far, b->peers[i], id);
	}
	return b;
}

static void bench_close(struct bench *b)
{
	wfs_far_free(b->far);
	wfs_fetch_free(b->fetch);
	for (unsigned i = 0; i < b->n; i++) {
		pthread_mutex_destroy(&b->fakes[i].lock);
		pthread_cond_destroy(&b->fakes[i].changed);
	}
	free(b->bytes);
	free(b);
}

#define SET(fake, field, value)                                                \
	do {                                                                   \
		pthread_mutex_lock(&(fake)->lock);                             \
		(fake)->field = (value);                                       \
		pthread_cond_broadcast(&(fake)->changed);                      \
		pthread_mutex_unlock(&(fake)->lock);                           \
	} while (0)

/* -EBADMSG: it succeeded, with other bytes.  From any thread. */
static int read_and_compare(struct bench *b, uint64_t off, size_t len)
{
	uint8_t *buf = wfs_malloc(len + 1);
	int rc;

	memset(buf, 0x5a, len + 1);
	rc = wfs_far_read(b->far, buf, len, off);
	if (!rc && (memcmp(buf, b->bytes + off, len) || buf[len] != 0x5a))
		rc = -EBADMSG;
	free(buf);
	return rc;
}

static void assert_reads(struct bench *b, uint64_t off, size_t len)
{
	assert_int_equal(read_and_compare(b, off, len), 0);
}

static struct wfs_peer_stats stats_of(struct bench *b, unsigned peer)
{
	struct wfs_peer_stats stats;

	wfs_peer_stats(b->peers[peer], &stats);
	return stats;
}

static void any_stretch_is_read(void **state)
{
	struct bench *b = bench_open(2, 0);

	(void)state;
	assert_reads(b, 0, SIZE);
	assert_reads(b, 0, 1);
	assert_reads(b, SIZE - 1, 1);
	assert_reads(b, WFS_CHUNK - 1, 2);
	assert_reads(b, 5 * WFS_CHUNK + 17, 4 * WFS_CHUNK);
	assert_int_equal(wfs_far_read(b->far, NULL, 0, 0), 0);
	bench_close(b);
}

struct reader {
	struct bench *b;
	pthread_t thread;
	size_t len; /* of read_one */
	unsigned seed;
	int rc;
};

static void *read_one(void *arg)
{
	struct reader *r = arg;

	r->rc = read_and_compare(r->b, 0, r->len);
	return NULL;
}

/* All but the last peer hang, and it is down until each was asked. */
static struct bench *read_past_frozen(unsigned peers)
{
	struct bench *b = bench_open(peers, 0);
	/* Of one chunk where several hang, or they would share them. */
	struct reader reader = { .b = b, .len = peers > 2 ? 10 : SIZE };

	SET(&b->fakes[peers - 1], down, true);
	for (unsigned i = 0; i + 1 < peers; i++)
		SET(&b->fakes[i], frozen, true);
	pthread_create(&reader.thread, NULL, read_one, &reader);
	for (unsigned i = 0; i + 1 < peers; i++)
		while (!stats_of(b, i).busy)
			usleep(1000);
	SET(&b->fakes[peers - 1], down, false);
	pthread_join(reader.thread, NULL);
	assert_int_equal(reader.rc, 0);
	assert_true(stats_of(b, peers - 1).won > 0);
	return b;
}

static void a_frozen_peer_is_done_without(void **state)
{
	struct bench *b = read_past_frozen(2);

	(void)state;
	SET(&b->fakes[0], frozen, false);
	assert_reads(b, 0, SIZE);
	bench_close(b);
}

/* The chunk was asked of one, and as it was late of another that hangs. */
static void two_frozen_peers_are_done_without(void **state)
{
	(void)state;
	bench_close(read_past_frozen(3));
}

/* It froze with half a chunk in the reader's memory. */
static void a_peer_that_freezes_within_a_chunk_is_cut_off(void **state)
{
	struct bench *b = bench_open(2, 0);

	(void)state;
	for (int i = 0; i < 10; i++) {
		struct fake *fake = &b->fakes[i % 2];
		unsigned halves = 0;

		SET(fake, halves, 0);
		SET(fake, stuck, true);
		while (!halves) {
			assert_reads(b, (uint64_t)i * WFS_CHUNK, 8 * WFS_CHUNK);
			pthread_mutex_lock(&fake->lock);
			halves = fake->halves;
			pthread_mutex_unlock(&fake->lock);
		}
		SET(fake, stuck, false);
	}
	bench_close(b);
}

static void wrong_bytes_are_never_given_out(void **state)
{
	struct bench *b = bench_open(3, 0);

	(void)state;
	SET(&b->fakes[1], lies, true);
	while (!stats_of(b, 1).wrong)
		assert_reads(b, 0, SIZE);
	assert_reads(b, 0, SIZE);
	assert_int_equal(stats_of(b, 0).wrong + stats_of(b, 2).wrong, 0);
	bench_close(b);
}

/* From now on what is right is what is there now. */
static void trust_bytes(struct bench *b)
{
	struct wfs_digests *list = wfs_digests_new(WFS_XXH3_128, SIZE);

	for (uint64_t i = 0; i < list->count; i++)
		wfs_digest_bytes(WFS_XXH3_128, b->bytes + i * WFS_CHUNK,
				 wfs_chunk_len(SIZE, i),
				 wfs_digests_at(list, i));
	assert_true(wfs_far_trust(b->far, list));
	assert_true(wfs_far_is_trusted(b->far));
}

static void a_list_of_digests_is_believed_before_what_comes_along(void **state)
{
	struct bench *b = bench_open(2, 0), *alone = bench_open(1, 200 * MS);
	uint8_t *other = wfs_malloc(SIZE);
	uint8_t buf[16];

	(void)state;
	/* The seed is of one mind with itself, and wrong. */
	memset(other, 7, SIZE);
	trust_bytes(b);
	SET(&b->fakes[0], bytes, other);
	while (!stats_of(b, 0).wrong)
		assert_reads(b, 0, SIZE);
	bench_close(b);
	trust_bytes(alone);
	SET(&alone->fakes[0], bytes, other);
	assert_int_equal(wfs_far_read(alone->far, buf, sizeof(buf), 0), -EIO);
	bench_close(alone);
	free(other);
}

static void a_faster_way_is_taken_alone_while_it_works(void **state)
{
	struct bench *b = bench_open(2, 0);
	uint64_t slow, fast;

	(void)state;
	wfs_peer_prefer(b->peers[1], b->peers[0]);
	/* Only what is late goes the other way, which a busy machine may be. */
	do {
		assert_reads(b, 0, SIZE);
		fast = stats_of(b, 1).chunks;
	} while (!fast);
	assert_true(stats_of(b, 0).chunks <= stats_of(b, 0).hedges);
	SET(&b->fakes[1], down, true);
	slow = stats_of(b, 0).chunks;
	assert_reads(b, 0, SIZE);
	assert_true(stats_of(b, 0).chunks > slow);
	/* It is tried again, and taken again. */
	SET(&b->fakes[1], down, false);
	while (stats_of(b, 1).chunks == fast)
		assert_reads(b, 0, SIZE);
	bench_close(b);
}

static void what_fails_is_asked_of_another(void **state)
{
	struct bench *b = bench_open(3, 0);

	(void)state;
	SET(&b->fakes[0], fail_in, 5);
	SET(&b->fakes[1], refuse, WFS_WIRE_BUSY);
	for (int i = 0; i < 3; i++)
		assert_reads(b, 0, SIZE);
	SET(&b->fakes[2], down, true);
	SET(&b->fakes[1], refuse, WFS_WIRE_OK);
	assert_reads(b, 0, SIZE);
	bench_close(b);
}

static void with_nobody_left_a_read_fails_and_the_next_works(void **state)
{
	struct bench *b = bench_open(1, 500 * MS);
	uint8_t buf[100];

	(void)state;
	SET(&b->fakes[0], down, true);
	assert_int_equal(wfs_far_read(b->far, buf, 100, 0), -EIO);
	SET(&b->fakes[0], down, false);
	while (wfs_far_read(b->far, buf, 100, 3 * WFS_CHUNK))
		;
	assert_memory_equal(buf, b->bytes + 3 * WFS_CHUNK, 100);
	/* The same where it hangs in the middle of a chunk. */
	SET(&b->fakes[0], frozen, true);
	assert_int_equal(wfs_far_read(b->far, buf, 100, 0), -EIO);
	SET(&b->fakes[0], frozen, false);
	while (wfs_far_read(b->far, buf, 100, 0))
		;
	bench_close(b);
}

static void a_region_that_was_rewritten_is_stale(void **state)
{
	static const uint8_t id[WFS_WIRE_ID_BYTES] = "another";
	struct bench *b = bench_open(2, 0);
	uint8_t buf[8];

	(void)state;
	SET(&b->fakes[0], refuse, WFS_WIRE_STALE);
	assert_reads(b, 0, SIZE); /* the other has it */
	SET(&b->fakes[1], refuse, WFS_WIRE_STALE);
	while (!wfs_far_read(b->far, buf, sizeof(buf), 0))
		;
	assert_int_equal(wfs_far_read(b->far, buf, sizeof(buf), 0), -ESTALE);
	SET(&b->fakes[1], refuse, WFS_WIRE_OK);
	wfs_far_hold(b->far, b->peers[1], id);
	assert_reads(b, 0, SIZE);
	bench_close(b);
}

static void stopping_ends_every_wait(void **state)
{
	struct bench *b = bench_open(2, 0);
	struct reader readers[4];

	(void)state;
	SET(&b->fakes[0], frozen, true);
	SET(&b->fakes[1], down, true);
	for (int i = 0; i < 4; i++) {
		readers[i] = (struct reader){ .b = b, .len = 10 };
		pthread_create(&readers[i].thread, NULL, read_one, &readers[i]);
	}
	while (!stats_of(b, 0).busy)
		usleep(1000);
	wfs_fetch_stop(b->fetch);
	for (int i = 0; i < 4; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].rc, -ESHUTDOWN);
	}
	bench_close(b);
}

static void *read_many(void *arg)
{
	struct reader *r = arg;
	struct chance chance = { .state = r->seed };

	for (int i = 0; i < 30 && !r->rc; i++) {
		uint64_t off = chance_below(&chance, SIZE - 1);
		uint64_t len = 1 + chance_below(&chance, 6 * WFS_CHUNK);

		if (len > SIZE - off)
			len = SIZE - off;
		wfs_read_ahead(chance_below(&chance, 2));
		r->rc = read_and_compare(r->b, off, len);
	}
	return NULL;
}

/* One good peer is left at any time: no read fails, no byte is wrong. */
static void faults_by_chance_lose_no_read(void **state)
{
	struct bench *b = bench_open(PEERS_MAX, 0);
	struct chance chance = chance_new();
	struct reader readers[6];

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		readers[i] = (struct reader){
			.b = b,
			.seed = 1 + (unsigned)chance_below(&chance, 1u << 30),
		};
		pthread_create(&readers[i].thread, NULL, read_many,
			       &readers[i]);
	}
	for (int i = 0; i < 60; i++) {
		struct fake *fake =
			&b->fakes[1 + chance_below(&chance, PEERS_MAX - 1)];
		bool on = chance_below(&chance, 2);

		switch (chance_below(&chance, 5)) {
		case 0:
			SET(fake, down, on);
			break;
		case 1:
			SET(fake, frozen, on);
			break;
		case 2:
			SET(fake, lies, on);
			break;
		case 3:
			SET(fake, fail_in, on ? 3 : 0);
			break;
		default:
			SET(fake, refuse, on ? WFS_WIRE_NOT_HELD : WFS_WIRE_OK);
		}
		usleep(5000);
	}
	for (unsigned i = 0; i < 6; i++)
		pthread_join(readers[i].thread, NULL);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(readers[i].rc, 0);
	assert_int_equal(stats_of(b, 0).wrong, 0);
	bench_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(any_stretch_is_read),
		T(a_frozen_peer_is_done_without),
		T(two_frozen_peers_are_done_without),
		T(a_peer_that_freezes_within_a_chunk_is_cut_off),
		T(wrong_bytes_are_never_given_out),
		T(a_list_of_digests_is_believed_before_what_comes_along),
		T(a_faster_way_is_taken_alone_while_it_works),
		T(what_fails_is_asked_of_another),
		T(with_nobody_left_a_read_fails_and_the_next_works),
		T(a_region_that_was_rewritten_is_stale),
		T(stopping_ends_every_wait),
		T(faults_by_chance_lose_no_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
