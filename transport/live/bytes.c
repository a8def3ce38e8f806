/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a file of an image: where they lie, and copies of them.
 */
#include "transport/live/image.h"

#include "core/base/least.h"

#define PIECES	256
#define RUN_MIN 4096 /* shorter ones are faster copied together first */

/* Where byte `off` of the data lies: an index in the rank's order. */
static uint32_t find(const struct wfs_live_rank *rank, uint64_t off)
{
	uint32_t low = 0, high = rank->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (rank->ends[mid] <= off)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* From one tensor; how many bytes, or a negative errno. */
static ssize_t copy_tensor(const struct wfs_live_file *file, uint32_t at,
			   uint64_t off, size_t len, struct wfs_bounce *bounce,
			   size_t done)
{
	const struct wfs_live_tensor *tensor =
		&file->rank->tensors[file->rank->order[at]];
	uint64_t begin = file->rank->ends[at] - tensor->size;
	struct iovec pieces[PIECES];
	struct wfs_live_walk walk;
	size_t copied = 0, some;

	if (len > file->rank->ends[at] - off)
		len = (size_t)(file->rank->ends[at] - off);
	wfs_live_walk_start(&walk, tensor, off - begin);
	while (copied < len) {
		int n = wfs_live_walk_next(&walk, len - copied, pieces, PIECES,
					   &some);
		int rc = tensor->reader ?
				 wfs_bounce_fill_by(bounce, done + copied,
						    tensor->reader, pieces, n) :
				 wfs_bounce_fill(bounce, done + copied, pieces,
						 n, some);

		if (rc)
			return rc;
		copied += some;
	}
	return (ssize_t)copied;
}

int wfs_live_image_copy(const struct wfs_live_file *file, uint64_t off,
			size_t len, struct wfs_bounce *bounce)
{
	size_t done = 0;

	if (off < file->len) {
		uint64_t left = file->len - off;
		struct iovec piece = { file->bytes + off,
				       left < len ? (size_t)left : len };
		int rc;

		done = piece.iov_len;
		rc = wfs_bounce_fill(bounce, 0, &piece, 1, done);
		if (rc)
			return rc;
	}
	if (done == len)
		return 0;
	for (uint32_t at = find(file->rank, off + done); done < len; at++) {
		/* What is empty has no bytes to be at. */
		ssize_t n = file->rank->ends[at] == off + done ?
				    0 :
				    copy_tensor(file, at, off + done,
						len - done, bounce, done);

		if (n < 0)
			return (int)n;
		done += (size_t)n;
	}
	return 0;
}

static bool lies_near(const struct wfs_live_tensor *tensor)
{
	return !tensor->reader &&
	       (wfs_live_tensor_is_whole(tensor) || tensor->run >= RUN_MIN);
}

bool wfs_live_image_lies_near(const struct wfs_live_file *file, uint64_t off,
			      size_t len)
{
	const struct wfs_live_rank *rank = file->rank;
	uint64_t end = off + len;

	if (end <= file->len)
		return true;
	if (off < file->len)
		off = file->len;
	for (uint32_t at = find(rank, off); off < end; at++) {
		if (!lies_near(&rank->tensors[rank->order[at]]))
			return false;
		off = rank->ends[at];
	}
	return true;
}

int wfs_live_image_gather(const struct wfs_live_file *file, uint64_t off,
			  size_t len, struct iovec *ret_pieces, int max)
{
	const struct wfs_live_rank *rank = file->rank;
	uint64_t end = off + len;
	struct wfs_live_walk walk;
	size_t some;
	int n = 0;

	if (off < file->len) {
		some = (size_t)wfs_least(file->len - off, len);
		ret_pieces[n++] = (struct iovec){ file->bytes + off, some };
		off += some;
	}
	if (off == end)
		return n;
	for (uint32_t at = find(rank, off); off < end && n < max; at++) {
		const struct wfs_live_tensor *tensor =
			&rank->tensors[rank->order[at]];
		uint64_t stop = wfs_least(rank->ends[at], end);

		if (off == stop)
			continue; /* what is empty has no bytes to be at */
		wfs_live_walk_start(&walk, tensor,
				    off - (rank->ends[at] - tensor->size));
		n += wfs_live_walk_next(&walk, (size_t)(stop - off),
					&ret_pieces[n], max - n, &some);
		off += some;
	}
	return n;
}
