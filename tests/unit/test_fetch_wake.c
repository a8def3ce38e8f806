/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which lanes are woken: whatever may be asked for now or later, some lane that
 * could is told of it.  A peer that is frozen keeps what it was asked for.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/fetch_fixture.h"
#include "transport/fetch/inner.h"

#define LANES 3 /* of each of the fixture's peers */

static const uint8_t id[WFS_WIRE_ID_BYTES] = "region";

struct reader {
	struct wfs_far *far;
	pthread_t thread;
	size_t len;
	int rc;
};

static void *read_all(void *arg)
{
	struct reader *r = arg;
	void *buf = wfs_malloc(r->len);

	r->rc = wfs_far_read(r->far, buf, r->len, 0);
	free(buf);
	return NULL;
}

static struct reader *begin(struct wfs_far *far, unsigned chunks)
{
	struct reader *r = wfs_calloc(1, sizeof(*r));

	*r = (struct reader){ .far = far, .len = chunks * WFS_CHUNK };
	pthread_create(&r->thread, NULL, read_all, r);
	return r;
}

static void end(struct reader *r)
{
	pthread_join(r->thread, NULL);
	assert_int_equal(r->rc, 0);
	free(r);
}

static bool is_so(struct wfs_fetch *fetch, bool (*what)(void *), void *of)
{
	bool so;

	pthread_mutex_lock(&fetch->lock);
	so = what(of);
	pthread_mutex_unlock(&fetch->lock);
	return so;
}

/* Fails with the test's deadline. */
static void await(struct wfs_fetch *fetch, bool (*what)(void *), void *of)
{
	while (!is_so(fetch, what, of))
		usleep(1000);
}

static unsigned busy(const struct wfs_peer *peer)
{
	unsigned n = 0;

	for (unsigned i = 0; i < peer->lane_count; i++)
		n += peer->lanes[i].used > 0;
	return n;
}

static bool all_are_busy(void *peer)
{
	return busy(peer) == LANES;
}

static bool two_are_busy(void *peer)
{
	return busy(peer) == 2;
}

static bool all_are_asked_for(void *fetch)
{
	struct wfs_fetch *f = fetch;

	return f->asked.n && !f->wanted.n;
}

static bool all_are_late(void *fetch)
{
	const struct wfs_task *task = ((struct wfs_fetch *)fetch)->asked.head;
	uint64_t now = wfs_now_ns();

	if (!all_are_asked_for(fetch))
		return false;
	for (; task; task = task->next)
		if (task->asked_at +
			    wfs_peer_patience_locked(task->owner->peer) >
		    now)
			return false;
	return true;
}

/* With the lock, once all lanes of the peers sleep. */
static void await_sleep(struct fetch_bench *b)
{
	unsigned awake = 1;

	while (awake) {
		awake = 0;
		pthread_mutex_lock(&b->fetch->lock);
		for (unsigned i = 0; i < b->n * LANES; i++)
			awake += !b->peers[i / LANES]->lanes[i % LANES].asleep;
		if (awake) {
			pthread_mutex_unlock(&b->fetch->lock);
			sched_yield();
		}
	}
}

/* All its lanes are connected, and that peer alone has the file. */
static void connect_all(struct fetch_bench *b, unsigned peer)
{
	struct reader *r;

	for (unsigned i = 0; i < b->n; i++)
		if (i != peer)
			wfs_far_drop(b->far, b->peers[i]);
	wfs_far_hold(b->far, b->peers[peer], id);
	SET(&b->fakes[peer], frozen, true);
	r = begin(b->far, 8 * LANES);
	await(b->fetch, all_are_busy, b->peers[peer]);
	SET(&b->fakes[peer], frozen, false);
	end(r);
}

/* Or a call would end at one that may not connect now. */
static void who_must_connect_is_called_after_who_need_not(void **state)
{
	struct fetch_bench *b = fetch_bench_open(1, 0);
	struct wfs_peer *peer = b->peers[0];

	(void)state;
	fetch_bench_reads(b, 0, 1);
	for (unsigned i = 0; i < 100; i++) {
		bool must = false;
		unsigned open = 0;

		await_sleep(b);
		for (const struct wfs_lane *lane = peer->asleep; lane;
		     lane = lane->below) {
			assert_false(lane->conn && must);
			must |= !lane->conn;
			open += lane->conn != NULL;
		}
		assert_true(open);
		wfs_peer_call_all_locked(peer);
		pthread_mutex_unlock(&b->fetch->lock);
	}
	fetch_bench_close(b);
}

/* One is called; there is nothing in the queue that would have more called. */
static void chunks_that_are_late_at_once_go_to_all_lanes(void **state)
{
	const bool *connected = *state;
	struct fetch_bench *b = fetch_bench_open(2, 0);
	struct reader *r;

	if (*connected)
		connect_all(b, 1);
	wfs_far_hold(b->far, b->peers[0], id);
	wfs_far_drop(b->far, b->peers[1]);
	SET(&b->fakes[0], frozen, true);
	SET(&b->fakes[1], frozen, true);
	r = begin(b->far, LANES);
	await(b->fetch, all_are_late, b->fetch);
	wfs_far_hold(b->far, b->peers[1], id);
	await(b->fetch, all_are_busy, b->peers[1]);
	SET(&b->fakes[0], frozen, false);
	SET(&b->fakes[1], frozen, false);
	end(r);
	fetch_bench_close(b);
}

