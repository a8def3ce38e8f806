/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See regions.h.
 */
#include "tests/fake_cudart/regions.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGIONS 512

static struct region regions[REGIONS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* With the lock. */
static struct region *find(uint64_t at, size_t size)
{
	for (int i = 0; i < REGIONS; i++) {
		struct region *r = &regions[i];

		if (r->kind != REGION_FREE && at >= r->base &&
		    at + size <= r->base + r->size)
			return r;
	}
	return NULL;
}

void *fake_region_add(const struct region *region)
{
	void *at = mmap(NULL, region->size, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		fake_misuse("no addresses are left");
	pthread_mutex_lock(&lock);
	for (int i = 0; i < REGIONS; i++) {
		if (regions[i].kind != REGION_FREE)
			continue;
		regions[i] = *region;
		regions[i].base = (uint64_t)(uintptr_t)at;
		pthread_mutex_unlock(&lock);
		return at;
	}
	fake_misuse("more regions than the fake has room for");
}

bool fake_region_find(uint64_t at, size_t size, struct region *ret)
{
	struct region *found;

	pthread_mutex_lock(&lock);
	found = find(at, size);
	if (found)
		*ret = *found;
	pthread_mutex_unlock(&lock);
	return found;
}

bool fake_region_has(uint64_t id)
{
	bool has = false;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < REGIONS && !has; i++)
		has = regions[i].kind != REGION_FREE && regions[i].id == id;
	pthread_mutex_unlock(&lock);
	return has;
}

bool fake_region_change(uint64_t base, const struct region *to)
{
	struct region *found;

	pthread_mutex_lock(&lock);
	found = find(base, 1);
	if (found)
		*found = *to;
	pthread_mutex_unlock(&lock);
	return found;
}

bool fake_region_take(uint64_t base, enum region_kind kind, struct region *ret)
{
	struct region *found;

	pthread_mutex_lock(&lock);
	found = find(base, 1);
	if (found && (found->base != base || found->kind != kind))
		found = NULL;
	if (found) {
		*ret = *found;
		found->kind = REGION_FREE;
	}
	pthread_mutex_unlock(&lock);
	if (!found)
		return false;
	if (ret->fd >= 0)
		close(ret->fd);
	munmap((void *)(uintptr_t)ret->base, ret->size);
	return true;
}

int fake_backing(uint64_t ptr, size_t size, uint64_t *ret_off)
{
	struct region region;

	if (!fake_region_find(ptr, size, &region) || !region.access)
		return -1;
	*ret_off = ptr - region.base + region.off;
	return region.fd;
}

/* With the control's lock. */
static struct fake_alloc *alloc_of(uint64_t id)
{
	struct fake_alloc *allocs = fake_control()->allocs;

	for (int i = 0; i < FAKE_ALLOCS; i++) {
		if (allocs[i].id == id)
			return &allocs[i];
	}
	return NULL;
}

/* With the control's lock. */
static void hold(struct fake_control *control, uint64_t id)
{
	int i = 0;

	while (i < FAKE_OPENS && control->holders[i].id)
		i++;
	if (i == FAKE_OPENS)
		fake_misuse("more is open than the fake has room for");
	control->holders[i] = (struct fake_holder){ id, getpid() };
}

unsigned fake_alloc_add(struct fake_alloc *alloc)
{
	struct fake_control *control = fake_control();
	uint64_t used = 0;
	struct fake_alloc *free;

	alloc->device = fake_current_device();
	alloc->owner = getpid();
	alloc->uid = geteuid();
	fake_cu_lock(control);
	fake_cu_reap(control);
	for (int i = 0; i < FAKE_ALLOCS; i++) {
		if (control->allocs[i].id &&
		    control->allocs[i].device == alloc->device)
			used += control->allocs[i].size;
	}
	free = alloc_of(0);
	if (free && alloc->size &&
	    used + alloc->size <= control->capacity[alloc->device]) {
		alloc->id = control->next_id++;
		*free = *alloc;
		if (alloc->descriptor)
			hold(control, alloc->id);
	}
	fake_cu_unlock(control);
	return alloc->id ? WFS_CU_OK : WFS_CU_NO_MEMORY;
}

bool fake_alloc_find(uint64_t id, struct fake_alloc *ret)
{
	struct fake_control *control = fake_control();
	struct fake_alloc *found;

	fake_cu_lock(control);
	fake_cu_reap(control);
	found = id ? alloc_of(id) : NULL;
	if (found)
		*ret = *found;
	fake_cu_unlock(control);
	return found;
}

bool fake_alloc_by_inode(uint64_t inode, struct fake_alloc *ret)
{
	struct fake_control *control = fake_control();
	bool found = false;

	fake_cu_lock(control);
	fake_cu_reap(control);
	for (int i = 0; i < FAKE_ALLOCS && !found; i++) {
		found = control->allocs[i].id &&
			control->allocs[i].descriptor &&
			control->allocs[i].inode == inode;
		if (found)
			*ret = control->allocs[i];
	}
	fake_cu_unlock(control);
	return found;
}

void fake_alloc_remove(uint64_t id)
{
	struct fake_control *control = fake_control();
	bool open = false;

	fake_cu_lock(control);
	fake_cu_reap(control);
	for (int i = 0; i < FAKE_OPENS; i++)
		open |= control->holders[i].id == id;
	if (!open && alloc_of(id))
		alloc_of(id)->id = 0;
	fake_cu_unlock(control);
	if (open)
		fake_misuse("memory is freed that others have open");
}

void fake_hold(uint64_t id)
{
	struct fake_control *control = fake_control();

	fake_cu_lock(control);
	hold(control, id);
	fake_cu_unlock(control);
}

void fake_let_go(uint64_t id)
{
	struct fake_control *control = fake_control();

	fake_cu_lock(control);
	for (int i = 0; i < FAKE_OPENS; i++) {
		if (control->holders[i].id == id &&
		    control->holders[i].pid == getpid()) {
			control->holders[i].id = 0;
			break;
		}
	}
	fake_cu_reap(control);
	fake_cu_unlock(control);
}
