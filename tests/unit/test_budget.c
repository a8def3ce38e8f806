/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The budget, over made-up /proc and cgroup trees.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "core/store/budget.h"
#include "core/store/cgroup.h"
#include "tests/unit/scratch.h"

#define MIB (1024ull * 1024)

static const char mount_v1[] =
	"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup "
	"rw,memory\n";
static const char mount_v2[] =
	"38 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

static void put(void **state, const char *path, const char *text)
{
	scratch_write(*state, path, text, 0);
}

static void put_number(void **state, const char *dir, const char *name,
		       uint64_t value)
{
	char *path wfs_autofree = wfs_asprintf("%s/%s", dir, name);
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64 "\n", value);
	put(state, path, text);
}

static void put_meminfo(void **state, uint64_t total, uint64_t available)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "MemTotal:       %" PRIu64 " kB\nMemFree:        17 kB\n"
		 "MemAvailable:   %" PRIu64 " kB\n",
		 total / 1024, available / 1024);
	put(state, "proc/meminfo", text);
}

static void put_v1(void **state, const char *dir, uint64_t limit,
		   uint64_t usage, const char *stat)
{
	char *path wfs_autofree = wfs_asprintf("%s/memory.stat", dir);

	put_number(state, dir, "memory.limit_in_bytes", limit);
	put_number(state, dir, "memory.usage_in_bytes", usage);
	put(state, path, stat);
}

static void put_v2(void **state, const char *dir, const char *max,
		   uint64_t usage, const char *stat)
{
	char *path wfs_autofree = wfs_asprintf("%s/memory.stat", dir);
	char *max_path wfs_autofree = wfs_asprintf("%s/memory.max", dir);
	char *high wfs_autofree = wfs_asprintf("%s/memory.high", dir);

	put(state, max_path, max);
	put(state, high, "max\n");
	put_number(state, dir, "memory.current", usage);
	put(state, path, stat);
}

static void start(void **state, struct wfs_budget *budget)
{
	const struct scratch *scratch = *state;

	wfs_budget_init(budget, scratch->path);
}

static uint64_t room(void **state)
{
	struct wfs_budget budget;
	uint64_t bytes;

	start(state, &budget);
	bytes = wfs_budget_room(&budget);
	wfs_budget_free(&budget);
	return bytes;
}

static void the_machine_keeps_a_twentieth(void **state)
{
	put_meminfo(state, 1000 * MIB, 400 * MIB);
	assert_int_equal(room(state), 350 * MIB);
	put_meminfo(state, 1000 * MIB, 40 * MIB);
	assert_int_equal(room(state), 0);
}

static void version_1_counts_page_cache_as_room(void **state)
{
	put_meminfo(state, 64000 * MIB, 60000 * MIB);
	put(state, "proc/self/mountinfo", mount_v1);
	put(state, "proc/self/cgroup", "4:memory:/\n0::/\n");
	put_v1(state, "sys/fs/cgroup/memory", 1000 * MIB, 700 * MIB,
	       "cache 419430400\nshmem 104857600\ninactive_file 1\n"
	       "total_shmem 104857600\ntotal_dirty 10485760\n"
	       "total_writeback 0\ntotal_inactive_file 209715200\n"
	       "total_active_file 104857600\n");
	/* 1000 - (700 - 200 - 100 + 10) - 32 */
	assert_int_equal(room(state), 558 * MIB);
}

static void version_2_counts_page_cache_as_room(void **state)
{
	put_meminfo(state, 64000 * MIB, 60000 * MIB);
	put(state, "proc/self/mountinfo", mount_v2);
	put(state, "proc/self/cgroup", "0::/a\n");
	put_v2(state, "sys/fs/cgroup/unified/a", "10485760000\n", 5000 * MIB,
	       "anon 5\nfile 4\nshmem 1\nfile_dirty 0\nfile_writeback 1048576\n"
	       "inactive_file 1048576000\nactive_file 0\n");
	/* 10000 - (5000 - 1000 + 1) - 200: the margin is 2% of a large one */
	assert_int_equal(room(state), 5799 * MIB);
}

