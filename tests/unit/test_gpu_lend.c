/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lending device memory: one copy, many readers, and what is left of it when
 * they are gone.  Over the FAKE libcudart.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/gpu_world.h"

#define TENSOR	   ((3u << 20) + 5) /* not a whole number of pages */
#define ROOM	   (4u << 20)	    /* what a copy of it takes */
#define READERS	   4
#define MINUTE_NS  60000000000ull
#define OTHER_USER 54321

/* Under a sanitizer each takes ten times as long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CYCLES 150
#else
#define CYCLES 1000
#endif

static struct wfs_device_want want_of(const struct gpu_world *w, uint64_t key,
				      uint32_t memory)
{
	return (struct wfs_device_want){
		.caller = { getpid(), geteuid(), getegid() },
		.memory = memory,
		.key = { key, 1 },
		.fd = w->fd,
		.file_bytes = TENSOR,
		.steady = true,
		.deadline_ns = wfs_now_ns() + MINUTE_NS,
	};
}

static int lend(struct gpu_world *w, const struct wfs_device_want *want,
		struct wfs_device_lent *ret_lent)
{
	return wfs_device_lend(w->dev, want, ret_lent, &w->fault, &w->err);
}

/* As a reader would: imports it, compares it, lets go of it. */
static void expect_tensor(struct gpu_world *w, struct wfs_device_lent *lent)
{
	struct gpu_target t = { .memory = lent->memory,
				.bytes = lent->memory_bytes };
	cu_mem_handle handle;
	uint8_t *got;

	if (lent->memory == WFS_DEVICE_CUDA_IPC) {
		memcpy(&handle, lent->handle, sizeof(handle));
		assert_int_equal(0, w->cuda->cudaIpcOpenMemHandle(
					    &t.ptr, handle,
					    WFS_CU_LAZY_PEER_ACCESS));
	} else {
		assert_int_equal(0, w->cuda->cuMemImportFromShareableHandle(
					    &t.alloc,
					    (void *)(intptr_t)lent->memory_fd,
					    WFS_CU_POSIX_FD));
		gpu_target_map(w, &t);
	}
	got = gpu_target_read(w, &t);
	assert_int_equal(0, lent->offset);
	assert_memory_equal(w->bytes, got, TENSOR);
	for (size_t i = TENSOR; i < t.bytes; i++)
		assert_int_equal(0, got[i]);
	free(got);
	if (lent->memory == WFS_DEVICE_CUDA_IPC) {
		assert_int_equal(0, w->cuda->cudaIpcCloseMemHandle(t.ptr));
		return;
	}
	t.fd = wfs_steal_fd(&lent->memory_fd);
	gpu_target_free(w, &t);
}

static void a_tensor_is_lent_in_memory_of_either_kind(void **state)
{
	struct gpu_world *w = *state;

	for (uint32_t kind = 0; kind <= WFS_DEVICE_VMM_FD; kind++) {
		const struct wfs_device_want want = want_of(w, kind, kind);
		struct wfs_device_lent lent;

		assert_int_equal(0, lend(w, &want, &lent));
		assert_int_equal(kind ? kind : WFS_DEVICE_VMM_FD, lent.memory);
		assert_int_equal(ROOM, lent.memory_bytes);
		expect_tensor(w, &lent);
		assert_int_equal(0, wfs_device_drop(w->dev, &want.caller,
						    lent.lease, 0));
		assert_int_equal(-ENOENT, wfs_device_drop(w->dev, &want.caller,
							  lent.lease, 0));
	}
}

static void a_lease_gives_its_descriptor_again(void **state)
{
	struct gpu_world *w = *state;
	const struct wfs_device_caller other = { getppid(), geteuid(),
						 getegid() };
	struct wfs_device_want want = want_of(w, 1, WFS_DEVICE_VMM_FD);
	struct wfs_device_lent lent;
	uint64_t bytes = 0;

	assert_int_equal(0, lend(w, &want, &lent));
	wfs_closep(&lent.memory_fd);
	assert_int_equal(-ENOENT,
			 wfs_device_descriptor(w->dev, &other, lent.lease,
					       &lent.memory_fd, &bytes));
	assert_int_equal(0,
			 wfs_device_descriptor(w->dev, &want.caller, lent.lease,
					       &lent.memory_fd, &bytes));
	assert_int_equal(ROOM, bytes);
	expect_tensor(w, &lent);
	assert_int_equal(0,
			 wfs_device_drop(w->dev, &want.caller, lent.lease, 0));
	assert_int_equal(-ENOENT,
			 wfs_device_descriptor(w->dev, &want.caller, lent.lease,
					       &lent.memory_fd, &bytes));
	want.memory = WFS_DEVICE_CUDA_IPC;
	assert_int_equal(0, lend(w, &want, &lent));
	assert_int_equal(-EOPNOTSUPP,
			 wfs_device_descriptor(w->dev, &want.caller, lent.lease,
					       &lent.memory_fd, &bytes));
	assert_int_equal(-1, lent.memory_fd);
	assert_int_equal(-ENOENT,
			 wfs_device_descriptor(NULL, &want.caller, lent.lease,
					       &lent.memory_fd, &bytes));
}

