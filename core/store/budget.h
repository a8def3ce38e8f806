/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The budget: how much memory may still be allocated here.
 *
 * Allocating arena space under a memory cgroup's limit gets the process
 * killed instead of an error, so every allocation asks first.  The room is
 * the least of
 *   - for our own cgroup and each of its ancestors, of version 1 and 2:
 *     limit - (usage - page cache that the kernel can take back) - a margin;
 *   - what is available on the machine, less a twentieth of its memory.
 * Space that was taken but is not allocated yet counts as used.  What the
 * kernel says is read anew only when it can have changed enough to matter.
 */
#ifndef WFS_CORE_STORE_BUDGET_H
#define WFS_CORE_STORE_BUDGET_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct wfs_cgroup {
	char *dir; /* where its files are */
	int version;
};

struct wfs_budget {
	pthread_mutex_t lock;
	char *root; /* in front of every path: "" but in tests */
	char *self; /* /proc/self/cgroup as it was when groups was made */
	struct wfs_cgroup *groups;
	unsigned n;
	uint64_t room;	  /* as last read, less what was allocated since */
	uint64_t step;	  /* allocate this much and it is read again */
	uint64_t spent;	  /* allocated since it was read */
	uint64_t pending; /* taken, not allocated yet */
	uint64_t read_at; /* ns */
};

/* `root`: "" for this machine, a directory with proc/ and so on in tests. */
void wfs_budget_init(struct wfs_budget *budget, const char *root);
void wfs_budget_free(struct wfs_budget *budget);

/* The room now, read afresh, less what is pending. */
uint64_t wfs_budget_room(struct wfs_budget *budget);

/* The machine's memory, and the least limit of a cgroup (UINT64_MAX: none). */
uint64_t wfs_budget_memory(struct wfs_budget *budget);
uint64_t wfs_budget_limit(struct wfs_budget *budget);

/*
 * Takes `bytes` of the room; 0, or -ENOSPC and in *ret_lack how many bytes
 * are missing.  What was taken is settled once it is allocated, or given up.
 */
int wfs_budget_take(struct wfs_budget *budget, uint64_t bytes,
		    uint64_t *ret_lack);
void wfs_budget_settle(struct wfs_budget *budget, uint64_t bytes,
		       bool allocated);

/* `bytes` were freed: there is more room than was read. */
void wfs_budget_freed(struct wfs_budget *budget);

#endif
