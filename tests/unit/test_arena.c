/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arena: what the kernel promises about a tmpfs of our own.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/store/arena.h"
#include "core/store/arena_clone.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define MIB (1024ull * 1024)

static struct wfs_arena open_arena(uint64_t bytes)
{
	struct wfs_arena arena;
	struct wfs_err err = { 0 };
	int rc = wfs_arena_open(bytes, &arena, &err);

	if (rc == -EPERM || rc == -ENOSYS) {
		print_message("skipped: %s\n", err.text);
		skip();
	}
	if (rc)
		fail_msg("%s", err.text);
	return arena;
}

static void a_file_has_its_size_and_all_its_space_at_once(void **state)
{
	static const uint64_t sizes[] = { 0,   1,	4096,	    4097,
					  MIB, 2 * MIB, 3 * MIB + 5 };
	struct wfs_arena arena = open_arena(64 * MIB);
	uint64_t sum = 0;

	(void)state;
	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		int fd = wfs_arena_create(&arena, i, sizes[i]);
		struct stat st;

		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, sizes[i]);
		assert_int_equal(st.st_blocks * 512, wfs_arena_cost(sizes[i]));
		assert_int_equal(st.st_mode & 07777, 0444);
		sum += wfs_arena_cost(sizes[i]);
		assert_int_equal(wfs_arena_used(&arena), sum);
		close(fd);
	}
	assert_int_equal(wfs_arena_create(&arena, 0, 1), -EEXIST);
	wfs_arena_close(&arena);
}

static void small_files_take_what_they_hold(void **state)
{
	enum { N = 10000 };
	struct wfs_arena arena = open_arena(64 * MIB);

	(void)state;
	for (uint32_t i = 0; i < N; i++) {
		int fd = wfs_arena_create(&arena, i, 4096);

		assert_true(fd >= 0);
		close(fd);
	}
	assert_true(wfs_arena_used(&arena) <= N * 4096 / 100 * 105);
	wfs_arena_close(&arena);
}

static void a_large_file_gets_huge_pages(void **state)
{
	struct wfs_arena arena = open_arena(64 * MIB);
	struct rusage before, after;
	int fd = wfs_arena_create(&arena, 1, 16 * MIB);
	char *map;

	(void)state;
	if (!arena.huge) {
		print_message("skipped: this kernel has no huge tmpfs pages\n");
		close(fd);
		wfs_arena_close(&arena);
		skip();
	}
	map = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	getrusage(RUSAGE_THREAD, &before);
	/* By the kernel: a sanitizer would have faults of its own. */
	assert_int_equal(madvise(map, 16 * MIB, MADV_POPULATE_WRITE), 0);
	getrusage(RUSAGE_THREAD, &after);
	/* 8 if all are huge, 4096 if none is; some may not be to be had. */
	assert_true(after.ru_minflt - before.ru_minflt < 2048);
	munmap(map, 16 * MIB);
	close(fd);
	wfs_arena_close(&arena);
}

static void a_full_arena_says_so_and_takes_nothing(void **state)
{
	struct wfs_arena arena = open_arena(8 * MIB);
	int fd = wfs_arena_create(&arena, 1, 6 * MIB);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(wfs_arena_create(&arena, 2, 3 * MIB), -ENOSPC);
	assert_int_equal(wfs_arena_used(&arena), 6 * MIB);
	/* Nor is the name taken. */
	fd = wfs_arena_create(&arena, 2, 2 * MIB);
	assert_true(fd >= 0);
	close(fd);
	wfs_arena_unlink(&arena, 1);
	wfs_arena_unlink(&arena, 2);
	assert_int_equal(wfs_arena_used(&arena), 0);
	wfs_arena_close(&arena);
}

