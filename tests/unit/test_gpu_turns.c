/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring in a device's memory, of fills at the same time, and of those who
 * let go of it.  Over the FAKE libcudart.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <semaphore.h>
#include <time.h>

#include "core/base/cond.h"
#include "core/base/mem.h"
#include "tests/unit/gpu_food.h"

#define SMALL	  (64u << 10)
#define LARGE	  (9u << 20) /* three slots */
#define FILLS	  4
#define SECOND_NS 1000000000ull

static sem_t inside, go_on;

static int open_able(void **state)
{
	struct gpu_world *w;

	if (gpu_world_open(state))
		return -1;
	w = *state;
	fake_cu_export(w->fake, 0, 1);
	sem_init(&inside, 0, 0);
	sem_init(&go_on, 0, 0);
	return 0;
}

/* A fill by a thread of its own. */
struct aside {
	pthread_t thread;
	struct gpu_target target;
	struct wfs_device_segment segment;
	struct wfs_device_fill fill;
	struct food food;
	int rc;
};

static void *fill_aside(void *arg)
{
	struct aside *a = arg;
	struct wfs_device_filled filled;
	struct wfs_device_fault fault;

	a->rc = wfs_device_fill(a->food.w->dev, &a->fill, &filled, &fault,
				NULL);
	return NULL;
}

static void begin_aside(struct gpu_world *w, struct aside *a,
			int (*on_landing)(struct food *))
{
	a->target = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	a->fill = gpu_fill_of(w, &a->target, &a->segment);
	gpu_food_land(w, &a->fill, &a->food);
	a->food.on_landing = on_landing;
	assert_int_equal(0, pthread_create(&a->thread, NULL, fill_aside, a));
}

/* It landed, all of it. */
static void end_aside(struct gpu_world *w, struct aside *a)
{
	pthread_join(a->thread, NULL);
	assert_int_equal(0, a->rc);
	assert_int_equal(3, a->food.landings);
	assert_int_equal(0, a->food.stretches);
	gpu_expect_file(w, &a->target);
	gpu_target_free(w, &a->target);
}

/* The first of all has a slot till the others have begun as well. */
static int await_others(struct food *food)
{
	uint64_t until = wfs_now_ns() + 60 * SECOND_NS;

	while (!food->landings && fake_cu_holds(food->w->fake) < FILLS &&
	       wfs_now_ns() < until)
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	return 0;
}

static void fills_at_a_time_land_in_turn(void **state)
{
	struct gpu_world *w = *state;
	struct aside asides[FILLS] = { 0 };

	for (int i = 0; i < FILLS; i++)
		begin_aside(w, &asides[i], await_others);
	for (int i = 0; i < FILLS; i++)
		end_aside(w, &asides[i]);
	/* Of one ring, which is as large as it is. */
	assert_int_equal(16u << 20, fake_cu_used(w->fake));
}

static int hang(struct food *food)
{
	if (food->landings)
		return 0;
	sem_post(&inside);
	assert_true(wfs_sem_wait_until(&go_on, wfs_now_ns() + 60 * SECOND_NS));
	return 0;
}

static void who_does_not_get_a_turn_goes_another_way(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	struct aside aside = { 0 };
	struct food food;

	begin_aside(w, &aside, hang);
	assert_true(wfs_sem_wait_until(&inside, wfs_now_ns() + 60 * SECOND_NS));
	gpu_food_land(w, &fill, &food);
	assert_int_equal(-ENOTSUP, gpu_fill(w, &fill));
	food.feed.land_only = false;
	assert_int_equal(0, gpu_fill(w, &fill));
	assert_int_equal(0, food.landings);
	assert_int_equal(1, food.stretches);
	gpu_expect_file(w, &t);
	/* Nor is one kept waiting that has no time, or is stopped. */
	fill.deadline_ns = wfs_now_ns() + SECOND_NS / 10;
	assert_int_equal(-ETIMEDOUT, gpu_fill(w, &fill));
	assert_int_equal(WFS_DEVICE_STAGE_FETCH, w->fault.stage);
	sem_post(&go_on);
	end_aside(w, &aside);
	fill.deadline_ns = wfs_now_ns() + 60 * SECOND_NS;
	assert_int_equal(0, gpu_fill(w, &fill));
	assert_int_equal(1, food.landings);
	gpu_target_free(w, &t);
}

static bool waited_for;

/* As who has the ring registered, and takes long to let go of it. */
static void let_go_slowly(void *ctx, const struct wfs_landing_ring *ring)
{
	(void)ctx;
	(void)ring;
	sem_post(&inside);
	waited_for = wfs_sem_wait_until(&go_on, wfs_now_ns() + 10 * SECOND_NS);
}

static void who_lets_go_of_a_ring_keeps_nobody_waiting(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_landing_watch watch = { .gone = let_go_slowly };
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	struct food food;

	gpu_food_land(w, &fill, &food);
	assert_int_equal(0, gpu_fill(w, &fill));
	wfs_landing_watch(&watch);
	gpu_kill_helper();
	assert_true(wfs_sem_wait_until(&inside, wfs_now_ns() + 60 * SECOND_NS));
	fill = gpu_fill_of(w, &t, &segment);
	assert_int_equal(0, gpu_fill(w, &fill));
	sem_post(&go_on);
	wfs_landing_unwatch(&watch); /* once it is over */
	assert_true(waited_for);
	gpu_target_free(w, &t);
}

int main(int argc, char **argv)
{
#define G(name)                                                                \
	cmocka_unit_test_setup_teardown(name, open_able, gpu_world_close)
	const struct CMUnitTest tests[] = {
		G(fills_at_a_time_land_in_turn),
		G(who_does_not_get_a_turn_goes_another_way),
		G(who_lets_go_of_a_ring_keeps_nobody_waiting),
	};

	gpu_world_enter(argc, argv);
	return cmocka_run_group_tests_name("gpu turns", tests, NULL,
					   fake_gpus_leave);
}
