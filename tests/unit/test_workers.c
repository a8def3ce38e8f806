/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts that are shared among threads: each is done once, and all of them by
 * the time that they are said to be.
 */
#include "tests/unit/t.h"

#include <pthread.h>
#include <stdatomic.h>

#include "fs/workers.h"

#define PARTS	100
#define SHARERS 8
#define TIMES	20

struct counted {
	struct wfs_workers *workers;
	atomic_int times[PARTS];
};

static void count(void *ctx, unsigned i)
{
	struct counted *c = ctx;

	atomic_fetch_add(&c->times[i], 1);
}

static void share(struct counted *c, unsigned parts, int times)
{
	wfs_workers_share(c->workers, parts, count, c);
	for (unsigned i = 0; i < PARTS; i++)
		assert_int_equal(atomic_load(&c->times[i]),
				 i < parts ? times : 0);
}

static void parts_are_done_here_where_nobody_helps(void **state)
{
	struct counted c = { 0 };

	(void)state;
	share(&c, 0, 0);
	share(&c, 1, 1);
	share(&(struct counted){ 0 }, PARTS, 1);
}

static void *share_often(void *arg)
{
	struct counted c = { .workers = arg };

	for (int i = 1; i <= TIMES; i++)
		share(&c, PARTS, i);
	return NULL;
}

static void each_part_is_done_once_however_many_share(void **state)
{
	struct wfs_workers *workers;
	pthread_t threads[SHARERS];

	(void)state;
	assert_int_equal(wfs_workers_start(3, &workers), 0);
	for (int i = 0; i < SHARERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, share_often,
						workers),
				 0);
	for (int i = 0; i < SHARERS; i++)
		pthread_join(threads[i], NULL);
	wfs_workers_stop(workers);
}

struct sharing {
	struct wfs_work work;
	struct counted counted;
};

static void run_sharing(struct wfs_work *work, void *room)
{
	struct sharing *s = (struct sharing *)work;

	(void)room;
	share(&s->counted, PARTS, 1);
}

/* Also while the others are told to end. */
static void who_shares_may_be_one_of_those_that_help(void **state)
{
	struct sharing each[SHARERS] = { 0 };
	struct wfs_workers *workers;

	(void)state;
	assert_int_equal(wfs_workers_start(3, &workers), 0);
	for (int i = 0; i < SHARERS; i++) {
		each[i].work.run = run_sharing;
		each[i].counted.workers = workers;
		wfs_workers_queue(workers, &each[i].work);
	}
	wfs_workers_stop(workers);
	for (int i = 0; i < SHARERS; i++)
		assert_int_equal(atomic_load(&each[i].counted.times[0]), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(parts_are_done_here_where_nobody_helps),
		T(each_part_is_done_once_however_many_share),
		T(who_shares_may_be_one_of_those_that_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
