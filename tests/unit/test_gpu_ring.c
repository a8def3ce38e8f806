/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills of device memory that are fed by way of a ring, over the FAKE
 * libcudart: their bytes, and what they leave behind.
 */
#include "tests/unit/t.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/chance.h"
#include "tests/unit/gpu_food.h"

#define SMALL  (64u << 10)
#define SLOT   (4u << 20) /* of a ring, which has four */
#define LARGE  (18u << 20)
#define CYCLES 200

static void fed_bytes_land_in_memory_of_each_kind(void **state)
{
	struct gpu_world *w = *state;

	for (uint32_t kind = WFS_DEVICE_CUDA_IPC; kind <= WFS_DEVICE_POOL_FD;
	     kind++) {
		struct gpu_target t = gpu_target_make(w, kind, LARGE);
		struct wfs_device_segment segment;
		struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
		struct wfs_device_filled filled;
		struct food food;

		gpu_food_serve(w, &fill, &food);
		assert_int_equal(0, wfs_device_fill(w->dev, &fill, &filled,
						    &w->fault, &w->err));
		assert_int_equal(WFS_DEVICE_PATH_RING, filled.path);
		assert_int_equal(LARGE, filled.bytes);
		assert_int_equal(5, food.stretches);
		gpu_expect_file(w, &t);
		gpu_target_free(w, &t);
	}
	assert_int_equal(0, w->fake->pageable);
}

/* What is queued happens when a slot is waited for: not yet. */
static int look_what_happened(struct food *food)
{
	uint8_t *got;

	food->calls = food->w->fake->calls;
	got = gpu_target_read(food->w, food->target);
	food->first = got[0];
	free(got);
	return 0;
}

static void slots_are_filled_while_others_are_copied(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	struct food food;

	segment.file_off = 4;
	segment.len -= 4;
	gpu_food_serve(w, &fill, &food);
	food.then = look_what_happened;
	food.when = 3;
	food.target = &t;
	w->fake->calls = 0;
	assert_int_equal(0, gpu_fill(w, &fill));
	assert_int_equal(3, food.calls);
	assert_int_equal(0, food.first);
	gpu_target_free(w, &t);
}

static void apply(const struct wfs_device_segment *s, const uint8_t *from,
		  uint8_t *to)
{
	for (uint64_t i = 0; i < s->count; i++)
		memcpy(to + s->dst_off + i * s->dst_stride,
		       from + s->file_off + i * s->file_stride, s->len);
}

/* Runs that are close, far from each other, over each other and long. */
static struct wfs_device_segment random_segment(struct chance *c)
{
	static const uint64_t gaps[] = { 1, 5000, 200000 };
	uint64_t len = 1 + chance_below(c, 300);
	struct wfs_device_segment s = {
		.file_off = chance_below(c, 1000000),
		.dst_off = chance_below(c, 20000),
		.file_stride = chance_below(c, gaps[chance_below(c, 3)]),
		.dst_stride = len + chance_below(c, 50),
		.len = len,
		.count = 1 + chance_below(c, 90),
	};

	if (chance_below(c, 4) == 0) {
		s.count = 1 + chance_below(c, 3);
		s.len = s.dst_stride = SLOT - 1000 + chance_below(c, 2000);
		s.file_stride = chance_below(c, s.len);
	}
	return s;
}

static void random_segments(struct gpu_world *w, bool registers)
{
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segments[WFS_DEVICE_SEGMENTS];
	struct wfs_device_fill fill = gpu_fill_of(w, &t, segments);
	struct chance c = chance_new();
	uint8_t *truth = wfs_calloc(1, LARGE);
	struct food food;

	w->fake->no_register = !registers;
	gpu_food_serve(w, &fill, &food);
	for (int i = 0; i < CYCLES / 10; i++) {
		uint8_t *got;

		fill.segment_count = 1 + chance_below(&c, WFS_DEVICE_SEGMENTS);
		for (size_t k = 0; k < fill.segment_count; k++) {
			segments[k] = random_segment(&c);
			apply(&segments[k], w->bytes, truth);
		}
		assert_int_equal(0, gpu_fill(w, &fill));
		got = gpu_target_read(w, &t);
		assert_memory_equal(truth, got, LARGE);
		free(got);
	}
	free(truth);
	gpu_target_free(w, &t);
	w->fake->no_register = false;
}

static void random_segments_are_fed_as_they_are(void **state)
{
	random_segments(*state, true);
}

static void a_ring_that_cannot_be_registered_is_copied_from(void **state)
{
	struct gpu_world *w = *state;

	random_segments(w, false);
	assert_int_equal(0, w->fake->pageable);
}

static unsigned descriptors(pid_t pid)
{
	char *path wfs_autofree = wfs_asprintf("/proc/%d/fd", pid);
	DIR *dir = opendir(path);
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void many_fills_leave_nothing_behind(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	unsigned own = 0, theirs = 0, pins = 0, registers = 0;
	struct food food;

	gpu_food_serve(w, &fill, &food);
	for (int i = 0; i <= CYCLES; i++) {
		assert_int_equal(0, gpu_fill(w, &fill));
		assert_int_equal(0, fake_cu_holds(w->fake));
		if (i)
			continue;
		own = descriptors(getpid());
		theirs = descriptors(gpu_helper());
		pins = w->fake->pins;
		registers = w->fake->registers;
	}
	assert_int_equal(own, descriptors(getpid()));
	assert_int_equal(theirs, descriptors(gpu_helper()));
	assert_int_equal(pins, w->fake->pins);
	assert_int_equal(registers, w->fake->registers);
	gpu_target_free(w, &t);
}

int main(int argc, char **argv)
{
#define G(name)                                                                \
	cmocka_unit_test_setup_teardown(name, gpu_world_open, gpu_world_close)
	const struct CMUnitTest tests[] = {
		G(fed_bytes_land_in_memory_of_each_kind),
		G(slots_are_filled_while_others_are_copied),
		G(random_segments_are_fed_as_they_are),
		G(a_ring_that_cannot_be_registered_is_copied_from),
		G(many_fills_leave_nothing_behind),
	};

	gpu_world_enter(argc, argv);
	return cmocka_run_group_tests_name("gpu ring", tests, NULL,
					   fake_gpus_leave);
}
