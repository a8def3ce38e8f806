/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills of device memory by helper processes, over the FAKE libcudart.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/chance.h"
#include "tests/unit/gpu_world.h"

#define SMALL  (64u << 10)
#define GRAIN  (2u << 20)
#define CYCLES 200

static void clear(struct gpu_world *w, const struct gpu_target *target)
{
	cu_stream stream;

	assert_int_equal(0, w->cuda->cudaStreamCreateWithFlags(
				    &stream, WFS_CU_STREAM_NON_BLOCKING));
	assert_int_equal(0, w->cuda->cudaMemsetAsync(target->ptr, 0xaa,
						     target->bytes, stream));
	assert_int_equal(0, w->cuda->cudaStreamDestroy(stream));
}

static void a_fill_lands_in_memory_of_each_kind(void **state)
{
	struct gpu_world *w = *state;

	for (uint32_t kind = WFS_DEVICE_CUDA_IPC; kind <= WFS_DEVICE_POOL_FD;
	     kind++) {
		struct gpu_target t = gpu_target_make(w, kind, 16u << 20);
		struct wfs_device_segment segment;
		struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);

		assert_int_equal(0, gpu_fill(w, &fill));
		gpu_expect_file(w, &t);
		gpu_target_free(w, &t);
	}
}

static void bytes_come_from_pinned_memory_alone(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t =
		gpu_target_make(w, WFS_DEVICE_CUDA_IPC, 18u << 20);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	struct wfs_device_filled filled;

	for (int way = 0; way < 3; way++) {
		clear(w, &t);
		fill.steady = way != 1;
		w->fake->no_register = way == 2;
		assert_int_equal(0, wfs_device_fill(w->dev, &fill, &filled,
						    &w->fault, &w->err));
		assert_int_equal(way ? WFS_DEVICE_PATH_STAGED :
				       WFS_DEVICE_PATH_REGISTERED,
				 filled.path);
		assert_int_equal(t.bytes, filled.bytes);
		assert_int_equal(0, w->fake->pageable);
		gpu_expect_file(w, &t);
		/* What a device can is looked up when its helper starts. */
		gpu_kill_helper();
		gpu_await_helpers(0);
	}
	w->fake->no_register = false;
	gpu_target_free(w, &t);
}

/* The same in host memory, byte by byte. */
static void apply(const struct wfs_device_segment *s, const uint8_t *from,
		  uint8_t *to)
{
	for (uint64_t i = 0; i < s->count; i++)
		memcpy(to + s->dst_off + i * s->dst_stride,
		       from + s->file_off + i * s->file_stride, s->len);
}

static void random_segments_land_where_they_should(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segments[WFS_DEVICE_SEGMENTS];
	struct wfs_device_fill fill = gpu_fill_of(w, &t, segments);
	struct chance c = chance_new();
	uint8_t *truth = wfs_malloc(SMALL);

	for (int i = 0; i < CYCLES; i++) {
		size_t n = 1 + chance_below(&c, 8);
		uint8_t *got;

		clear(w, &t);
		memset(truth, 0xaa, SMALL);
		for (size_t k = 0; k < n; k++) {
			uint64_t len = 1 + chance_below(&c, 300);

			segments[k] = (struct wfs_device_segment){
				.file_off = chance_below(&c, 1000000),
				.dst_off = chance_below(&c, 20000),
				.len = len,
				.file_stride = chance_below(&c, 5000),
				.dst_stride = len + chance_below(&c, 50),
				.count = 1 + chance_below(&c, 100),
			};
			apply(&segments[k], w->bytes, truth);
		}
		fill.segment_count = n;
		fill.steady = i % 3 > 0;
		assert_int_equal(0, gpu_fill(w, &fill));
		got = gpu_target_read(w, &t);
		assert_memory_equal(truth, got, SMALL);
		free(got);
	}
	free(truth);
	gpu_target_free(w, &t);
}

