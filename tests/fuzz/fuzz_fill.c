/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds the payload of WEIGHTFS_IOC_FILL.  What is accepted must lie within the
 * file and the memory, and must be copied to just there.
 *
 * Two bytes are the size of the file, two that of the memory; the struct
 * follows, as much of it as there is.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/bytes.h"
#include "core/base/mem.h"
#include "fs/copy.h"
#include "fs/ioctl.h"

#define SMALL (256u << 10) /* bytes that are copied for real */
#define ROOM  4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The file is this, over and over. */
static const uint8_t pattern[] = { 11, 22, 33, 44, 55, 66, 77 };

static void must(int truth)
{
	if (!truth)
		abort();
}

static void must_lie_within(uint64_t off, uint64_t len, uint64_t stride,
			    uint64_t count, uint64_t bytes)
{
	unsigned __int128 end = off;

	if (count > 1)
		end += (unsigned __int128)stride * (count - 1);
	must(len > 0 && count > 0 && end + len <= bytes);
}

static void paint(uint8_t *want, const struct weightfs_segment *s)
{
	for (uint64_t i = 0; i < s->count; i++)
		for (uint64_t j = 0; j < s->len; j++)
			want[s->dst_off + i * s->dst_stride + j] =
				pattern[(s->file_off + i * s->file_stride + j) %
					sizeof(pattern)];
}

static int make_memory(uint64_t bytes, struct wfs_target *target)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd >= 0 && posix_fallocate(fd, 0, (off_t)bytes) == 0 &&
	     fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
	return wfs_target_open(fd, bytes, target);
}

static void copy(const struct weightfs_fill *fill, uint64_t file_bytes,
		 uint64_t memory_bytes)
{
	struct wfs_piece piece = { .kind = WFS_PIECE_CONST,
				   .pattern_len = sizeof(pattern),
				   .run = file_bytes,
				   .count = 1 };
	struct wfs_recipe recipe = { .size = file_bytes,
				     .n = 1,
				     .pieces = &piece };
	uint8_t *want wfs_autofree = wfs_calloc(1, memory_bytes);
	struct wfs_model model = { 0 };
	struct wfs_node node = { .model = &model };
	struct wfs_fs fs = { 0 };
	struct wfs_target target;
	struct wfs_copy c = { .fs = &fs,
			      .node = &node,
			      .recipe = &recipe,
			      .target = &target,
			      .segments = fill->segment,
			      .count = fill->count,
			      .resident = true };
	char room[ROOM];
	int rc;

	memcpy(piece.pattern, pattern, sizeof(pattern));
	must(make_memory(memory_bytes, &target) == 0);
	do
		rc = wfs_copy_step(&c, room, sizeof(room));
	while (rc > 0);
	must(rc == 0 && c.done == wfs_copy_bytes(c.segments, c.count));
	for (uint32_t i = 0; i < fill->count; i++)
		paint(want, &fill->segment[i]);
	must(memcmp(target.map, want, memory_bytes) == 0);
	wfs_target_close(&target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct weightfs_fill fill = { 0 };
	uint64_t file_bytes, memory_bytes;

	if (size < 4)
		return 0;
	file_bytes = wfs_get_le16(data) + 1u;
	memory_bytes = wfs_get_le16(data + 2) + 1u;
	size = size - 4 < sizeof(fill) ? size - 4 : sizeof(fill);
	memcpy(&fill, data + 4, size);
	if (wfs_ioctl_head(&fill.head, sizeof(fill), WEIGHTFS_FILL_ASYNC) == 0)
		must(fill.head.abi == WEIGHTFS_ABI && !fill.head.status);
	else
		must(fill.head.status && fill.head.stage);
	if (wfs_copy_check(fill.segment, fill.count, file_bytes, memory_bytes,
			   fill.done) != 0)
		return 0;
	must(fill.count > 0 && fill.count <= WEIGHTFS_SEGMENTS);
	for (uint32_t i = 0; i < fill.count; i++) {
		const struct weightfs_segment *s = &fill.segment[i];

		must_lie_within(s->file_off, s->len, s->file_stride, s->count,
				file_bytes);
		must_lie_within(s->dst_off, s->len, s->dst_stride, s->count,
				memory_bytes);
	}
	must(fill.done <= wfs_copy_bytes(fill.segment, fill.count));
	if (wfs_copy_bytes(fill.segment, fill.count) <= SMALL)
		copy(&fill, file_bytes, memory_bytes);
	return 0;
}
