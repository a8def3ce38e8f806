/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Node ids are computed, never handed out: nothing to keep, nothing that
 * grows, the same after a remount.
 *
 *	63  61 60      37 36  34 33   22 21      0
 *	variant   slot     kind   rank     index
 *
 * A *variant* is a second (third …) node of the same file: the kernel does
 * not let cached and passthrough opens live on one node together, so a file
 * that is complete while a cached open of it still lives gets a fresh node.
 * `st_ino` is the id with variant 0.  Slot 0 is the mount itself: the root
 * is FUSE_ROOT_ID, the control files follow.
 */
#ifndef WFS_FS_INO_H
#define WFS_FS_INO_H

#include <stdint.h>

#include "core/model/registry.h"

#define WFS_INDEX_BITS 22
#define WFS_RANK_BITS  12
#define WFS_KIND_BITS  3
#define WFS_VARIANTS   8

#define WFS_RANK_SHIFT	  WFS_INDEX_BITS
#define WFS_KIND_SHIFT	  (WFS_RANK_SHIFT + WFS_RANK_BITS)
#define WFS_SLOT_SHIFT	  (WFS_KIND_SHIFT + WFS_KIND_BITS)
#define WFS_VARIANT_SHIFT (WFS_SLOT_SHIFT + WFS_SLOT_BITS)

enum wfs_kind {
	WFS_KIND_CONTROL, /* slot 0 only */
	WFS_KIND_ENTRY,	  /* index: in model->entries; 0 is the model */
	WFS_KIND_RANKS,	  /* the ".ranks" directory */
	WFS_KIND_RANK,	  /* rank */
	WFS_KIND_TENSOR,  /* rank, index: in rank->tensors */
};

/* Indices of slot 0. */
enum wfs_control {
	WFS_CONTROL_ROOT = 1, /* FUSE_ROOT_ID */
	WFS_CONTROL_DIR,      /* ".weightfs" */
	WFS_CONTROL_STATUS,
	WFS_CONTROL_STATS,
	WFS_CONTROL_EVENTS,
	WFS_CONTROL_VERSION,
	WFS_CONTROL_END,
};

static inline uint64_t wfs_ino_make(uint32_t slot, enum wfs_kind kind,
				    uint32_t rank, uint32_t index)
{
	return ((uint64_t)slot << WFS_SLOT_SHIFT) |
	       ((uint64_t)kind << WFS_KIND_SHIFT) |
	       ((uint64_t)rank << WFS_RANK_SHIFT) | index;
}

static inline uint32_t wfs_ino_field(uint64_t id, unsigned shift, unsigned bits)
{
	return (uint32_t)(id >> shift) & ((1u << bits) - 1);
}

static inline uint32_t wfs_ino_variant(uint64_t id)
{
	return (uint32_t)(id >> WFS_VARIANT_SHIFT);
}

static inline uint64_t wfs_ino_with_variant(uint64_t ino, uint32_t variant)
{
	return ino | ((uint64_t)variant << WFS_VARIANT_SHIFT);
}

/* The stable inode number: variant 0. */
static inline uint64_t wfs_ino_stable(uint64_t id)
{
	return id & (((uint64_t)1 << WFS_VARIANT_SHIFT) - 1);
}

static inline uint32_t wfs_ino_slot(uint64_t id)
{
	return wfs_ino_field(id, WFS_SLOT_SHIFT, WFS_SLOT_BITS);
}

/* Mask and value that pick every stable number of a slot. */
#define WFS_INO_SLOT_MASK                                                      \
	((((uint64_t)1 << WFS_SLOT_BITS) - 1) << WFS_SLOT_SHIFT)

#endif
