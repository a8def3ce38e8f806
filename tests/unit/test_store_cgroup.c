/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store inside a real memory cgroup that is smaller than what is wanted:
 * it refuses or evicts, and is not killed.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tests/unit/store_fixture.h"

#define LIMIT	  (256 * MIB)
#define FILE_SIZE (8 * MIB)

static bool write_to(const char *dir, const char *name, const char *text)
{
	char *path wfs_autofree = wfs_asprintf("%s/%s", dir, name);
	int fd wfs_autoclose = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len = (ssize_t)strlen(text);

	return fd >= 0 && write(fd, text, (size_t)len) == len;
}

/* A new cgroup with the limit; NULL where none can be had. */
static char *cgroup_new(void)
{
	static const char *const roots[] = { "/sys/fs/cgroup/memory",
					     "/sys/fs/cgroup",
					     "/sys/fs/cgroup/unified" };
	char limit[32];

	snprintf(limit, sizeof(limit), "%llu", LIMIT);
	for (unsigned i = 0; i < 3; i++) {
		char *dir = wfs_asprintf("%s/weightfs-test-%d", roots[i],
					 (int)getpid());

		if (i)
			write_to(roots[i], "cgroup.subtree_control", "+memory");
		if (!mkdir(dir, 0755)) {
			if (write_to(dir, "memory.limit_in_bytes", limit) ||
			    write_to(dir, "memory.max", limit))
				return dir;
			rmdir(dir);
		}
		free(dir);
	}
	return NULL;
}

static void cgroup_free(char *dir)
{
	struct timespec nap = { .tv_nsec = 10000000 };

	/* The child's last charges go a little after it. */
	for (int i = 0; i < 1000 && rmdir(dir) && errno == EBUSY; i++)
		nanosleep(&nap, NULL);
	free(dir);
}

/* Runs `body` in the cgroup; its exit status, or -signal. */
static int run_in_cgroup(int (*body)(void))
{
	char *dir = cgroup_new();
	int status;
	pid_t pid;

	if (!dir) {
		print_message("skipped: no memory cgroup can be made here\n");
		skip();
	}
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (!write_to(dir, "cgroup.procs", "0"))
			_exit(90);
		_exit(body());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	cgroup_free(dir);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static bool right_by_read(struct bench *b, uint64_t key, void *buf)
{
	struct slice slice;

	slice_init(&slice, b->src, key * FILE_SIZE, FILE_SIZE);
	return wfs_store_read(b->store, key, &slice.recipe, buf, FILE_SIZE,
			      0) == (ssize_t)FILE_SIZE &&
	       pattern_check(buf, FILE_SIZE, key * FILE_SIZE) == -1;
}

static int pin_all(void)
{
	void *buf = wfs_malloc(FILE_SIZE);
	int got = 0, refused = 0;
	struct bench b;

	/* The arena would hold all of it twice; the cgroup holds a fifth. */
	bench_open(&b, 2048 * MIB, 1024 * MIB);
	for (uint64_t key = 0; key < 128; key++) {
		int rc = bench_acquire(&b, key, key * FILE_SIZE, FILE_SIZE);

		if (rc > 0)
			got++;
		else if (rc == -ENOSPC)
			refused++;
		else
			return 2;
		if (!right_by_read(&b, key, buf))
			return 3;
	}
	bench_close(&b);
	free(buf);
	return got > 0 && refused > 0 && got * FILE_SIZE < LIMIT ? 0 : 4;
}

static int visit_all(void)
{
	void *buf = wfs_malloc(FILE_SIZE);
	struct wfs_store_stats stats;
	struct bench b;

	bench_open(&b, 2048 * MIB, 1024 * MIB);
	for (uint64_t key = 0; key < 128; key++) {
		if (bench_acquire(&b, key, key * FILE_SIZE, FILE_SIZE) <= 0)
			return 2;
		if (!right_by_read(&b, key, buf))
			return 3;
		wfs_store_release(b.store, key);
	}
	wfs_store_stats(b.store, &stats);
	bench_close(&b);
	free(buf);
	return stats.evicted_files > 90 && stats.refused == 0 ? 0 : 4;
}

static int default_arena(void)
{
	const struct wfs_store_config config = { .hydrators = 1 };
	struct wfs_store_stats stats;
	struct bench b;

	bench_open_config(&b, &config, MIB);
	wfs_store_stats(b.store, &stats);
	bench_close(&b);
	return stats.arena_bytes <= LIMIT ? 0 : 4;
}

/* Not in the child, whose skip would be lost. */
static void need_arena(void)
{
	struct bench b;

#ifdef __SANITIZE_THREAD__
	print_message("skipped: the thread sanitizer needs several times the "
		      "memory that it watches\n");
	skip();
#endif

	bench_open(&b, 2 * MIB, MIB);
	bench_close(&b);
}

static void a_pinned_cgroup_refuses_and_nobody_is_killed(void **state)
{
	(void)state;
	need_arena();
	assert_int_equal(run_in_cgroup(pin_all), 0);
}

static void a_small_cgroup_evicts_to_make_room(void **state)
{
	(void)state;
	need_arena();
	assert_int_equal(run_in_cgroup(visit_all), 0);
}

static void the_arena_is_not_larger_than_the_cgroup(void **state)
{
	(void)state;
	need_arena();
	assert_int_equal(run_in_cgroup(default_arena), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_pinned_cgroup_refuses_and_nobody_is_killed),
		T(a_small_cgroup_evicts_to_make_room),
		T(the_arena_is_not_larger_than_the_cgroup),
	};

	return cmocka_run_group_tests_name("store_cgroup", tests, NULL, NULL);
}
