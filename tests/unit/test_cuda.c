/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of CUDA's calls, over the FAKE libcudart.  What the real one says
 * on a machine without a GPU is a test of the doctor's.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_gpus.h"
#include "transport/cuda/cuda.h"
#include "transport/cuda/gpus.h"

static void gpus_are_listed_by_bus_and_name(void **state)
{
	struct wfs_err err = { 0 };
	struct wfs_gpus gpus;

	(void)state;
	assert_int_equal(0, wfs_gpus_list(&gpus, &err));
	assert_int_equal(FAKE_DEVICES, gpus.count);
	assert_string_equal("0000:F1:00.0", gpus.rows[1].bus);
	assert_string_equal("FAKE GPU 1", gpus.rows[1].name);
	assert_int_equal(13000, gpus.runtime);
	free(gpus.rows);
}

static void a_count_that_fails_is_said_with_code_and_text(void **state)
{
	struct fake_control *fake = fake_gpus_control();
	const struct wfs_cuda *cuda;
	struct wfs_err err = { 0 };
	int count = -7;

	(void)state;
	assert_int_equal(0, wfs_cuda_load(&cuda, &err));
	fake_cu_inject(fake, "cudaGetDeviceCount", FAKE_FAILS,
		       WFS_CU_INSUFFICIENT_DRIVER, 0, 1);
	assert_int_equal(-ENXIO, wfs_cuda_count(cuda, &count, &err));
	assert_non_null(strstr(err.text, "finds no device"));
	fake_cu_inject(fake, "cudaGetDeviceCount", FAKE_FAILS,
		       WFS_CU_DRIVER_MISMATCH, 0, 1);
	assert_int_equal(-ENXIO, wfs_cuda_count(cuda, &count, &err));
	assert_non_null(strstr(err.text, "error 803, FAKE error 803"));
	assert_int_equal(-7, count);
	assert_int_equal(0, wfs_cuda_count(cuda, &count, &err));
	assert_int_equal(FAKE_DEVICES, count);
}

static void codes_become_errors_by_stage(void **state)
{
	const struct {
		unsigned code;
		int at_map, at_copy;
	} all[] = {
		{ WFS_CU_OK, 0, 0 },
		{ WFS_CU_NO_MEMORY, -ENOMEM, -ENOMEM },
		{ WFS_CU_NO_DEVICE, -ENXIO, -ENXIO },
		{ WFS_CU_INSUFFICIENT_DRIVER, -ENXIO, -ENXIO },
		{ WFS_CU_INVALID_DEVICE, -ENODEV, -ENODEV },
		{ WFS_CU_NOT_SUPPORTED, -EOPNOTSUPP, -EOPNOTSUPP },
		{ WFS_CU_TOO_MANY_PEERS, -EOPNOTSUPP, -EOPNOTSUPP },
		{ WFS_CU_NOT_PERMITTED, -EPERM, -EPERM },
		{ WFS_CU_INVALID_VALUE, -EPERM, -EIO },
		{ WFS_CU_CONTEXT_UNINITIALIZED, -EXDEV, -EIO },
		{ WFS_CU_ALREADY_MAPPED, -EBUSY, -EIO },
		{ WFS_CU_MAP_FAILED, -EFAULT, -EIO },
		{ WFS_CU_ILLEGAL_ADDRESS, -EIO, -EIO },
		{ WFS_CU_LAUNCH_FAILURE, -EIO, -EIO },
		{ WFS_CU_ECC, -EIO, -EIO },
		{ 999, -EFAULT, -EIO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_int_equal(all[i].at_map,
				 wfs_cuda_errno(all[i].code,
						WFS_DEVICE_STAGE_MAP));
		assert_int_equal(all[i].at_copy,
				 wfs_cuda_errno(all[i].code,
						WFS_DEVICE_STAGE_COPY));
	}
	assert_true(wfs_cuda_sticks(WFS_CU_ILLEGAL_ADDRESS));
	assert_false(wfs_cuda_sticks(WFS_CU_NO_MEMORY));
	assert_false(wfs_cuda_sticks(WFS_CU_ALREADY_REGISTERED));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(gpus_are_listed_by_bus_and_name),
		T(a_count_that_fails_is_said_with_code_and_text),
		T(codes_become_errors_by_stage),
	};

	(void)argc;
	fake_gpus_enter(argv);
	return cmocka_run_group_tests_name("cuda", tests, NULL,
					   fake_gpus_leave);
}