static void a_kept_mapping_is_found_again_until_it_is_dropped(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);

	fill.cookie = 7;
	for (int i = 0; i < 3; i++)
		assert_int_equal(0, gpu_fill(w, &fill));
	assert_int_equal(1, fake_cu_holds(w->fake));
	/* Without the cookie it would be opened a second time. */
	fill.cookie = 0;
	assert_int_equal(-EBUSY, gpu_fill(w, &fill));
	assert_int_equal(WFS_CU_ALREADY_MAPPED, w->fault.cuda_err);
	assert_int_equal(-ENOENT, wfs_device_drop(w->dev, &fill.caller, 0, 8));
	assert_int_equal(0, wfs_device_drop(w->dev, &fill.caller, 0, 7));
	assert_int_equal(0, fake_cu_holds(w->fake));
	assert_int_equal(-ENOENT, wfs_device_drop(w->dev, &fill.caller, 0, 7));
	assert_int_equal(0, gpu_fill(w, &fill));
	gpu_target_free(w, &t);
}

static void
a_new_allocation_takes_the_place_of_the_old_under_a_cookie(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target one = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct gpu_target two = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &one, &segment);

	fill.cookie = 7;
	assert_int_equal(0, gpu_fill(w, &fill));
	memcpy(fill.handle, two.handle, sizeof(fill.handle));
	assert_int_equal(0, gpu_fill(w, &fill));
	gpu_expect_file(w, &two);
	gpu_target_free(w, &one); /* nobody has it open any more */
	assert_int_equal(0, wfs_device_drop(w->dev, &fill.caller, 0, 7));
	gpu_target_free(w, &two);
}

static void what_fails_says_where_and_with_which_code(void **state)
{
	const struct {
		const char *call;
		unsigned code;
		int rc;
		uint32_t stage;
	} all[] = {
		{ "cudaIpcOpenMemHandle", WFS_CU_MAP_FAILED, -EFAULT,
		  WFS_DEVICE_STAGE_MAP },
		{ "cudaIpcOpenMemHandle", WFS_CU_NOT_SUPPORTED, -EOPNOTSUPP,
		  WFS_DEVICE_STAGE_MAP },
		{ "cudaIpcOpenMemHandle", WFS_CU_INVALID_VALUE, -EPERM,
		  WFS_DEVICE_STAGE_MAP },
		{ "cudaIpcOpenMemHandle", WFS_CU_CONTEXT_UNINITIALIZED, -EXDEV,
		  WFS_DEVICE_STAGE_MAP },
		{ "cudaIpcOpenMemHandle", WFS_CU_NO_MEMORY, -ENOMEM,
		  WFS_DEVICE_STAGE_MAP },
		{ "cudaHostAlloc", WFS_CU_NO_MEMORY, -ENOMEM,
		  WFS_DEVICE_STAGE_COPY },
		{ "cudaMemcpyAsync", WFS_CU_INVALID_VALUE, -EIO,
		  WFS_DEVICE_STAGE_COPY },
		{ "cudaStreamSynchronize", WFS_CU_LAUNCH_FAILURE, -EIO,
		  WFS_DEVICE_STAGE_SYNC },
	};
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		fake_cu_inject(w->fake, all[i].call, FAKE_FAILS, all[i].code, 0,
			       1);
		assert_int_equal(all[i].rc, gpu_fill(w, &fill));
		assert_int_equal(all[i].stage, w->fault.stage);
		assert_int_equal(all[i].code, w->fault.cuda_err);
		assert_non_null(strstr(w->err.text, "FAKE error"));
	}
	assert_int_equal(0, gpu_fill(w, &fill));
	gpu_expect_file(w, &t);
	gpu_target_free(w, &t);
}