static void a_reopened_file_cannot_be_written_by_any_way(void **state)
{
	struct wfs_arena arena = open_arena(8 * MIB);
	int rw = wfs_arena_create(&arena, 1, 4096);
	int ro = wfs_arena_reopen(&arena, 1);
	char path[64];

	(void)state;
	assert_true(rw >= 0 && ro >= 0);
	close(rw);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ro);
	assert_int_equal(open(path, O_RDWR), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(open(path, O_WRONLY | O_TRUNC), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(truncate(path, 0), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(fchmod(ro, 0666), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(ftruncate(ro, 0), -1);
	assert_int_equal(fallocate(ro,
				   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   0, 4096),
			 -1);
	assert_int_equal(pwrite(ro, "x", 1, 0), -1);
	assert_ptr_equal(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, ro, 0),
			 MAP_FAILED);
	close(ro);
	wfs_arena_close(&arena);
}

static void a_file_is_idle_when_nobody_opened_or_maps_it(void **state)
{
	struct wfs_arena arena = open_arena(8 * MIB);
	int rw = wfs_arena_create(&arena, 1, 4096);
	int fd = wfs_arena_reopen(&arena, 1);
	int other;
	void *map;

	(void)state;
	assert_false(wfs_arena_idle(fd)); /* open for writing */
	close(rw);
	assert_true(wfs_arena_idle(fd));
	other = wfs_arena_reopen(&arena, 1);
	assert_false(wfs_arena_idle(fd));
	map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, other, 0);
	close(other);
	assert_false(wfs_arena_idle(fd));
	munmap(map, 4096);
	assert_true(wfs_arena_idle(fd));
	assert_int_equal(fcntl(fd, F_GETLEASE), F_UNLCK);
	close(fd);
	wfs_arena_close(&arena);
}

static void an_unlinked_file_counts_until_it_is_unmapped(void **state)
{
	struct wfs_arena arena = open_arena(8 * MIB);
	int fd = wfs_arena_create(&arena, 1, 4 * MIB);
	char *map = mmap(NULL, 4 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	(void)state;
	assert_true(map != MAP_FAILED);
	wfs_arena_unlink(&arena, 1);
	close(fd);
	assert_int_equal(wfs_arena_used(&arena), 4 * MIB);
	assert_int_equal(map[3 * MIB], 0);
	munmap(map, 4 * MIB);
	assert_int_equal(wfs_arena_used(&arena), 0);
	wfs_arena_close(&arena);
}

static void the_arena_is_mounted_nowhere(void **state)
{
	struct wfs_arena arena = open_arena(8 * MIB);
	char *before wfs_autofree = NULL, *after wfs_autofree = NULL;
	size_t len;

	(void)state;
	assert_int_equal(wfs_file_slurp("/proc/self/mountinfo", 1u << 24,
					&before, &len),
			 0);
	wfs_arena_close(&arena);
	assert_int_equal(wfs_file_slurp("/proc/self/mountinfo", 1u << 24,
					&after, &len),
			 0);
	assert_string_equal(before, after);
}

static void the_clone_of_older_kernels_is_as_good(void **state)
{
	struct wfs_arena arena = open_arena(8 * MIB);
	char *before wfs_autofree = NULL, *mounts wfs_autofree = NULL;
	int clone, file;
	size_t len;

	(void)state;
	assert_int_equal(wfs_file_slurp("/proc/self/mountinfo", 1u << 24,
					&before, &len),
			 0);
	clone = wfs_arena_clone_aside(arena.ro);
	file = wfs_arena_create(&arena, 7, 4096);
	assert_true(clone >= 0 && file >= 0);
	assert_int_equal(faccessat(clone, "00000007", F_OK, 0), 0);
	assert_int_equal(wfs_file_slurp("/proc/self/mountinfo", 1u << 24,
					&mounts, &len),
			 0);
	assert_string_equal(mounts, before);
	assert_int_equal(wfs_arena_used(&arena), 4096);
	close(file);
	close(clone);
	wfs_arena_close(&arena);
}

static void without_privilege_a_sentence_says_what_is_missing(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (!pid) {
		struct wfs_arena arena;
		struct wfs_err err = { 0 };
		int rc;

		if (geteuid() == 0 && setresuid(65534, 65534, 65534))
			_exit(2);
		rc = wfs_arena_open(8 * MIB, &arena, &err);
		_exit(rc == -EPERM &&
				      strstr(err.text,
					     "cannot make the arena") &&
				      strstr(err.text, "CAP_SYS_ADMIN") ?
			      0 :
			      1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_size_that_cannot_be_is_refused(void **state)
{
	struct wfs_arena arena;
	struct wfs_err err = { 0 };

	(void)state;
	assert_int_equal(wfs_arena_open(0, &arena, &err), -EINVAL);
	assert_int_equal(wfs_arena_open(UINT64_MAX, &arena, &err), -EINVAL);
}

/* What others mount meanwhile, other tests among them, is not seen here. */
static int leave_the_mounts_of_others(void **state)
{
	(void)state;
	if (!unshare(CLONE_NEWNS))
		assert_int_equal(
			mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_file_has_its_size_and_all_its_space_at_once),
		T(small_files_take_what_they_hold),
		T(a_large_file_gets_huge_pages),
		T(a_full_arena_says_so_and_takes_nothing),
		T(a_reopened_file_cannot_be_written_by_any_way),
		T(a_file_is_idle_when_nobody_opened_or_maps_it),
		T(an_unlinked_file_counts_until_it_is_unmapped),
		T(the_arena_is_mounted_nowhere),
		T(the_clone_of_older_kernels_is_as_good),
		T(without_privilege_a_sentence_says_what_is_missing),
		T(a_size_that_cannot_be_is_refused),
	};

	return cmocka_run_group_tests_name("arena", tests,
					   leave_the_mounts_of_others, NULL);
}
