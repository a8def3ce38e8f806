/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills whose bytes land in the device's own memory, over the FAKE libcudart:
 * its dma-buf is the file that the memory is, which the test writes as RDMA
 * would.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/mem.h"
#include "tests/unit/gpu_food.h"

#define LARGE  (18u << 20)
#define SMALL  (64u << 10)
#define CYCLES 100

static int open_able(void **state)
{
	struct gpu_world *w;

	if (gpu_world_open(state))
		return -1;
	w = *state;
	fake_cu_export(w->fake, 0, 1);
	w->fake->flushed = 0;
	return 0;
}

static void bytes_land_in_memory_of_each_kind(void **state)
{
	struct gpu_world *w = *state;

	for (uint32_t kind = WFS_DEVICE_CUDA_IPC; kind <= WFS_DEVICE_POOL_FD;
	     kind++) {
		struct gpu_target t = gpu_target_make(w, kind, LARGE);
		struct wfs_device_segment segment;
		struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
		struct wfs_device_filled filled;
		struct food food;

		gpu_food_land(w, &fill, &food);
		assert_int_equal(0, wfs_device_fill(w->dev, &fill, &filled,
						    &w->fault, &w->err));
		assert_int_equal(WFS_DEVICE_PATH_RING, filled.path);
		assert_int_equal(LARGE, filled.bytes);
		assert_int_equal(5, food.landings);
		assert_int_equal(0, food.stretches);
		gpu_expect_file(w, &t);
		gpu_target_free(w, &t);
	}
	assert_int_equal(15, w->fake->flushed);
	assert_int_equal(0, w->fake->registers);
}

static void runs_at_strides_are_spread_from_the_ring(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment s;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &s);
	struct food food;
	uint8_t *got;

	s = (struct wfs_device_segment){ .file_off = 12345,
					 .dst_off = 7,
					 .len = 1000,
					 .file_stride = 3000,
					 .dst_stride = 1100,
					 .count = 5000 };
	gpu_food_land(w, &fill, &food);
	assert_int_equal(0, gpu_fill(w, &fill));
	assert_true(food.landings);
	got = gpu_target_read(w, &t);
	for (uint64_t i = 0; i < s.count; i++)
		assert_memory_equal(w->bytes + s.file_off + i * s.file_stride,
				    got + s.dst_off + i * s.dst_stride, s.len);
	free(got);
	gpu_target_free(w, &t);
}

static void a_gpu_that_sees_no_writes_has_no_ring(void **state)
{
	static const struct {
		bool dma_bufs;
		int ordering, flushes, rc;
	} gpus[] = {
		{ false, 100, 1, -ENOTSUP }, { true, 0, 0, -ENOTSUP },
		{ true, 0, 2, -ENOTSUP },    { true, 0, 1, 0 },
		{ true, 100, 0, 0 },	     { true, 200, 0, 0 },
	};
	struct gpu_world *w = *state;

	for (size_t i = 0; i < sizeof(gpus) / sizeof(gpus[0]); i++) {
		struct gpu_target t =
			gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
		struct wfs_device_segment segment;
		struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
		struct food food;

		w->fake->dma_bufs = gpus[i].dma_bufs;
		w->fake->rdma_ordering = gpus[i].ordering;
		w->fake->rdma_flushes = gpus[i].flushes;
		w->fake->flushed = 0;
		gpu_food_land(w, &fill, &food);
		assert_int_equal(gpus[i].rc, gpu_fill(w, &fill));
		assert_int_equal(!gpus[i].rc, food.landings);
		assert_int_equal(0, food.stretches);
		assert_int_equal(!gpus[i].rc && gpus[i].ordering < 100,
				 w->fake->flushed);
		/* It is read then, where that is wanted. */
		food.feed.land_only = false;
		assert_int_equal(0, gpu_fill(w, &fill));
		assert_int_equal(gpus[i].rc != 0, food.stretches);
		gpu_expect_file(w, &t);
		gpu_kill_helper();
		/* Whoever finds it dead may be the first call. */
		fill = gpu_fill_of(w, &t, &segment);
		assert_true(gpu_fill(w, &fill) != 0 || gpu_helpers() == 1);
		gpu_target_free(w, &t);
	}
}

static int no_way(struct food *food)
{
	(void)food;
	return -ENOTSUP;
}

static void what_does_not_land_is_read(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	struct food food;

	gpu_food_land(w, &fill, &food);
	food.on_landing = no_way;
	assert_int_equal(-ENOTSUP, gpu_fill(w, &fill));
	assert_int_equal(0, food.stretches);
	gpu_food_land(w, &fill, &food);
	food.on_landing = no_way;
	food.when = 2;
	assert_int_equal(0, gpu_fill(w, &fill));
	assert_int_equal(3, food.landings);
	assert_int_equal(3, food.stretches);
	gpu_expect_file(w, &t);
	gpu_target_free(w, &t);
}

static int stale(struct food *food)
{
	(void)food;
	return -ESTALE;
}

static int kill_it(struct food *food)
{
	(void)food;
	gpu_kill_helper();
	return 0;
}

/* As a landing that is under way: until its ring ends. */
static int kill_and_land(struct food *food)
{
	struct wfs_landing landing = { .ring = food->ring };
	uint64_t until = wfs_now_ns() + 60000000000ull;
	int rc;

	gpu_kill_helper();
	do
		rc = wfs_landing_why_stop(&landing);
	while (!rc && wfs_now_ns() < until);
	return rc;
}

static void what_ends_a_fill_in_the_middle_is_told(void **state)
{
	static const struct {
		int (*then)(struct food *);
		int rc;
		unsigned stage;
	} ways[] = {
		{ stale, -ESTALE, WFS_DEVICE_STAGE_FETCH },
		{ kill_it, -EIO, WFS_DEVICE_STAGE_COPY },
		{ kill_and_land, -EIO, WFS_DEVICE_STAGE_COPY },
	};
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	struct food food;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		gpu_food_land(w, &fill, &food);
		food.on_landing = ways[i].then;
		food.when = 2;
		assert_int_equal(ways[i].rc, gpu_fill(w, &fill));
		assert_int_equal(ways[i].stage, w->fault.stage);
		/* The next one has a helper, and its ring. */
		gpu_food_land(w, &fill, &food);
		assert_int_equal(0, gpu_fill(w, &fill));
		assert_int_equal(5, food.landings);
		gpu_expect_file(w, &t);
	}
	gpu_target_free(w, &t);
}

static void many_fills_share_one_ring(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	uint64_t used = 0;
	struct food food;

	gpu_food_land(w, &fill, &food);
	for (unsigned i = 0; i < CYCLES; i++) {
		assert_int_equal(0, gpu_fill(w, &fill));
		assert_int_equal(i + 1, food.landings);
		if (!i)
			used = fake_cu_used(w->fake);
	}
	assert_int_equal(used, fake_cu_used(w->fake));
	gpu_target_free(w, &t);
}

int main(int argc, char **argv)
{
#define G(name)                                                                \
	cmocka_unit_test_setup_teardown(name, open_able, gpu_world_close)
	const struct CMUnitTest tests[] = {
		G(bytes_land_in_memory_of_each_kind),
		G(runs_at_strides_are_spread_from_the_ring),
		G(a_gpu_that_sees_no_writes_has_no_ring),
		G(what_does_not_land_is_read),
		G(what_ends_a_fill_in_the_middle_is_told),
		G(many_fills_share_one_ring),
	};

	gpu_world_enter(argc, argv);
	return cmocka_run_group_tests_name("gpu landing", tests, NULL,
					   fake_gpus_leave);
}
