/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See gpu_world.h.
 */
#include "tests/unit/t.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/base/proc.h"
#include "tests/unit/gpu_world.h"
#include "transport/cuda/helper.h"

#define MINUTE_NS 60000000000ull

void gpu_world_enter(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], WFS_GPU_HELPER) == 0)
		exit(wfs_gpu_helper_main(argc - 1, argv + 1));
	fake_gpus_enter(argv);
}

static int open_world(void **state, uint64_t keep_files_ns)
{
	const struct wfs_cuda_config config = { .keep_files_ns =
							keep_files_ns };
	struct gpu_world *w = wfs_calloc(1, sizeof(*w));

	w->fake = fake_gpus_control();
	assert_int_equal(0, wfs_cuda_load(&w->cuda, &w->err));
	assert_int_equal(0, w->cuda->cudaSetDevice(0));
	w->fd = memfd_create("weights", MFD_CLOEXEC);
	assert_int_equal(0, ftruncate(w->fd, GPU_FILE));
	w->bytes = mmap(NULL, GPU_FILE, PROT_READ | PROT_WRITE, MAP_SHARED,
			w->fd, 0);
	for (uint32_t i = 0; i < GPU_FILE / 4; i++)
		memcpy(w->bytes + i * 4ull, &(uint32_t){ i * 2654435761u }, 4);
	assert_int_equal(0, wfs_cuda_device_open(&config, &w->dev, &w->err));
	assert_int_equal(0, wfs_cuda_device_look(w->dev, &w->err));
	/* The one that looked was killed, and may not have ended yet. */
	gpu_await_helpers(0);
	*state = w;
	return 0;
}

int gpu_world_open(void **state)
{
	return open_world(state, 60 * MINUTE_NS);
}

int gpu_world_open_forgetful(void **state)
{
	return open_world(state, 0);
}

int gpu_world_close(void **state)
{
	struct gpu_world *w = *state;

	wfs_device_close(w->dev);
	gpu_await_helpers(0); /* killed, and not waited for without end */
	assert_int_equal(0, fake_cu_used(w->fake));
	assert_int_equal(0, fake_cu_holds(w->fake));
	munmap(w->bytes, GPU_FILE);
	close(w->fd);
	free(w);
	return 0;
}

static const cu_prop prop = { .type = WFS_CU_PINNED,
			      .handle_types = WFS_CU_POSIX_FD,
			      .location.type = WFS_CU_ON_DEVICE };
static const cu_access access_all = { .location.type = WFS_CU_ON_DEVICE,
				      .flags = WFS_CU_READ_WRITE };

void gpu_target_map(const struct gpu_world *w, struct gpu_target *t)
{
	cu_devptr at;

	assert_int_equal(0,
			 w->cuda->cuMemAddressReserve(&at, t->bytes, 0, 0, 0));
	assert_int_equal(0, w->cuda->cuMemMap(at, t->bytes, 0, t->alloc, 0));
	assert_int_equal(0,
			 w->cuda->cuMemSetAccess(at, t->bytes, &access_all, 1));
	t->ptr = (void *)(uintptr_t)at;
}

static void make_pooled(const struct gpu_world *w, struct gpu_target *t)
{
	const cu_pool_props props = { .type = WFS_CU_PINNED,
				      .handle_types = WFS_CU_POSIX_FD,
				      .location.type = WFS_CU_ON_DEVICE };
	cu_pool_ptr data;
	cu_stream stream;

	assert_int_equal(0, w->cuda->cudaStreamCreateWithFlags(
				    &stream, WFS_CU_STREAM_NON_BLOCKING));
	assert_int_equal(0, w->cuda->cudaMemPoolCreate(&t->pool, &props));
	assert_int_equal(0, w->cuda->cudaMallocFromPoolAsync(&t->ptr, t->bytes,
							     t->pool, stream));
	assert_int_equal(0, w->cuda->cudaStreamDestroy(stream));
	assert_int_equal(0, w->cuda->cudaMemPoolExportToShareableHandle(
				    &t->fd, t->pool, WFS_CU_POSIX_FD, 0));
	assert_int_equal(0, w->cuda->cudaMemPoolExportPointer(&data, t->ptr));
	memcpy(t->handle, &data, sizeof(data));
}

struct gpu_target gpu_target_make(const struct gpu_world *w, uint32_t memory,
				  uint64_t bytes)
{
	struct gpu_target t = { .memory = memory, .bytes = bytes, .fd = -1 };
	cu_mem_handle handle;

	if (memory == WFS_DEVICE_CUDA_IPC) {
		assert_int_equal(0, w->cuda->cudaMalloc(&t.ptr, bytes));
		assert_int_equal(0,
				 w->cuda->cudaIpcGetMemHandle(&handle, t.ptr));
		memcpy(t.handle, &handle, sizeof(handle));
		return t;
	}
	if (memory == WFS_DEVICE_POOL_FD) {
		make_pooled(w, &t);
		return t;
	}
	assert_int_equal(0, w->cuda->cuMemCreate(&t.alloc, bytes, &prop, 0));
	assert_int_equal(0, w->cuda->cuMemExportToShareableHandle(
				    &t.fd, t.alloc, WFS_CU_POSIX_FD, 0));
	gpu_target_map(w, &t);
	return t;
}

