/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which chunk a lane takes next: nobody else does anything meanwhile, since the
 * test has the lock.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/mem.h"
#include "tests/unit/fetch_fixture.h"
#include "transport/fetch/inner.h"

#define CHUNKS 8
#define READS  2

struct world {
	struct fetch_bench *bench;
	struct wfs_peer *peer;
	struct wfs_batch batches[READS];
	struct wfs_task tasks[READS][CHUNKS];
};

static void open_world(struct world *w, bool ahead)
{
	*w = (struct world){ .bench = fetch_bench_open(1, 0) };
	w->peer = w->bench->peers[0];
	pthread_mutex_lock(&w->bench->fetch->lock);
	for (unsigned i = 0; i < READS; i++) {
		w->batches[i] = (struct wfs_batch){ .far = w->bench->far,
						    .left = CHUNKS };
		sem_init(&w->batches[i].changed, 0, 0);
		for (unsigned k = 0; k < CHUNKS; k++) {
			w->tasks[i][k] =
				(struct wfs_task){ .batch = &w->batches[i],
						   .index = k,
						   .to = w,
						   .ahead = ahead,
						   .len = WFS_CHUNK };
			wfs_task_queue_locked(w->bench->fetch, &w->tasks[i][k],
					      false, wfs_now_ns());
		}
	}
}

static void close_world(struct world *w)
{
	for (unsigned i = 0; i < READS; i++) {
		for (unsigned k = 0; k < CHUNKS; k++)
			wfs_task_fail_locked(&w->tasks[i][k], -ECANCELED);
		sem_destroy(&w->batches[i].changed);
	}
	for (unsigned i = 0; i < w->peer->lane_count; i++)
		w->peer->lanes[i].used = 0;
	wfs_peer_owes_locked(w->peer, true, wfs_now_ns());
	pthread_mutex_unlock(&w->bench->fetch->lock);
	fetch_bench_close(w->bench);
}

/* The lane takes that chunk. */
static void take_and_is(struct world *w, unsigned lane,
			const struct wfs_task *task)
{
	struct wfs_lane *l = &w->peer->lanes[lane];
	uint64_t until;

	assert_true(wfs_lane_pick_locked(l, false, wfs_now_ns(), &until));
	assert_ptr_equal(l->slots[l->used - 1].task, task);
}

/* … that chunk of that read. */
static void takes(struct world *w, unsigned lane, unsigned read, unsigned chunk)
{
	take_and_is(w, lane, &w->tasks[read][chunk]);
}

/* Its oldest one came. */
static void has(struct world *w, unsigned lane)
{
	struct wfs_lane *l = &w->peer->lanes[lane];

	l->used--;
	memmove(&l->slots[0], &l->slots[1], l->used * sizeof(l->slots[0]));
}

static void each_lane_goes_on_with_a_read_of_its_own(void **state)
{
	const bool *ahead = *state;
	struct world w;

	open_world(&w, *ahead);
	takes(&w, 0, 0, 0);
	takes(&w, 1, 1, 0);
	takes(&w, 0, 0, 1);
	takes(&w, 1, 1, 1);
	has(&w, 1);
	takes(&w, 1, 1, 2);
	close_world(&w);
}

static void a_lane_that_finds_none_helps_with_the_first(void **state)
{
	const bool *ahead = *state;
	struct world w;

	open_world(&w, *ahead);
	takes(&w, 0, 0, 0);
	takes(&w, 1, 1, 0);
	takes(&w, 2, 0, 1);
	close_world(&w);
}

static void what_is_wanted_goes_before_the_rest_of_a_read(void **state)
{
	static struct wfs_task task = { .len = WFS_CHUNK };
	static struct wfs_batch batch = { .left = 1 };
	struct world w;

	(void)state;
	open_world(&w, true);
	takes(&w, 0, 0, 0);
	batch.far = w.bench->far;
	task.to = &w;
	sem_init(&batch.changed, 0, 0);
	task.batch = &batch;
	wfs_task_queue_locked(w.bench->fetch, &task, false, wfs_now_ns());
	take_and_is(&w, 0, &task);
	takes(&w, 1, 1, 0);
	wfs_task_fail_locked(&task, -ECANCELED);
	sem_destroy(&batch.changed);
	close_world(&w);
}

int main(void)
{
	static bool wanted = false, ahead = true;
	const struct CMUnitTest tests[] = {
		{ "of what is wanted each lane goes on with a read of its own",
		  each_lane_goes_on_with_a_read_of_its_own, NULL, NULL,
		  &wanted },
		{ "of what is read ahead, too",
		  each_lane_goes_on_with_a_read_of_its_own, NULL, NULL,
		  &ahead },
		{ "a lane that finds none helps with the first",
		  a_lane_that_finds_none_helps_with_the_first, NULL, NULL,
		  &wanted },
		T(what_is_wanted_goes_before_the_rest_of_a_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