static void memory_high_is_a_limit_as_well(void **state)
{
	put_meminfo(state, 64000 * MIB, 60000 * MIB);
	put(state, "proc/self/mountinfo", mount_v2);
	put(state, "proc/self/cgroup", "0::/a\n");
	put_v2(state, "sys/fs/cgroup/unified/a", "max\n", 100 * MIB,
	       "anon 1\n");
	assert_true(room(state) > 50000 * MIB);
	put_number(state, "sys/fs/cgroup/unified/a", "memory.high", 500 * MIB);
	assert_int_equal(room(state), 368 * MIB);
}

static void the_tightest_ancestor_counts(void **state)
{
	struct wfs_budget budget;

	put_meminfo(state, 64000 * MIB, 60000 * MIB);
	put(state, "proc/self/mountinfo", mount_v1);
	put(state, "proc/self/cgroup", "7:cpu:/x\n4:memory:/a/b/c\n");
	put_v1(state, "sys/fs/cgroup/memory", 9223372036854771712ull, 0, "");
	put_v1(state, "sys/fs/cgroup/memory/a", 300 * MIB, 100 * MIB, "");
	put_v1(state, "sys/fs/cgroup/memory/a/b", 9223372036854771712ull,
	       100 * MIB, "");
	put_v1(state, "sys/fs/cgroup/memory/a/b/c", 900 * MIB, 50 * MIB, "");
	assert_int_equal(room(state), 168 * MIB);
	start(state, &budget);
	assert_int_equal(wfs_budget_limit(&budget), 300 * MIB);
	assert_int_equal(wfs_budget_memory(&budget), 64000 * MIB);
	wfs_budget_free(&budget);
}

static void both_versions_count_where_both_are_mounted(void **state)
{
	char both[1024];

	snprintf(both, sizeof(both), "%s%s", mount_v2, mount_v1);
	put_meminfo(state, 64000 * MIB, 60000 * MIB);
	put(state, "proc/self/mountinfo", both);
	put(state, "proc/self/cgroup", "4:memory:/a\n0::/b\n");
	put_v1(state, "sys/fs/cgroup/memory/a", 800 * MIB, 0, "");
	put_v2(state, "sys/fs/cgroup/unified/b", "max\n", 0, "");
	assert_int_equal(room(state), 768 * MIB);
	put_v2(state, "sys/fs/cgroup/unified/b", "209715200\n", 0, "");
	assert_int_equal(room(state), 168 * MIB);
}

static void a_container_may_see_its_own_cgroup_as_the_root(void **state)
{
	put_meminfo(state, 64000 * MIB, 60000 * MIB);
	put_v1(state, "sys/fs/cgroup/memory", 200 * MIB, 0, "");
	put_v1(state, "sys/fs/cgroup/memory/sub", 100 * MIB, 0, "");
	/* The mount shows /docker/1, and we are in it, or below it. */
	put(state, "proc/self/mountinfo",
	    "35 31 0:32 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup "
	    "rw,memory\n");
	put(state, "proc/self/cgroup", "4:memory:/docker/1\n");
	assert_int_equal(room(state), 168 * MIB);
	put(state, "proc/self/cgroup", "4:memory:/docker/1/sub\n");
	assert_int_equal(room(state), 68 * MIB);
	/* A path that the mount does not show, that is outside of it. */
	put(state, "proc/self/cgroup", "4:memory:/docker/1/not-there\n");
	assert_int_equal(room(state), 168 * MIB);
	put(state, "proc/self/cgroup", "4:memory:/docker/12\n");
	assert_int_equal(room(state), 168 * MIB);
	put(state, "proc/self/cgroup", "4:memory:/../../elsewhere\n");
	assert_int_equal(room(state), 168 * MIB);
}

static void a_mount_point_may_have_a_space_in_its_name(void **state)
{
	put_meminfo(state, 64000 * MIB, 60000 * MIB);
	put(state, "proc/self/mountinfo",
	    "38 31 0:38 / /my\\040groups rw shared:1 - cgroup2 none rw\n");
	put(state, "proc/self/cgroup", "0::/\n");
	put_v2(state, "my groups", "209715200\n", 0, "");
	assert_int_equal(room(state), 168 * MIB);
}

static void a_machine_that_says_nothing_has_no_bound(void **state)
{
	assert_int_equal(room(state), UINT64_MAX);
	put(state, "proc/self/mountinfo", "nonsense\n1 2 3 - \n - \n");
	put(state, "proc/self/cgroup", "nonsense\n::\n:\n");
	put(state, "proc/meminfo", "MemTotal\nMemAvailable:");
	assert_true(room(state) > 0);
}

