/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a helper keeps from one fill to the next, over the FAKE libcudart: files
 * that are registered, and pools that pointers were imported from.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/gpu_world.h"

#define SMALL	   (64u << 10)
#define LARGE	   (2u << 20) /* so much that it is worth registering */
#define KEPT_FILES 4
#define SECOND_NS  1000000000ull

static void memory_of_a_pool_is_kept_and_let_go_of_with_its_pool(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_POOL_FD, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	unsigned own = fake_cu_holds(w->fake);

	fill.cookie = 7;
	for (int i = 0; i < 3; i++)
		assert_int_equal(0, gpu_fill(w, &fill));
	gpu_expect_file(w, &t);
	/* The helper has the pool, and the pointer into it. */
	assert_int_equal(own + 2, fake_cu_holds(w->fake));
	assert_int_equal(0, wfs_device_drop(w->dev, &fill.caller, 0, 7));
	assert_int_equal(own, fake_cu_holds(w->fake));
	gpu_target_free(w, &t);
}

static void what_is_no_pointer_into_that_pool_is_refused(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_POOL_FD, SMALL);
	struct gpu_target other = gpu_target_make(w, WFS_DEVICE_POOL_FD, SMALL);
	struct wfs_device_segment segment;
	const struct wfs_device_fill good = gpu_fill_of(w, &t, &segment);
	struct wfs_device_fill fill = good;
	unsigned own = fake_cu_holds(w->fake);

	memcpy(fill.handle, other.handle, sizeof(fill.handle));
	assert_int_equal(-EPERM, gpu_fill(w, &fill));
	assert_int_equal(WFS_DEVICE_STAGE_MAP, w->fault.stage);
	memset(fill.handle, 'x', sizeof(fill.handle));
	assert_int_equal(-EPERM, gpu_fill(w, &fill));
	fill = good;
	fill.memory_fd = w->fd;
	assert_int_equal(-EPERM, gpu_fill(w, &fill));
	fill.memory_fd = -1;
	assert_int_equal(-EINVAL, gpu_fill(w, &fill));
	fake_cu_inject(w->fake, "cudaMemPoolImportFromShareableHandle",
		       FAKE_FAILS, WFS_CU_NOT_SUPPORTED, 0, 1);
	assert_int_equal(-EOPNOTSUPP, gpu_fill(w, &good));
	/* None of them left anything behind. */
	assert_int_equal(own, fake_cu_holds(w->fake));
	assert_int_equal(0, gpu_fill(w, &good));
	gpu_expect_file(w, &t);
	gpu_target_free(w, &other);
	gpu_target_free(w, &t);
}

static void a_file_is_registered_once_for_many_fills(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	unsigned before = w->fake->registers;

	for (int i = 0; i < 10; i++) {
		assert_int_equal(0, gpu_fill(w, &fill));
		gpu_expect_file(w, &t);
	}
	assert_int_equal(before + 1, w->fake->registers);
	gpu_target_free(w, &t);
}

static void the_files_that_were_used_last_stay_registered(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	unsigned registers = w->fake->registers, pins = w->fake->pins;
	int files[KEPT_FILES + 1];

	fill.file_bytes = LARGE;
	for (int i = 0; i <= KEPT_FILES; i++) {
		files[i] = fill.fd = memfd_create("weights", MFD_CLOEXEC);
		assert_int_equal(0,
				 wfs_pwrite_all(fill.fd, w->bytes, LARGE, 0));
		assert_int_equal(0, gpu_fill(w, &fill));
	}
	assert_int_equal(registers + KEPT_FILES + 1, w->fake->registers);
	assert_int_equal(pins + KEPT_FILES, w->fake->pins);
	for (int i = KEPT_FILES; i > 0; i--) {
		fill.fd = files[i];
		assert_int_equal(0, gpu_fill(w, &fill));
	}
	assert_int_equal(registers + KEPT_FILES + 1, w->fake->registers);
	fill.fd = files[0];
	assert_int_equal(0, gpu_fill(w, &fill));
	assert_int_equal(registers + KEPT_FILES + 2, w->fake->registers);
	assert_int_equal(pins + KEPT_FILES, w->fake->pins);
	for (int i = 0; i <= KEPT_FILES; i++)
		close(files[i]);
	gpu_target_free(w, &t);
}

static void a_file_that_cannot_be_registered_is_not_tried_again(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	unsigned before = w->fake->registers;
	struct wfs_device_filled filled;

	fake_cu_inject(w->fake, "cudaHostRegister", FAKE_FAILS,
		       WFS_CU_NO_MEMORY, 0, 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(0, wfs_device_fill(w->dev, &fill, &filled,
						    &w->fault, &w->err));
		assert_int_equal(WFS_DEVICE_PATH_STAGED, filled.path);
	}
	gpu_expect_file(w, &t);
	assert_int_equal(before, w->fake->registers);
	gpu_target_free(w, &t);
}

static void a_file_that_nobody_fills_from_is_let_go_of(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	uint64_t until = wfs_now_ns() + 60 * SECOND_NS;
	unsigned before = w->fake->registers, pins = w->fake->pins;

	for (unsigned i = 1; i <= 2; i++) {
		assert_int_equal(0, gpu_fill(w, &fill));
		assert_int_equal(before + i, w->fake->registers);
		while (__atomic_load_n(&w->fake->pins, __ATOMIC_RELAXED) !=
		       pins)
			assert_true(wfs_now_ns() < until);
	}
	gpu_target_free(w, &t);
}

int main(int argc, char **argv)
{
#define G(name)                                                                \
	cmocka_unit_test_setup_teardown(name, gpu_world_open, gpu_world_close)
	const struct CMUnitTest tests[] = {
		G(memory_of_a_pool_is_kept_and_let_go_of_with_its_pool),
		G(what_is_no_pointer_into_that_pool_is_refused),
		G(a_file_is_registered_once_for_many_fills),
		G(the_files_that_were_used_last_stay_registered),
		G(a_file_that_cannot_be_registered_is_not_tried_again),
		cmocka_unit_test_setup_teardown(
			a_file_that_nobody_fills_from_is_let_go_of,
			gpu_world_open_forgetful, gpu_world_close),
	};

	gpu_world_enter(argc, argv);
	return cmocka_run_group_tests_name("gpu kept", tests, NULL,
					   fake_gpus_leave);
}