void gpu_target_free(const struct gpu_world *w, struct gpu_target *t)
{
	cu_devptr at = (uintptr_t)t->ptr;

	if (t->memory == WFS_DEVICE_CUDA_IPC) {
		assert_int_equal(0, w->cuda->cudaFree(t->ptr));
		return;
	}
	close(t->fd);
	if (t->memory == WFS_DEVICE_POOL_FD) {
		assert_int_equal(0, w->cuda->cudaFree(t->ptr));
		assert_int_equal(0, w->cuda->cudaMemPoolDestroy(t->pool));
		return;
	}
	assert_int_equal(0, w->cuda->cuMemUnmap(at, t->bytes));
	assert_int_equal(0, w->cuda->cuMemAddressFree(at, t->bytes));
	assert_int_equal(0, w->cuda->cuMemRelease(t->alloc));
}

uint8_t *gpu_target_read(const struct gpu_world *w,
			 const struct gpu_target *target)
{
	uint8_t *bytes = wfs_malloc(target->bytes);
	cu_stream stream;

	assert_int_equal(0, w->cuda->cudaStreamCreateWithFlags(
				    &stream, WFS_CU_STREAM_NON_BLOCKING));
	assert_int_equal(
		0, w->cuda->cudaMemcpyAsync(bytes, target->ptr, target->bytes,
					    WFS_CU_DEVICE_TO_HOST, stream));
	assert_int_equal(0, w->cuda->cudaStreamSynchronize(stream));
	assert_int_equal(0, w->cuda->cudaStreamDestroy(stream));
	w->fake->pageable = 0; /* that one was ours */
	return bytes;
}

void gpu_expect_file(const struct gpu_world *w, const struct gpu_target *target)
{
	uint8_t *got = gpu_target_read(w, target);

	assert_memory_equal(w->bytes, got, target->bytes);
	free(got);
}

struct wfs_device_fill gpu_fill_of(const struct gpu_world *w,
				   const struct gpu_target *target,
				   struct wfs_device_segment *segment)
{
	struct wfs_device_fill fill = {
		.caller = { getpid(), geteuid(), getegid() },
		.memory = target->memory,
		.memory_fd = target->fd,
		.memory_bytes = target->bytes,
		.fd = w->fd,
		.file_bytes = GPU_FILE,
		.steady = true,
		.segments = segment,
		.segment_count = 1,
		.deadline_ns = wfs_now_ns() + MINUTE_NS,
	};

	*segment = (struct wfs_device_segment){
		.len = target->bytes < GPU_FILE ? target->bytes : GPU_FILE,
		.count = 1
	};
	memcpy(fill.handle, target->handle, sizeof(fill.handle));
	return fill;
}

int gpu_fill(struct gpu_world *w, const struct wfs_device_fill *fill)
{
	struct wfs_device_filled filled;

	w->err.text[0] = '\0';
	return wfs_device_fill(w->dev, fill, &filled, &w->fault, &w->err);
}

pid_t gpu_reader_start(int *ret_hold)
{
	int hold[2];
	pid_t child;

	assert_int_equal(0, pipe2(hold, O_CLOEXEC));
	child = fork();
	if (child == 0) {
		close(hold[1]);
		_exit(read(hold[0], &(char){ 0 }, 1) < 0);
	}
	close(hold[0]);
	*ret_hold = hold[1];
	return child;
}

/* A child of ours that was executed as a helper, and has not ended. */
static bool is_helper(pid_t pid)
{
	char *path wfs_autofree = wfs_asprintf("/proc/%d/cmdline", pid);
	char *parent wfs_autofree = wfs_proc_status(pid, "PPid");
	char *line wfs_autofree = NULL;
	size_t len;

	/* What has ended and is yet to be waited for has none. */
	if (!parent || strtol(parent, NULL, 10) != getpid() ||
	    wfs_file_slurp(path, 4096, &line, &len) != 0)
		return false;
	return len > sizeof("weightfs") &&
	       strcmp(line + sizeof("weightfs"), WFS_GPU_HELPER) == 0;
}

/* The pid of one of them; how many there are. */
static unsigned find_helpers(pid_t *ret_pid)
{
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	unsigned n = 0;

	while (proc && (entry = readdir(proc))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid <= 0 || !is_helper(pid))
			continue;
		*ret_pid = pid;
		n++;
	}
	if (proc)
		closedir(proc);
	return n;
}

unsigned gpu_helpers(void)
{
	pid_t pid;

	return find_helpers(&pid);
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

void gpu_await_helpers(unsigned n)
{
	uint64_t until = wfs_now_ns() + MINUTE_NS;

	while (gpu_helpers() != n) {
		assert_true(wfs_now_ns() < until);
		nap();
	}
}

void gpu_await_used(struct gpu_world *w, uint64_t bytes)
{
	uint64_t until = wfs_now_ns() + MINUTE_NS;

	while (fake_cu_used(w->fake) != bytes) {
		assert_true(wfs_now_ns() < until);
		nap();
	}
}

pid_t gpu_helper(void)
{
	pid_t pid = 0;

	assert_int_equal(1, find_helpers(&pid));
	return pid;
}

/*
 * All of it: the first thread of a process may be gone, and the others still
 * hold what is open.
 */
void gpu_kill_helper(void)
{
	struct pollfd end = { .events = POLLIN };
	struct wfs_proc proc;

	assert_int_equal(0, wfs_proc_find(gpu_helper(), &proc));
	end.fd = wfs_proc_open(&proc);
	assert_true(end.fd >= 0);
	assert_int_equal(0, kill(proc.tgid, SIGKILL));
	assert_int_equal(1, poll(&end, 1, MINUTE_NS / 1000000));
	close(end.fd);
}