static void what_is_taken_is_not_given_twice(void **state)
{
	struct wfs_budget budget;
	uint64_t lack = 0;

	put_meminfo(state, 1000 * MIB, 150 * MIB); /* room 100 */
	start(state, &budget);
	assert_int_equal(wfs_budget_take(&budget, 60 * MIB, &lack), 0);
	assert_int_equal(wfs_budget_take(&budget, 60 * MIB, &lack), -ENOSPC);
	assert_int_equal(lack, 20 * MIB);
	assert_int_equal(wfs_budget_room(&budget), 40 * MIB);
	wfs_budget_settle(&budget, 60 * MIB, false);
	assert_int_equal(wfs_budget_take(&budget, 100 * MIB, &lack), 0);
	/* Allocated, and the kernel says so. */
	put_meminfo(state, 1000 * MIB, 50 * MIB);
	wfs_budget_settle(&budget, 100 * MIB, true);
	assert_int_equal(wfs_budget_take(&budget, 1, &lack), -ENOSPC);
	assert_int_equal(lack, 1);
	wfs_budget_free(&budget);
}

static void a_refusal_is_never_from_an_old_answer(void **state)
{
	struct wfs_budget budget;
	uint64_t lack;

	put_meminfo(state, 1000 * MIB, 60 * MIB); /* room 10 */
	start(state, &budget);
	put_meminfo(state, 1000 * MIB, 950 * MIB);
	assert_int_equal(wfs_budget_take(&budget, 500 * MIB, &lack), 0);
	wfs_budget_free(&budget);
}

static void much_is_never_allocated_on_an_old_answer(void **state)
{
	struct wfs_budget budget;
	uint64_t lack, got = 0;

	put_meminfo(state, 4000 * MIB, 1200 * MIB); /* room 1000 */
	start(state, &budget);
	/* Meanwhile somebody else takes all of it. */
	put_meminfo(state, 4000 * MIB, 200 * MIB);
	while (!wfs_budget_take(&budget, MIB, &lack)) {
		wfs_budget_settle(&budget, MIB, true);
		got += MIB;
		assert_true(got < 1000 * MIB);
	}
	assert_true(got <= 66 * MIB);
	wfs_budget_free(&budget);
}

static void a_move_to_another_cgroup_is_noticed(void **state)
{
	struct wfs_budget budget;

	put_meminfo(state, 64000 * MIB, 60000 * MIB);
	put(state, "proc/self/mountinfo", mount_v1);
	put(state, "proc/self/cgroup", "4:memory:/a\n");
	put_v1(state, "sys/fs/cgroup/memory/a", 300 * MIB, 0, "");
	put_v1(state, "sys/fs/cgroup/memory/b", 200 * MIB, 0, "");
	start(state, &budget);
	assert_int_equal(wfs_budget_room(&budget), 268 * MIB);
	put(state, "proc/self/cgroup", "4:memory:/b\n");
	assert_int_equal(wfs_budget_room(&budget), 168 * MIB);
	wfs_budget_free(&budget);
}

static void this_machine_has_memory(void **state)
{
	struct wfs_budget budget;

	(void)state;
	wfs_budget_init(&budget, "");
	assert_true(wfs_budget_memory(&budget) > MIB);
	assert_true(wfs_budget_memory(&budget) < 1ull << 50);
	assert_true(wfs_budget_room(&budget) <= wfs_budget_memory(&budget));
	wfs_budget_free(&budget);
}

#define S(name)                                                                \
	cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		S(the_machine_keeps_a_twentieth),
		S(version_1_counts_page_cache_as_room),
		S(version_2_counts_page_cache_as_room),
		S(memory_high_is_a_limit_as_well),
		S(the_tightest_ancestor_counts),
		S(both_versions_count_where_both_are_mounted),
		S(a_container_may_see_its_own_cgroup_as_the_root),
		S(a_mount_point_may_have_a_space_in_its_name),
		S(a_machine_that_says_nothing_has_no_bound),
		S(what_is_taken_is_not_given_twice),
		S(a_refusal_is_never_from_an_old_answer),
		S(much_is_never_allocated_on_an_old_answer),
		S(a_move_to_another_cgroup_is_noticed),
		S(this_machine_has_memory),
	};

	return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