static void where_there_is_no_vmm_it_is_lent_by_a_legacy_handle(void **state)
{
	struct gpu_world *w = *state;
	struct wfs_device_want want = want_of(w, 1, 0);
	struct wfs_device_lent lent;

	w->fake->no_vmm = true;
	assert_int_equal(0, lend(w, &want, &lent));
	assert_int_equal(WFS_DEVICE_CUDA_IPC, lent.memory);
	assert_int_equal(-1, lent.memory_fd);
	expect_tensor(w, &lent);
	want.memory = WFS_DEVICE_VMM_FD;
	assert_int_equal(-EOPNOTSUPP, lend(w, &want, &lent));
	w->fake->no_vmm = false;
}

struct reader {
	struct gpu_world *w;
	pthread_t thread;
	struct wfs_device_lent lent;
	int rc;
};

static void *read_one(void *arg)
{
	struct reader *reader = arg;
	const struct wfs_device_want want =
		want_of(reader->w, 1, WFS_DEVICE_VMM_FD);
	struct wfs_device_fault fault;
	struct wfs_err err;

	reader->rc = wfs_device_lend(reader->w->dev, &want, &reader->lent,
				     &fault, &err);
	return NULL;
}

static void readers_at_once_share_one_copy(void **state)
{
	struct gpu_world *w = *state;
	struct reader readers[READERS];
	const struct wfs_device_want want = want_of(w, 1, 0);

	for (int i = 0; i < READERS; i++) {
		readers[i].w = w;
		pthread_create(&readers[i].thread, NULL, read_one, &readers[i]);
	}
	for (int i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(0, readers[i].rc);
	}
	assert_int_equal(ROOM, fake_cu_used(w->fake));
	for (int i = 0; i < READERS; i++) {
		for (int k = 0; k < i; k++)
			assert_true(readers[i].lent.lease !=
				    readers[k].lent.lease);
		expect_tensor(w, &readers[i].lent);
		assert_int_equal(0, wfs_device_drop(w->dev, &want.caller,
						    readers[i].lent.lease, 0));
	}
	/* Nobody wants it any more. */
	gpu_await_used(w, 0);
	gpu_await_helpers(0);
}

static void a_thousand_leases_leave_nothing_behind(void **state)
{
	struct gpu_world *w = *state;

	for (int i = 0; i < CYCLES; i++) {
		const struct wfs_device_want want = want_of(
			w, (uint64_t)i % 3,
			i % 2 ? WFS_DEVICE_VMM_FD : WFS_DEVICE_CUDA_IPC);
		struct wfs_device_lent lent;

		assert_int_equal(0, lend(w, &want, &lent));
		wfs_closep(&lent.memory_fd);
		assert_int_equal(0, wfs_device_drop(w->dev, &want.caller,
						    lent.lease, 0));
	}
	/* A legacy handle may be open as long as its reader lives. */
	gpu_await_used(w, 3ull * ROOM);
}

static void leases_end_with_the_reader_that_is_killed(void **state)
{
	struct gpu_world *w = *state;

	for (uint32_t kind = WFS_DEVICE_CUDA_IPC; kind <= WFS_DEVICE_VMM_FD;
	     kind++) {
		struct wfs_device_want want = want_of(w, 1, kind);
		struct wfs_device_lent lent;
		int hold;
		pid_t child = gpu_reader_start(&hold);

		want.caller.pid = child;
		assert_int_equal(0, lend(w, &want, &lent));
		wfs_closep(&lent.memory_fd);
		/* It is nobody else's to give back. */
		want.caller.pid = getpid();
		assert_int_equal(-ENOENT, wfs_device_drop(w->dev, &want.caller,
							  lent.lease, 0));
		assert_int_equal(ROOM, fake_cu_used(w->fake));
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		close(hold);
		gpu_await_used(w, 0);
	}
}

static void memory_that_a_reader_may_have_open_is_not_freed(void **state)
{
	struct gpu_world *w = *state;
	struct wfs_device_want want = want_of(w, 1, WFS_DEVICE_CUDA_IPC);
	struct wfs_device_lent lent, again;
	cu_mem_handle handle;
	void *ptr;

	assert_int_equal(0, lend(w, &want, &lent));
	memcpy(&handle, lent.handle, sizeof(handle));
	assert_int_equal(0, w->cuda->cudaIpcOpenMemHandle(
				    &ptr, handle, WFS_CU_LAZY_PEER_ACCESS));
	assert_int_equal(0,
			 wfs_device_drop(w->dev, &want.caller, lent.lease, 0));
	/* Freeing it now would abort the helper; what comes later does not. */
	assert_int_equal(0, lend(w, &want, &again));
	assert_memory_equal(lent.handle, again.handle, sizeof(lent.handle));
	assert_int_equal(1, gpu_helpers());
	assert_int_equal(0, w->cuda->cudaIpcCloseMemHandle(ptr));
}