/* The one lane that saw when a chunk will be late takes another, and hangs. */
static void who_saw_that_a_chunk_will_be_late_leaves_a_lookout(void **state)
{
	struct fetch_bench *b = fetch_bench_open(2, 0);
	struct wfs_far *other = wfs_far_new(b->fetch, "model", "other", SIZE);
	struct wfs_peer *peer = b->peers[1];
	struct reader *late, *r;

	(void)state;
	b->fetch->config.late_ns = 200 * MS;
	connect_all(b, 1);
	wfs_far_hold(other, peer, id);
	wfs_far_hold(b->far, b->peers[0], id);
	SET(&b->fakes[0], frozen, true);
	SET(&b->fakes[1], frozen, true);
	pthread_mutex_lock(&b->fetch->lock);
	wfs_far_holder_locked(b->far, peer)->state = WFS_HOLDER_LOST;
	pthread_mutex_unlock(&b->fetch->lock);
	late = begin(b->far, 1);
	await(b->fetch, all_are_asked_for, b->fetch);
	/* It has that file, too: one of its lanes rises, and is to see it. */
	pthread_mutex_lock(&b->fetch->lock);
	wfs_far_holder_locked(b->far, peer)->state = WFS_HOLDER_HAS;
	pthread_mutex_unlock(&b->fetch->lock);
	r = begin(other, 1);
	await(b->fetch, two_are_busy, peer);
	SET(&b->fakes[0], frozen, false);
	SET(&b->fakes[1], frozen, false);
	end(late);
	end(r);
	wfs_far_free(other);
	fetch_bench_close(b);
}

static bool one_is_left(void *fetch)
{
	return ((struct wfs_fetch *)fetch)->wanted.n == 1;
}

static bool has_brought_one(void *peer)
{
	return ((struct wfs_peer *)peer)->chunks;
}

/* Its patience would never end. */
static void what_was_left_to_a_holder_that_goes_is_for_others(void **state)
{
	void (*const *goes)(struct wfs_far *, struct wfs_peer *) = *state;
	struct fetch_bench *b = fetch_bench_open(2, 0);
	struct reader *r;

	b->fetch->config.late_ns = PATIENT;
	wfs_peer_prefer(b->peers[1], b->peers[0]);
	SET(&b->fakes[1], frozen, true);
	r = begin(b->far, WFS_LANE_DEPTH * LANES + 1);
	await(b->fetch, one_is_left, b->fetch);
	assert_int_equal(fetch_bench_stats(b, 0).chunks, 0);
	(*goes)(b->far, b->peers[1]);
	await(b->fetch, has_brought_one, b->peers[0]);
	SET(&b->fakes[1], frozen, false);
	end(r);
	fetch_bench_close(b);
}

static bool takes(struct wfs_lane *lane)
{
	uint64_t until;

	return wfs_lane_pick_locked(lane, false, wfs_now_ns(), &until);
}

/*
 * A lane asks for a second chunk unless others would at once; those of a peer
 * that has not got it, or leaves it to this one, would not.
 */
static void idle_lanes_that_may_not_take_it_keep_it_from_nobody(void **state)
{
	const bool *holds = *state;
	struct fetch_bench *b = fetch_bench_open(2, 0);
	struct wfs_peer *peer = b->peers[0];
	struct wfs_task tasks[LANES + 2];
	struct wfs_batch batch = { .far = b->far, .left = LANES + 2 };

	b->fetch->config.late_ns = PATIENT;
	connect_all(b, 1);
	connect_all(b, 0);
	if (*holds)
		wfs_far_hold(b->far, b->peers[1], id);
	wfs_peer_prefer(peer, b->peers[1]);
	sem_init(&batch.changed, 0, 0);
	await_sleep(b);
	for (unsigned i = 0; i < LANES + 2; i++) {
		tasks[i] = (struct wfs_task){
			.batch = &batch, .index = i, .to = b, .len = WFS_CHUNK
		};
		wfs_task_queue_locked(b->fetch, &tasks[i], false, wfs_now_ns());
	}
	assert_true(takes(&peer->lanes[0]));
	assert_true(takes(&peer->lanes[0]));
	/* As many are left as its own lanes can take, that sleep. */
	assert_true(takes(&peer->lanes[1]));
	assert_false(takes(&peer->lanes[1]));
	for (unsigned i = 0; i < LANES + 2; i++)
		wfs_task_fail_locked(&tasks[i], -ECANCELED);
	for (unsigned i = 0; i < LANES; i++)
		peer->lanes[i].used = 0;
	wfs_peer_owes_locked(peer, true, wfs_now_ns());
	pthread_mutex_unlock(&b->fetch->lock);
	sem_destroy(&batch.changed);
	fetch_bench_close(b);
}

int main(void)
{
	static bool no = false, yes = true;
	static void (*drop)(struct wfs_far *,
			    struct wfs_peer *) = wfs_far_drop,
					    (*replace)(struct wfs_far *,
						       struct wfs_peer *) =
						    wfs_far_replaced;
	const struct CMUnitTest tests[] = {
		T(who_must_connect_is_called_after_who_need_not),
		{ "chunks that are late at once go to all lanes",
		  chunks_that_are_late_at_once_go_to_all_lanes, NULL, NULL,
		  &yes },
		{ "also to those that must connect first",
		  chunks_that_are_late_at_once_go_to_all_lanes, NULL, NULL,
		  &no },
		T(who_saw_that_a_chunk_will_be_late_leaves_a_lookout),
		{ "what was left to a holder that goes is for others",
		  what_was_left_to_a_holder_that_goes_is_for_others, NULL, NULL,
		  &drop },
		{ "so is what was left to one whose file was rewritten",
		  what_was_left_to_a_holder_that_goes_is_for_others, NULL, NULL,
		  &replace },
		{ "idle lanes of who has not got it keep it from nobody",
		  idle_lanes_that_may_not_take_it_keep_it_from_nobody, NULL,
		  NULL, &no },
		{ "idle lanes of a slower way keep it from nobody",
		  idle_lanes_that_may_not_take_it_keep_it_from_nobody, NULL,
		  NULL, &yes },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
