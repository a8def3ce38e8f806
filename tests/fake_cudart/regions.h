/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of the fake's devices in this process, and the allocations that
 * they are of.
 */
#ifndef WFS_TESTS_FAKE_CUDART_REGIONS_H
#define WFS_TESTS_FAKE_CUDART_REGIONS_H

#include "tests/fake_cudart/inner.h"

enum region_kind {
	REGION_FREE,
	REGION_OWN,	 /* of cudaMalloc */
	REGION_IMPORTED, /* of cudaIpcOpenMemHandle */
	REGION_RESERVED, /* addresses that nothing is mapped at */
	REGION_MAPPED,	 /* … that a descriptor's memory is mapped at */
	REGION_POOLED,	 /* of cudaMallocFromPoolAsync */
	REGION_POOL_IMPORTED,
};

struct region {
	uint64_t base;
	size_t size;
	uint64_t id;
	int fd;	      /* -1: none */
	uint64_t off; /* in the file */
	enum region_kind kind;
	bool access; /* may be copied to and from */
};

/* Reserves addresses for it, of which its base is the first. */
void *fake_region_add(const struct region *region);
/* The one that `size` bytes lie in. */
bool fake_region_find(uint64_t at, size_t size, struct region *ret);
/* Is this allocation imported or mapped already? */
bool fake_region_has(uint64_t id);
/* Changes one that is of this base. */
bool fake_region_change(uint64_t base, const struct region *to);
/* Takes it away with its addresses; its descriptor is closed. */
bool fake_region_take(uint64_t base, enum region_kind kind, struct region *ret);

/*
 * Numbers it, on the current device; one of a descriptor is had open already.
 * WFS_CU_NO_MEMORY.
 */
unsigned fake_alloc_add(struct fake_alloc *alloc);
bool fake_alloc_find(uint64_t id, struct fake_alloc *ret);
bool fake_alloc_by_inode(uint64_t inode, struct fake_alloc *ret);
/* Misuse while somebody has it open. */
void fake_alloc_remove(uint64_t id);
/* This process has it open, once more or once less. */
void fake_hold(uint64_t id);
void fake_let_go(uint64_t id);

#endif
