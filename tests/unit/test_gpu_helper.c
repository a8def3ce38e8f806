/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes that fill device memory: as whom they run, whom they are there
 * for, and what it costs when one dies or hangs.  Over the FAKE libcudart.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/proc.h"
#include "core/base/text.h"
#include "tests/unit/gpu_world.h"

#define SMALL	   (64u << 10)
#define OTHER_USER 54321
#define SECOND_NS  1000000000ull

static void an_error_that_sticks_costs_one_helper(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);

	fake_cu_inject(w->fake, "cudaMemcpyAsync", FAKE_STICKS,
		       WFS_CU_ILLEGAL_ADDRESS, 0, 1);
	assert_int_equal(-EIO, gpu_fill(w, &fill));
	assert_int_equal(WFS_CU_ILLEGAL_ADDRESS, w->fault.cuda_err);
	assert_int_equal(0, gpu_fill(w, &fill));
	gpu_expect_file(w, &t);
	gpu_target_free(w, &t);
}

static void a_helper_that_dies_in_a_copy_costs_that_copy(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);

	for (int i = 0; i < 3; i++) {
		fake_cu_inject(w->fake, "cudaStreamSynchronize", FAKE_CRASHES,
			       0, 0, 1);
		assert_int_equal(-EIO, gpu_fill(w, &fill));
		assert_int_equal(0, w->fault.cuda_err);
		assert_int_equal(0, gpu_fill(w, &fill));
	}
	gpu_expect_file(w, &t);
	gpu_target_free(w, &t);
}

static void a_helper_that_hangs_is_killed_at_the_deadline(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);

	assert_int_equal(0, gpu_fill(w, &fill));
	fake_cu_inject(w->fake, "cudaMemcpyAsync", FAKE_HANGS, 0, 0, 1);
	fill.deadline_ns = wfs_now_ns() + SECOND_NS / 2;
	assert_int_equal(-ETIMEDOUT, gpu_fill(w, &fill));
	gpu_await_helpers(0);
	/* On a slow machine it was not that far: the next one is to live. */
	fake_cu_inject(w->fake, "", FAKE_FAILS, 0, 0, 0);
	fill.deadline_ns = wfs_now_ns() + 60 * SECOND_NS;
	assert_int_equal(0, gpu_fill(w, &fill));
	gpu_target_free(w, &t);
}

/* A reader of another user, which says by the pipe what it exports. */
static pid_t start_other(struct gpu_world *w, struct gpu_target *ret_target)
{
	int out[2], err[2];
	pid_t child;

	assert_int_equal(0, pipe2(out, O_CLOEXEC));
	assert_int_equal(0, pipe2(err, O_CLOEXEC));
	child = fork();
	if (child == 0) {
		if (setgid(OTHER_USER) != 0 || setuid(OTHER_USER) != 0)
			_exit(1);
		*ret_target = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
		if (write(out[1], ret_target, sizeof(*ret_target)) < 0)
			_exit(1);
		close(err[1]);
		/* Till the test closes its end. */
		_exit(read(err[0], &(char){ 0 }, 1) < 0);
	}
	close(out[1]);
	close(err[0]);
	assert_int_equal(sizeof(*ret_target),
			 read(out[0], ret_target, sizeof(*ret_target)));
	close(out[0]);
	ret_target->fd = err[1];
	return child;
}

static void handles_are_imported_as_the_user_who_asks(void **state)
{
	struct gpu_world *w = *state;
	struct wfs_device_segment segment;
	struct wfs_device_fill fill;
	struct gpu_target t;
	pid_t child;

	if (geteuid() != 0)
		skip();
	child = start_other(w, &t);
	fill = gpu_fill_of(w, &t, &segment);
	fill.cookie = 3;
	fill.caller.pid = child;
	/* As root, which would be allowed all: the handle is another's. */
	assert_int_equal(-EPERM, gpu_fill(w, &fill));
	fill.caller.uid = fill.caller.gid = OTHER_USER;
	assert_int_equal(0, gpu_fill(w, &fill));
	assert_int_equal(2, gpu_helpers());
	assert_int_equal(1, fake_cu_holds(w->fake));
	/* The helpers are there as long as who they work for. */
	close(t.fd);
	waitpid(child, NULL, 0);
	gpu_await_helpers(0);
}

static void expect_status(pid_t pid, const char *key, const char *value)
{
	char *got wfs_autofree = wfs_proc_status(pid, key);

	assert_non_null(got);
	assert_string_equal(value, got);
}

static void a_helper_has_no_rights_but_its_readers(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	pid_t helper;

	assert_int_equal(0, gpu_fill(w, &fill));
	helper = gpu_helper();
	expect_status(helper, "CapEff", "0000000000000000");
	expect_status(helper, "CapPrm", "0000000000000000");
	if (geteuid() == 0)
		expect_status(helper, "CapBnd", "0000000000000000");
	expect_status(helper, "NoNewPrivs", "1");
	expect_status(helper, "Seccomp", "2");
	gpu_target_free(w, &t);
}

/* What it has started, if that is one process. */
static pid_t child_of(pid_t pid)
{
	char *path wfs_autofree =
		wfs_asprintf("/proc/%d/task/%d/children", pid, pid);
	char *text wfs_autofree = NULL;
	size_t len;

	assert_int_equal(0, wfs_file_slurp(path, 4096, &text, &len));
	return (pid_t)strtol(text, NULL, 10);
}