static void wrong_askers_and_targets_are_refused(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	const struct wfs_device_fill good = gpu_fill_of(w, &t, &segment);
	struct wfs_device_fill fill = good;
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	waitpid(child, NULL, 0);
	fill.caller.pid = child;
	assert_int_equal(-ESRCH, gpu_fill(w, &fill));
	assert_int_equal(WFS_DEVICE_STAGE_AUTH, w->fault.stage);
	fill = good;
	memset(fill.handle, 'x', sizeof(fill.handle));
	assert_int_equal(-EPERM, gpu_fill(w, &fill));
	fill = good;
	fill.device =
		(struct wfs_device_id){ .by = WFS_DEVICE_PCI, .bus = 0x17 };
	assert_int_equal(-ENODEV, gpu_fill(w, &fill));
	assert_int_equal(WFS_DEVICE_STAGE_DEVICE, w->fault.stage);
	fill.device = (struct wfs_device_id){ .by = WFS_DEVICE_GPU_UUID };
	assert_int_equal(-ENODEV, gpu_fill(w, &fill));
	fill = good;
	fill.memory = WFS_DEVICE_VMM_FD;
	fill.memory_fd = w->fd;
	assert_int_equal(-EINVAL, gpu_fill(w, &fill));
	fill.memory_fd = -1;
	assert_int_equal(-EINVAL, gpu_fill(w, &fill));
	segment.dst_off = 1;
	assert_int_equal(-ERANGE, gpu_fill(w, &good));
	gpu_target_free(w, &t);
}

/* The helper would copy to where nothing is, and be done for. */
static void what_an_allocation_has_not_is_refused(void **state)
{
	struct gpu_world *w = *state;
	struct wfs_device_segment segment;
	pid_t helper = 0;

	for (uint32_t kind = WFS_DEVICE_CUDA_IPC; kind <= WFS_DEVICE_POOL_FD;
	     kind++) {
		struct gpu_target t = gpu_target_make(w, kind, GRAIN);
		struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
		unsigned own = fake_cu_holds(w->fake);

		fill.cookie = kind;
		fill.memory_bytes = 2ull * GRAIN;
		assert_int_equal(-ERANGE, gpu_fill(w, &fill));
		assert_int_equal(WFS_DEVICE_STAGE_MAP, w->fault.stage);
		assert_int_equal(own, fake_cu_holds(w->fake));
		fill.memory_bytes = GRAIN;
		fill.cookie = 0;
		assert_int_equal(0, gpu_fill(w, &fill));
		gpu_expect_file(w, &t);
		/* It is the one of the start. */
		helper = helper ? helper : gpu_helper();
		assert_int_equal(helper, gpu_helper());
		gpu_target_free(w, &t);
	}
}

static void a_gpu_is_found_by_bus_uuid_or_as_a_part(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);

	fill.device =
		(struct wfs_device_id){ .by = WFS_DEVICE_PCI, .bus = 0xf0 };
	assert_int_equal(0, gpu_fill(w, &fill));
	fill.device = (struct wfs_device_id){ .by = WFS_DEVICE_GPU_UUID,
					      .uuid = "FAKE" };
	assert_int_equal(0, gpu_fill(w, &fill));
	/* Parts of GPUs have no handles of the legacy kind. */
	fill.device.by = WFS_DEVICE_MIG_UUID;
	assert_int_equal(-EOPNOTSUPP, gpu_fill(w, &fill));
	assert_int_equal(3, gpu_helpers());
	gpu_target_free(w, &t);
}

static void a_file_that_became_shorter_is_stale(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);

	fill.steady = false;
	fill.file_bytes = GPU_FILE + SMALL;
	segment.file_off = GPU_FILE - SMALL / 2;
	assert_int_equal(-ESTALE, gpu_fill(w, &fill));
	assert_int_equal(WFS_DEVICE_STAGE_FETCH, w->fault.stage);
	gpu_target_free(w, &t);
}

int main(int argc, char **argv)
{
#define G(name)                                                                \
	cmocka_unit_test_setup_teardown(name, gpu_world_open, gpu_world_close)
	const struct CMUnitTest tests[] = {
		G(a_fill_lands_in_memory_of_each_kind),
		G(bytes_come_from_pinned_memory_alone),
		G(random_segments_land_where_they_should),
		G(a_kept_mapping_is_found_again_until_it_is_dropped),
		G(a_new_allocation_takes_the_place_of_the_old_under_a_cookie),
		G(what_fails_says_where_and_with_which_code),
		G(wrong_askers_and_targets_are_refused),
		G(what_an_allocation_has_not_is_refused),
		G(a_gpu_is_found_by_bus_uuid_or_as_a_part),
		G(a_file_that_became_shorter_is_stale),
	};

	gpu_world_enter(argc, argv);
	return cmocka_run_group_tests_name("gpu fill", tests, NULL,
					   fake_gpus_leave);
}
