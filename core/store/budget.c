/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The budget over what the kernel says of cgroups and the machine.
 *
 * Reading memory.stat for every tensor of 4 KiB would cost more than copying
 * it, so an answer is used until an eighth of it, or 64 MiB, or a second is
 * spent; before a refusal it is always read again.
 */
#include "core/store/budget.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/least.h"
#include "core/base/text.h"
#include "core/store/cgroup.h"

#define STEP_MAX   (64ull << 20)
#define MAX_AGE_NS 1000000000ull

/* The machine keeps this part of its memory. */
#define KEEP_SHARE 20

static uint64_t machine_room(const char *root)
{
	uint64_t total = wfs_meminfo(root, "MemTotal");
	uint64_t available = wfs_meminfo(root, "MemAvailable");

	if (total == UINT64_MAX || available == UINT64_MAX)
		return UINT64_MAX;
	total /= KEEP_SHARE;
	return available > total ? available - total : 0;
}

/* We may have been moved to another cgroup since. */
static void find_groups(struct wfs_budget *budget)
{
	char *path wfs_autofree =
		wfs_asprintf("%s/proc/self/cgroup", budget->root);
	char *self wfs_autofree = NULL;
	size_t len;

	if (budget->self && !wfs_file_slurp(path, 1u << 20, &self, &len) &&
	    !strcmp(self, budget->self))
		return;
	wfs_cgroup_free(budget->groups, budget->n);
	free(budget->self);
	budget->n =
		wfs_cgroup_find(budget->root, &budget->groups, &budget->self);
}

static void read_room(struct wfs_budget *budget)
{
	uint64_t room;

	find_groups(budget);
	room = machine_room(budget->root);
	for (unsigned i = 0; i < budget->n; i++)
		room = wfs_least(room, wfs_cgroup_room(&budget->groups[i]));
	budget->room = room;
	budget->step = wfs_least(room / 8, STEP_MAX);
	budget->spent = 0;
	budget->read_at = wfs_now_ns();
}

static uint64_t left(const struct wfs_budget *budget)
{
	return budget->room > budget->pending ? budget->room - budget->pending :
						0;
}

void wfs_budget_init(struct wfs_budget *budget, const char *root)
{
	*budget = (struct wfs_budget){ .root = wfs_strdup(root) };
	pthread_mutex_init(&budget->lock, NULL);
	read_room(budget);
}

void wfs_budget_free(struct wfs_budget *budget)
{
	wfs_cgroup_free(budget->groups, budget->n);
	free(budget->self);
	free(budget->root);
	pthread_mutex_destroy(&budget->lock);
}

uint64_t wfs_budget_room(struct wfs_budget *budget)
{
	uint64_t room;

	pthread_mutex_lock(&budget->lock);
	read_room(budget);
	room = left(budget);
	pthread_mutex_unlock(&budget->lock);
	return room;
}

uint64_t wfs_budget_memory(struct wfs_budget *budget)
{
	return wfs_meminfo(budget->root, "MemTotal");
}

uint64_t wfs_budget_limit(struct wfs_budget *budget)
{
	uint64_t limit = UINT64_MAX;

	pthread_mutex_lock(&budget->lock);
	for (unsigned i = 0; i < budget->n; i++)
		limit = wfs_least(limit, wfs_cgroup_limit(&budget->groups[i]));
	pthread_mutex_unlock(&budget->lock);
	return limit;
}

int wfs_budget_take(struct wfs_budget *budget, uint64_t bytes,
		    uint64_t *ret_lack)
{
	int rc = 0;

	pthread_mutex_lock(&budget->lock);
	if (bytes > left(budget) || budget->spent > budget->step ||
	    wfs_now_ns() - budget->read_at > MAX_AGE_NS)
		read_room(budget);
	if (bytes > left(budget)) {
		*ret_lack = bytes - left(budget);
		rc = -ENOSPC;
	} else {
		budget->pending += bytes;
	}
	pthread_mutex_unlock(&budget->lock);
	return rc;
}

void wfs_budget_settle(struct wfs_budget *budget, uint64_t bytes,
		       bool allocated)
{
	pthread_mutex_lock(&budget->lock);
	budget->pending -= bytes;
	if (allocated) {
		budget->spent += bytes;
		budget->room -= wfs_least(bytes, budget->room);
	}
	pthread_mutex_unlock(&budget->lock);
}

void wfs_budget_freed(struct wfs_budget *budget)
{
	pthread_mutex_lock(&budget->lock);
	budget->read_at = 0;
	pthread_mutex_unlock(&budget->lock);
}