/* May this process make namespaces? */
static bool may_unshare(void)
{
	pid_t child = fork();
	int status = 1;

	if (child == 0)
		_exit(unshare(CLONE_NEWPID) != 0);
	waitpid(child, &status, 0);
	return status == 0;
}

struct apart {
	int target[2], pid[2], hold[2]; /* pipes */
};

/* In a namespace of its own; says what it exports, compares at the end. */
static void read_apart(struct gpu_world *w, const struct apart *apart)
{
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	uint8_t *got;

	if (write(apart->target[1], &t, sizeof(t)) < 0 ||
	    read(apart->hold[0], &(char){ 0 }, 1) != 1)
		_exit(1);
	got = gpu_target_read(w, &t);
	gpu_target_free(w, &t);
	_exit(memcmp(got, w->bytes, SMALL) != 0);
}

/* Ends as its reader does, whose pid it says: its children live apart. */
static pid_t start_apart(struct gpu_world *w, const struct apart *apart)
{
	pid_t child = fork(), reader;
	int status = 1;

	if (child)
		return child;
	if (unshare(CLONE_NEWPID) != 0)
		_exit(1);
	reader = fork();
	if (reader == 0)
		read_apart(w, apart);
	if (write(apart->pid[1], &reader, sizeof(reader)) < 0)
		_exit(1);
	waitpid(reader, &status, 0);
	_exit(status != 0);
}

/* It could not open one, so that nothing is copied for it either. */
static void expect_no_legacy_loan(struct gpu_world *w, pid_t reader)
{
	const struct wfs_device_want want = {
		.caller = { reader, geteuid(), getegid() },
		.memory = WFS_DEVICE_CUDA_IPC,
		.fd = w->fd,
		.file_bytes = SMALL,
		.steady = true,
		.deadline_ns = wfs_now_ns() + 60 * SECOND_NS,
	};
	struct wfs_device_lent lent;
	unsigned calls = w->fake->calls;

	assert_int_equal(-EXDEV, wfs_device_lend(w->dev, &want, &lent,
						 &w->fault, &w->err));
	assert_int_equal(WFS_DEVICE_STAGE_AUTH, w->fault.stage);
	assert_int_equal(calls, w->fake->calls);
}

static void a_reader_in_another_pid_namespace_is_served_in_it(void **state)
{
	struct gpu_world *w = *state;
	struct wfs_device_segment segment;
	struct wfs_device_fill fill;
	struct gpu_target t;
	struct apart apart;
	pid_t child, reader;
	int status;

	if (!may_unshare())
		skip();
	assert_int_equal(0, pipe2(apart.target, O_CLOEXEC));
	assert_int_equal(0, pipe2(apart.pid, O_CLOEXEC));
	assert_int_equal(0, pipe2(apart.hold, O_CLOEXEC));
	child = start_apart(w, &apart);
	assert_int_equal(sizeof(reader),
			 read(apart.pid[0], &reader, sizeof(reader)));
	assert_int_equal(sizeof(t), read(apart.target[0], &t, sizeof(t)));
	fill = gpu_fill_of(w, &t, &segment);
	fill.caller.pid = reader;
	assert_int_equal(0, gpu_fill(w, &fill));
	expect_no_legacy_loan(w, reader);
	assert_int_not_equal(wfs_proc_namespace(getpid(), "pid"),
			     wfs_proc_namespace(reader, "pid"));
	assert_int_equal(wfs_proc_namespace(reader, "pid"),
			 wfs_proc_namespace(child_of(gpu_helper()), "pid"));
	assert_int_equal(1, write(apart.hold[1], "x", 1));
	waitpid(child, &status, 0);
	assert_int_equal(0, status);
	for (int i = 0; i < 2; i++) {
		close(apart.target[i]);
		close(apart.pid[i]);
		close(apart.hold[i]);
	}
}

static void a_dead_readers_mappings_go_from_a_helper_that_stays(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target own = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &own, &segment);
	uint64_t until = wfs_now_ns() + 60 * SECOND_NS;
	pid_t child;
	int hold;

	assert_int_equal(0, gpu_fill(w, &fill));
	child = gpu_reader_start(&hold);
	fill.caller.pid = child;
	fill.cookie = 9;
	assert_int_equal(0, gpu_fill(w, &fill));
	assert_int_equal(1, fake_cu_holds(w->fake));
	close(hold);
	waitpid(child, NULL, 0);
	while (fake_cu_holds(w->fake))
		assert_true(wfs_now_ns() < until);
	assert_int_equal(1, gpu_helpers());
	gpu_target_free(w, &own);
}

int main(int argc, char **argv)
{
#define G(name)                                                                \
	cmocka_unit_test_setup_teardown(name, gpu_world_open, gpu_world_close)
	const struct CMUnitTest tests[] = {
		G(an_error_that_sticks_costs_one_helper),
		G(a_helper_that_dies_in_a_copy_costs_that_copy),
		G(a_helper_that_hangs_is_killed_at_the_deadline),
		G(handles_are_imported_as_the_user_who_asks),
		G(a_helper_has_no_rights_but_its_readers),
		G(a_reader_in_another_pid_namespace_is_served_in_it),
		G(a_dead_readers_mappings_go_from_a_helper_that_stays),
	};

	gpu_world_enter(argc, argv);
	return cmocka_run_group_tests_name("gpu helper", tests, NULL,
					   fake_gpus_leave);
}
