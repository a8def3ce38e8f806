/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is checked of a fill before any GPU hears of it.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/device.h"

static int check(struct wfs_device_segment segment)
{
	struct wfs_err err;

	return wfs_device_segments_check(&segment, 1, 1000, 500, &err);
}

static void segments_within_both_sizes_pass(void **state)
{
	(void)state;
	assert_int_equal(0, check((struct wfs_device_segment){
				    .len = 500, .file_off = 500, .count = 1 }));
	assert_int_equal(0,
			 check((struct wfs_device_segment){ .len = 100,
							    .file_stride = 225,
							    .dst_stride = 100,
							    .count = 5 }));
	/* Strides of a single run are nobody's business. */
	assert_int_equal(0, check((struct wfs_device_segment){
				    .len = 1,
				    .count = 1,
				    .file_stride = UINT64_MAX,
				    .dst_stride = UINT64_MAX }));
}

static void segments_outside_are_a_range_error(void **state)
{
	const struct wfs_device_segment outside[] = {
		{ .len = 501, .count = 1 },
		{ .len = 500, .file_off = 501, .count = 1 },
		{ .len = 1, .dst_off = 500, .count = 1 },
		{ .len = 1, .file_off = UINT64_MAX, .count = 1 },
		{ .len = UINT64_MAX, .file_off = 2, .count = 1 },
		{ .len = 2, .file_stride = 999, .dst_stride = 2, .count = 2 },
		{ .len = 2, .file_stride = 2, .dst_stride = 499, .count = 2 },
		{ .len = 1,
		  .file_stride = 1ull << 63,
		  .dst_stride = 1,
		  .count = 3 },
		{ .len = 1, .dst_stride = 1, .count = UINT64_MAX },
		{ .len = 1,
		  .file_stride = 0,
		  .dst_stride = 1ull << 32,
		  .count = (1ull << 32) + 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
		assert_int_equal(-ERANGE, check(outside[i]));
}

static void segments_of_nothing_or_over_each_other_are_invalid(void **state)
{
	struct wfs_device_segment many[WFS_DEVICE_SEGMENTS + 1];
	struct wfs_err err;

	(void)state;
	assert_int_equal(-EINVAL,
			 check((struct wfs_device_segment){ .count = 1 }));
	assert_int_equal(-EINVAL,
			 check((struct wfs_device_segment){ .len = 1 }));
	assert_int_equal(-EINVAL,
			 check((struct wfs_device_segment){ .len = 10,
							    .file_stride = 10,
							    .dst_stride = 9,
							    .count = 2 }));
	for (size_t i = 0; i <= WFS_DEVICE_SEGMENTS; i++)
		many[i] = (struct wfs_device_segment){ .len = 1, .count = 1 };
	assert_int_equal(-EINVAL,
			 wfs_device_segments_check(many, 0, 1, 1, &err));
	assert_int_equal(-EINVAL,
			 wfs_device_segments_check(
				 many, WFS_DEVICE_SEGMENTS + 1, 1, 1, &err));
	assert_int_equal(0, wfs_device_segments_check(many, WFS_DEVICE_SEGMENTS,
						      1, 1, &err));
}

static void a_node_without_gpus_says_so_at_every_call(void **state)
{
	struct wfs_device_segment segment = { .len = 1, .count = 1 };
	struct wfs_device_caller caller = { .pid = 1 };
	struct wfs_device_fill fill = { .memory = WFS_DEVICE_CUDA_IPC,
					.memory_bytes = 1,
					.file_bytes = 1,
					.segments = &segment,
					.segment_count = 1 };
	struct wfs_device_want want = { .file_bytes = 1 };
	struct wfs_device_info info = { .devices = 7 };
	struct wfs_device_fault fault = { 0 };
	struct wfs_device_filled filled;
	struct wfs_device_lent lent;
	struct wfs_err err;

	(void)state;
	assert_int_equal(0, wfs_device_info(NULL, &caller, &info));
	assert_int_equal(0, info.devices);
	assert_int_equal(-ENXIO,
			 wfs_device_fill(NULL, &fill, &filled, &fault, &err));
	assert_int_equal(WFS_DEVICE_STAGE_DEVICE, fault.stage);
	assert_non_null(strstr(err.text, "no GPU"));
	assert_int_equal(-ENXIO,
			 wfs_device_lend(NULL, &want, &lent, &fault, &err));
	assert_int_equal(-ENOENT, wfs_device_drop(NULL, &caller, 1, 0));
	assert_int_equal(-EINVAL, wfs_device_drop(NULL, &caller, 0, 0));
	/* What is wrong in itself is said even so. */
	fill.memory = 9;
	assert_int_equal(-EINVAL,
			 wfs_device_fill(NULL, &fill, &filled, &fault, &err));
	assert_int_equal(WFS_DEVICE_STAGE_AUTH, fault.stage);
	want.file_bytes = 0;
	assert_int_equal(-EINVAL,
			 wfs_device_lend(NULL, &want, &lent, &fault, &err));
	wfs_device_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(segments_within_both_sizes_pass),
		T(segments_outside_are_a_range_error),
		T(segments_of_nothing_or_over_each_other_are_invalid),
		T(a_node_without_gpus_says_so_at_every_call),
	};

	return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
