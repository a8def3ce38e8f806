/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor on memory: can there be an arena, of which size, with huge
 * pages?
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/store/arena.h"
#include "core/store/budget.h"
#include "tools/doctor.h"
#include "tools/process.h"

#define SHMEM_FILE  "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define TRIAL_BYTES (2 * (uint64_t)WFS_HUGE_PAGE)

/* A file of it, written and read: memory may be refused at the last step. */
static int try_file(const struct wfs_arena *arena)
{
	int fd wfs_autoclose = wfs_arena_create(arena, 1, TRIAL_BYTES);
	int again wfs_autoclose = -1;
	char byte = 0;

	if (fd < 0)
		return fd;
	again = wfs_arena_reopen(arena, 1);
	if (again < 0)
		return again;
	if (pwrite(fd, "w", 1, (off_t)TRIAL_BYTES - 1) != 1 ||
	    pread(again, &byte, 1, (off_t)TRIAL_BYTES - 1) != 1)
		return -errno;
	return byte == 'w' ? 0 : -EIO;
}

static bool is_denied(void)
{
	char *text wfs_autofree = NULL;
	size_t len;

	return wfs_file_slurp(SHMEM_FILE, 4096, &text, &len) == 0 &&
	       strstr(text, "[deny]");
}

static void check_huge(struct wfs_findings *found, bool huge)
{
	if (huge)
		wfs_findings_add(found, "huge pages", WFS_LEVEL_OK, NULL,
				 "the arena has them");
	else if (is_denied())
		wfs_findings_add(found, "huge pages", WFS_LEVEL_SLOW,
				 "echo never > " SHMEM_FILE
				 " (the arena asks for its own)",
				 "'" SHMEM_FILE "' denies them to all");
	else
		wfs_findings_add(found, "huge pages", WFS_LEVEL_SLOW,
				 "run a kernel built with "
				 "CONFIG_TRANSPARENT_HUGEPAGE",
				 "the arena cannot have them");
}

static bool check_arena(struct wfs_findings *found)
{
	struct wfs_err err = { 0 };
	struct wfs_arena arena;
	int rc;

	if (!wfs_process_is_admin()) {
		wfs_findings_add(found, "arena", WFS_LEVEL_SLOW,
				 "run as root, or with CAP_SYS_ADMIN",
				 "not for us: tensors are served by reads");
		return false;
	}
	rc = wfs_arena_open(TRIAL_BYTES, &arena, &err);
	if (rc) {
		wfs_findings_add(found, "arena", WFS_LEVEL_SLOW,
				 "run as root outside a container's user "
				 "namespace, on a kernel 5.12 or later",
				 "%s", err.text);
		return false;
	}
	rc = try_file(&arena);
	if (rc)
		wfs_findings_add(found, "arena", WFS_LEVEL_SLOW, NULL,
				 "tried in vain: %s", strerror(-rc));
	else
		wfs_findings_add(found, "arena", WFS_LEVEL_OK, NULL,
				 "tried, and it works");
	if (!rc)
		check_huge(found, arena.huge);
	wfs_arena_close(&arena);
	return rc == 0;
}

static void check_room(struct wfs_findings *found, uint64_t want, uint64_t room)
{
	char a[32], b[32];

	wfs_size_format(want, a, sizeof(a));
	wfs_size_format(room, b, sizeof(b));
	if (room >= want)
		wfs_findings_add(found, "memory", WFS_LEVEL_OK, NULL,
				 "%s for the arena, %s may be allocated", a, b);
	else
		wfs_findings_add(
			found, "memory", WFS_LEVEL_SLOW,
			"free memory, raise the cgroup's limit, or "
			"mount with a smaller arena_size",
			"%s for the arena, but only %s may be allocated", a, b);
}

static void check_cgroup(struct wfs_findings *found, uint64_t limit,
			 uint64_t memory)
{
	char a[32];

	if (limit >= memory)
		wfs_findings_add(found, "memory cgroup", WFS_LEVEL_OK, NULL,
				 "no limit below the machine's memory");
	else
		wfs_findings_add(found, "memory cgroup", WFS_LEVEL_OK, NULL,
				 "limited to %s; the arena counts",
				 wfs_size_format(limit, a, sizeof(a)));
}

void wfs_doctor_memory(struct wfs_findings *found, uint64_t arena_size)
{
	struct wfs_budget budget;
	uint64_t memory, limit, room, want;

	wfs_budget_init(&budget, "");
	memory = wfs_budget_memory(&budget);
	limit = wfs_budget_limit(&budget);
	room = wfs_budget_room(&budget);
	wfs_budget_free(&budget);
	want = arena_size ? arena_size : memory / 4;
	if (check_arena(found))
		found->arena = want < room ? want : room;
	check_room(found, want, room);
	check_cgroup(found, limit, memory);
}
