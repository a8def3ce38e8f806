/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ends a fill that is fed by way of a ring, over the FAKE libcudart, and
 * what several of them share.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "core/base/mem.h"
#include "tests/unit/gpu_food.h"

#define SMALL	  (64u << 10)
#define LARGE	  (18u << 20)
#define RINGS	  16
#define SECOND_NS 1000000000ull

static int fail_stale(struct food *food)
{
	(void)food;
	return -ESTALE;
}

static int kill_helper(struct food *food)
{
	(void)food;
	gpu_kill_helper();
	return 0;
}

static int stick(struct food *food)
{
	fake_cu_inject(food->w->fake, "cudaMemcpyAsync", FAKE_STICKS,
		       WFS_CU_ILLEGAL_ADDRESS, 0, 1);
	return 0;
}

/* As a source that hangs: until whoever waits has enough of it. */
static int hang(struct food *food)
{
	struct pollfd ends[] = { { food->patience->ends[0], POLLIN, 0 },
				 { food->patience->ends[1], POLLIN, 0 } };
	uint64_t now = wfs_now_ns(), until = food->patience->until_ns;

	if (poll(ends, 2, until > now ? (int)((until - now) / 1000000) : 0))
		return -EINTR;
	return -ETIMEDOUT;
}

/* Also by a helper that is being ended. */
static void await_let_go(struct gpu_world *w)
{
	uint64_t until = wfs_now_ns() + 60 * SECOND_NS;

	while (fake_cu_holds(w->fake))
		assert_true(wfs_now_ns() < until);
}

static void what_ends_a_fill_in_the_middle_is_told(void **state)
{
	static const struct {
		int (*then)(struct food *);
		int rc;
		unsigned stage, cuda_err;
	} ways[] = {
		{ fail_stale, -ESTALE, WFS_DEVICE_STAGE_FETCH, 0 },
		{ kill_helper, -EIO, WFS_DEVICE_STAGE_COPY, 0 },
		{ stick, -EIO, WFS_DEVICE_STAGE_COPY, WFS_CU_ILLEGAL_ADDRESS },
		{ hang, -ETIMEDOUT, WFS_DEVICE_STAGE_FETCH, 0 },
	};
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	struct food food;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		gpu_food_serve(w, &fill, &food);
		assert_int_equal(0, gpu_fill(w, &fill));
		food.when = food.stretches + 2;
		food.then = ways[i].then;
		if (food.then == hang)
			fill.deadline_ns = wfs_now_ns() + SECOND_NS;
		assert_int_equal(ways[i].rc, gpu_fill(w, &fill));
		assert_int_equal(ways[i].stage, w->fault.stage);
		assert_int_equal(ways[i].cuda_err, w->fault.cuda_err);
		await_let_go(w);
		fill.deadline_ns = wfs_now_ns() + 60 * SECOND_NS;
	}
	gpu_food_serve(w, &fill, &food);
	assert_int_equal(0, gpu_fill(w, &fill));
	gpu_expect_file(w, &t);
	gpu_target_free(w, &t);
}

static int keep_room(struct food *food)
{
	wfs_device_room_get(food->room);
	return -EINTR;
}

static void a_ring_that_is_written_yet_is_nobody_elses(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	struct wfs_device_room *kept;
	struct food food;

	gpu_food_serve(w, &fill, &food);
	food.when = 1;
	food.then = keep_room;
	assert_int_equal(-EINTR, gpu_fill(w, &fill));
	kept = food.room;
	gpu_food_serve(w, &fill, &food);
	assert_int_equal(0, gpu_fill(w, &fill));
	assert_ptr_not_equal(kept, food.room);
	gpu_expect_file(w, &t);
	assert_int_equal(1, atomic_load(&kept->users));
	wfs_device_room_put(kept);
	gpu_target_free(w, &t);
}

/* A fill by a thread of its own, held up in its first stretch. */
struct aside {
	pthread_t thread;
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

static int meet_twice(struct food *food)
{
	pthread_barrier_wait(food->met);
	pthread_barrier_wait(food->met);
	return 0;
}

static void begin_aside(struct aside *a, struct gpu_world *w,
			const struct gpu_target *t, pthread_barrier_t *met)
{
	a->fill = gpu_fill_of(w, t, &a->segment);
	gpu_food_serve(w, &a->fill, &a->food);
	a->food.then = meet_twice;
	a->food.met = met;
	assert_int_equal(0, pthread_create(&a->thread, NULL, fill_aside, a));
}

static void fills_at_a_time_share_a_helper_and_an_allocation(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct gpu_target other = gpu_target_make(w, WFS_DEVICE_POOL_FD, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &other, &segment);
	struct aside asides[RINGS] = { 0 };
	pthread_barrier_t met;
	struct food food;

	pthread_barrier_init(&met, NULL, RINGS + 1);
	for (int i = 0; i < RINGS; i++)
		begin_aside(&asides[i], w, &t, &met);
	pthread_barrier_wait(&met);
	/* Their sources hang: who needs none goes on, for a ring there is no
	   more room. */
	assert_int_equal(0, gpu_fill(w, &fill));
	gpu_expect_file(w, &other);
	gpu_food_serve(w, &fill, &food);
	assert_int_equal(-EBUSY, gpu_fill(w, &fill));
	assert_int_equal(WFS_DEVICE_STAGE_DEVICE, w->fault.stage);
	pthread_barrier_wait(&met);
	for (int i = 0; i < RINGS; i++) {
		pthread_join(asides[i].thread, NULL);
		assert_int_equal(0, asides[i].rc);
	}
	gpu_expect_file(w, &t);
	/* Of another helper's idle ones one goes for it. */
	fill.device =
		(struct wfs_device_id){ .by = WFS_DEVICE_PCI, .bus = 0xf0 };
	assert_int_equal(0, gpu_fill(w, &fill));
	assert_int_equal(2, gpu_helpers());
	pthread_barrier_destroy(&met);
	gpu_target_free(w, &other);
	gpu_target_free(w, &t);
}

int main(int argc, char **argv)
{
#define G(name)                                                                \
	cmocka_unit_test_setup_teardown(name, gpu_world_open, gpu_world_close)
	const struct CMUnitTest tests[] = {
		G(what_ends_a_fill_in_the_middle_is_told),
		G(a_ring_that_is_written_yet_is_nobody_elses),
		G(fills_at_a_time_share_a_helper_and_an_allocation),
	};

	gpu_world_enter(argc, argv);
	return cmocka_run_group_tests_name("gpu ring, ends", tests, NULL,
					   fake_gpus_leave);
}
