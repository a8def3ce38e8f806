/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies segments of a file into memory of a reader, a step at a time, so that
 * whoever copies can stop in between.
 *
 * Bytes come from the arena where they are there, mapped; else straight from
 * the one local file that they are a slice of; else through the store.
 */
#ifndef WFS_FS_COPY_H
#define WFS_FS_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/node.h"
#include "fs/target.h"
#include "fs/weightfs_ioctl.h"

struct wfs_fs;

struct wfs_copy {
	struct wfs_fs *fs;
	const struct wfs_node *node;
	const struct wfs_recipe *recipe;
	const struct wfs_target *target;
	const struct weightfs_segment *segments;
	unsigned count;
	bool resident; /* all of it was in the arena when it began */
	/*
	 * Around each time that the target is written: `begin` says whether it
	 * may be.  Whoever makes it say no then knows that nothing is written
	 * any more.  May be NULL.
	 */
	bool (*begin)(struct wfs_copy *copy);
	void (*end)(struct wfs_copy *copy);
	/* Bytes of the segments, changed between begin and end only. */
	uint64_t done, from_memory;
	uint32_t stage; /* of a failure */
};

/*
 * Every segment lies within the file and the memory, and `done` within them.
 * 0; -EINVAL for what makes no sense, -ERANGE for what is outside.
 */
int wfs_copy_check(const struct weightfs_segment *segments, uint32_t count,
		   uint64_t file_bytes, uint64_t memory_bytes, uint64_t done);

/* Bytes of all segments, which were checked. */
uint64_t wfs_copy_bytes(const struct weightfs_segment *segments,
			uint32_t count);

/* The file of this node that a plain slice lies in, as a descriptor of its
   region; or -ENOTSUP. */
int wfs_copy_file(const struct wfs_recipe *recipe);

/*
 * Copies the next up to 256 MiB, or what goes into `room` bytes of `buf` at
 * once: 1 when there is more, 0 when all of it is done, -ECANCELED when
 * `begin` said no, else a negative errno and copy->stage.  Blocks.
 */
int wfs_copy_step(struct wfs_copy *copy, void *buf, size_t room);

#endif