static void who_is_not_trusted_is_lent_nothing(void **state)
{
	struct gpu_world *w = *state;
	struct wfs_device_want want = want_of(w, 1, 0);
	struct wfs_device_info info;
	struct wfs_device_lent lent;

	assert_int_equal(0, wfs_cuda_device_look(w->dev, &w->err));
	assert_int_equal(0, wfs_device_info(w->dev, &want.caller, &info));
	assert_true(info.fills && info.lends);
	assert_int_equal(FAKE_DEVICES, info.devices);
	want.caller.uid = OTHER_USER;
	assert_int_equal(-EACCES, lend(w, &want, &lent));
	assert_int_equal(WFS_DEVICE_STAGE_AUTH, w->fault.stage);
	assert_int_equal(0, wfs_device_info(w->dev, &want.caller, &info));
	assert_false(info.lends);
	want.caller.uid = geteuid();
	want.file_bytes = 0;
	assert_int_equal(-EINVAL, lend(w, &want, &lent));
}

static void a_device_that_is_full_says_so_and_is_used_again(void **state)
{
	struct gpu_world *w = *state;
	struct wfs_device_want want = want_of(w, 1, 0);
	struct wfs_device_lent lent, more;

	w->fake->capacity[0] = ROOM;
	assert_int_equal(0, lend(w, &want, &lent));
	want.key[0] = 2;
	assert_int_equal(-ENOMEM, lend(w, &want, &more));
	assert_int_equal(WFS_CU_NO_MEMORY, w->fault.cuda_err);
	wfs_closep(&lent.memory_fd);
	assert_int_equal(0,
			 wfs_device_drop(w->dev, &want.caller, lent.lease, 0));
	/* What nobody has a lease of makes way. */
	gpu_await_used(w, 0);
	assert_int_equal(0, lend(w, &want, &more));
	expect_tensor(w, &more);
	w->fake->capacity[0] = FAKE_CAPACITY;
}

static void a_helper_that_dies_takes_its_copies_and_no_reader(void **state)
{
	struct gpu_world *w = *state;
	const struct wfs_device_want want = want_of(w, 1, 0);
	struct wfs_device_lent before, after;

	assert_int_equal(0, lend(w, &want, &before));
	gpu_kill_helper();
	gpu_await_helpers(0);
	/* Its memory is there as long as its descriptor. */
	assert_int_equal(0, lend(w, &want, &after));
	expect_tensor(w, &after);
	assert_int_equal(0, wfs_device_drop(w->dev, &want.caller, before.lease,
					    0));
	assert_int_equal(0,
			 wfs_device_drop(w->dev, &want.caller, after.lease, 0));
	wfs_closep(&before.memory_fd);
	gpu_await_used(w, 0);
}

static void a_copy_that_fails_is_left_nowhere(void **state)
{
	static const char *const calls[] = {
		"cuMemCreate",
		"cuMemAddressReserve",
		"cuMemMap",
		"cuMemSetAccess",
		"cudaMemsetAsync",
		"cudaStreamSynchronize",
		"cuMemExportToShareableHandle",
	};
	struct gpu_world *w = *state;
	const struct wfs_device_want want = want_of(w, 1, 0);
	struct wfs_device_lent lent = { .lease = 0 };

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		fake_cu_inject(w->fake, calls[i], FAKE_FAILS,
			       WFS_CU_NOT_PERMITTED, 0, 1);
		assert_int_equal(-EPERM, lend(w, &want, &lent));
		assert_int_equal(WFS_CU_NOT_PERMITTED, w->fault.cuda_err);
		assert_int_equal(0, lent.lease);
		assert_int_equal(0, fake_cu_used(w->fake));
	}
	fake_cu_inject(w->fake, "cudaStreamSynchronize", FAKE_CRASHES, 0, 0, 1);
	assert_int_equal(-EIO, lend(w, &want, &lent));
	assert_int_equal(0, lend(w, &want, &lent));
	expect_tensor(w, &lent);
}

int main(int argc, char **argv)
{
#define G(name)                                                                \
	cmocka_unit_test_setup_teardown(name, gpu_world_open, gpu_world_close)
	const struct CMUnitTest tests[] = {
		G(a_tensor_is_lent_in_memory_of_either_kind),
		G(a_lease_gives_its_descriptor_again),
		G(where_there_is_no_vmm_it_is_lent_by_a_legacy_handle),
		G(readers_at_once_share_one_copy),
		G(a_thousand_leases_leave_nothing_behind),
		G(leases_end_with_the_reader_that_is_killed),
		G(memory_that_a_reader_may_have_open_is_not_freed),
		G(who_is_not_trusted_is_lent_nothing),
		G(a_device_that_is_full_says_so_and_is_used_again),
		G(a_helper_that_dies_takes_its_copies_and_no_reader),
		G(a_copy_that_fails_is_left_nowhere),
	};

	gpu_world_enter(argc, argv);
	return cmocka_run_group_tests_name("gpu lend", tests, NULL,
					   fake_gpus_leave);
}
