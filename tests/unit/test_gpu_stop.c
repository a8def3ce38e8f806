/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills that wait for an event of their reader, and what ends the waiting: the
 * helper goes on with what it has, and with others' meanwhile.  Over the FAKE libcudart.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/gpu_food.h"

#define SMALL	  (64u << 10)
#define SECOND_NS 1000000000ull

/* A fill that waits for an event, which has not happened. */
struct waiting {
	struct gpu_world *w;
	struct gpu_target target;
	struct wfs_device_segment segment;
	struct wfs_device_fill fill;
	cu_event_handle handle;
	cu_stream stream;
	cu_event event;
	int rc;
};

static void prepare(struct gpu_world *w, struct waiting *ret)
{
	const struct wfs_cuda *cuda = w->cuda;

	ret->w = w;
	ret->target = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	ret->fill = gpu_fill_of(w, &ret->target, &ret->segment);
	assert_int_equal(0, cuda->cudaStreamCreateWithFlags(
				    &ret->stream, WFS_CU_STREAM_NON_BLOCKING));
	assert_int_equal(0,
			 cuda->cudaEventCreateWithFlags(
				 &ret->event, WFS_CU_EVENT_INTERPROCESS |
						      WFS_CU_EVENT_NO_TIMING));
	fake_cu_hold_events(w->fake);
	assert_int_equal(0, cuda->cudaEventRecord(ret->event, ret->stream));
	assert_int_equal(0,
			 cuda->cudaIpcGetEventHandle(&ret->handle, ret->event));
	ret->fill.ready = (const uint8_t *)&ret->handle;
}

/* The event happens: nothing of the helper's was lost, and the fill goes. */
static void finish(struct waiting *f, pid_t helper)
{
	const struct wfs_cuda *cuda = f->w->cuda;

	fake_cu_release_events(f->w->fake);
	f->fill.deadline_ns = wfs_now_ns() + 60 * SECOND_NS;
	f->fill.stop = NULL;
	f->fill.caller.pid = getpid();
	assert_int_equal(0, gpu_fill(f->w, &f->fill));
	gpu_expect_file(f->w, &f->target);
	assert_int_equal(helper, gpu_helper());
	assert_int_equal(0, cuda->cudaEventDestroy(f->event));
	assert_int_equal(0, cuda->cudaStreamDestroy(f->stream));
	gpu_target_free(f->w, &f->target);
}

/* The helper that it will be asked of, which is not started by the test. */
static pid_t start_helper(struct waiting *f)
{
	struct wfs_device_fill fill = f->fill;

	fill.ready = NULL;
	assert_int_equal(0, gpu_fill(f->w, &fill));
	return gpu_helper();
}

static void an_event_that_does_not_come_costs_no_helper(void **state)
{
	struct waiting f;
	pid_t helper;

	prepare(*state, &f);
	helper = start_helper(&f);
	f.fill.deadline_ns = wfs_now_ns() + SECOND_NS / 10;
	assert_int_equal(-ETIMEDOUT, gpu_fill(f.w, &f.fill));
	assert_int_equal(WFS_DEVICE_STAGE_SYNC, f.w->fault.stage);
	finish(&f, helper);
}

static void a_fill_that_is_stopped_was_interrupted(void **state)
{
	int bell = eventfd(1, EFD_CLOEXEC);
	struct waiting f;
	pid_t helper;

	prepare(*state, &f);
	helper = start_helper(&f);
	f.fill.stop = &bell;
	assert_int_equal(-EINTR, gpu_fill(f.w, &f.fill));
	close(bell);
	finish(&f, helper);
}

static void *fill_aside(void *arg)
{
	struct waiting *f = arg;
	struct wfs_device_filled filled;
	struct wfs_device_fault fault;

	f->rc = wfs_device_fill(f->w->dev, &f->fill, &filled, &fault, NULL);
	return NULL;
}

/* … and the helper looked at its event. */
static void begin_aside(struct waiting *f, pthread_t *ret_thread)
{
	struct fake_control *fake = f->w->fake;
	uint64_t until = wfs_now_ns() + 60 * SECOND_NS;
	unsigned before = fake->queries;

	assert_int_equal(0, pthread_create(ret_thread, NULL, fill_aside, f));
	while (__atomic_load_n(&fake->queries, __ATOMIC_RELAXED) == before)
		assert_true(wfs_now_ns() < until);
}

static void who_waits_keeps_a_helper_from_nobody_else(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill;

	for (int fed = 0; fed < 2; fed++) {
		struct waiting f;
		struct food food;
		pthread_t aside;
		pid_t helper;

		prepare(w, &f);
		helper = start_helper(&f);
		if (fed)
			gpu_food_serve(w, &f.fill, &food);
		begin_aside(&f, &aside);
		fill = gpu_fill_of(w, &t, &segment);
		fill.deadline_ns = wfs_now_ns() + 20 * SECOND_NS;
		assert_int_equal(0, gpu_fill(w, &fill));
		gpu_expect_file(w, &t);
		fake_cu_release_events(w->fake);
		pthread_join(aside, NULL);
		assert_int_equal(0, f.rc);
		finish(&f, helper);
	}
	gpu_target_free(w, &t);
}

static void a_reader_that_dies_is_waited_for_no_longer(void **state)
{
	struct gpu_world *w = *state;
	struct waiting f;
	pthread_t aside;
	pid_t helper, child;
	int hold;

	prepare(w, &f);
	helper = start_helper(&f);
	child = gpu_reader_start(&hold);
	f.fill.caller.pid = child;
	f.fill.deadline_ns = wfs_now_ns() + 3600 * SECOND_NS;
	begin_aside(&f, &aside);
	close(hold);
	waitpid(child, NULL, 0);
	pthread_join(aside, NULL);
	assert_int_equal(-EINTR, f.rc);
	assert_int_equal(0, fake_cu_holds(w->fake));
	finish(&f, helper);
}

static void what_is_no_event_is_refused(void **state)
{
	struct waiting f;
	pid_t helper;

	prepare(*state, &f);
	helper = start_helper(&f);
	memset(&f.handle, 'x', sizeof(f.handle));
	assert_int_equal(-EINVAL, gpu_fill(f.w, &f.fill));
	assert_int_equal(WFS_DEVICE_STAGE_MAP, f.w->fault.stage);
	assert_int_equal(WFS_CU_INVALID_HANDLE, f.w->fault.cuda_err);
	assert_int_equal(0, fake_cu_holds(f.w->fake));
	assert_int_equal(0,
			 f.w->cuda->cudaIpcGetEventHandle(&f.handle, f.event));
	finish(&f, helper);
}

int main(int argc, char **argv)
{
#define G(name)                                                                \
	cmocka_unit_test_setup_teardown(name, gpu_world_open, gpu_world_close)
	const struct CMUnitTest tests[] = {
		G(an_event_that_does_not_come_costs_no_helper),
		G(a_fill_that_is_stopped_was_interrupted),
		G(who_waits_keeps_a_helper_from_nobody_else),
		G(a_reader_that_dies_is_waited_for_no_longer),
		G(what_is_no_event_is_refused),
	};

	gpu_world_enter(argc, argv);
	return cmocka_run_group_tests_name("gpu stop", tests, NULL,
					   fake_gpus_leave);
}
