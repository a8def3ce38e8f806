/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See client_gpu.h.
 *
 * A file that is here is mapped once more, shared and for reading alone, so
 * that registering pins the pages that everybody reads (those of a private map
 * that can be written to would be copied).  It is registered by windows, which
 * several threads do side by side.  What the device cannot read so, and what is
 * too small to be worth it, is read into pinned buffers.
 */
#include "tools/lib/client_gpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/least.h"
#include "core/base/mem.h"
#include "core/base/text.h"
#include "transport/cuda/ring.h"

#define SLOT_BYTES (8u << 20)
/* Registering pins page by page, which takes longer than to copy a little. */
#define REGISTER_LEAST (1u << 20)

enum window { WINDOW_NEW, WINDOW_BUSY, WINDOW_REGISTERED, WINDOW_REFUSED };

struct wfs_weights_shared {
	char *base;
	uint64_t len;
	uint8_t *windows; /* enum window; of who has the file's lock */
};

struct wfs_weights_lane {
	struct wfs_weights_gpu *gpu;
	const struct weightfs_set *set;
	struct wfs_gpu_ring ring;
	struct wfs_weights_piece pieces[WFS_GPU_RING_MAX]; /* of each slot */
};

/* "cuda:0", "cuda": the first one. */
static int parse_name(const char *name)
{
	char *end;
	long n;

	if (strcmp(name, "cuda") == 0)
		return 0;
	if (!wfs_starts_with(name, "cuda:") || name[5] < '0' || name[5] > '9')
		return -EINVAL;
	n = strtol(name + 5, &end, 10);
	return *end || n > INT16_MAX ? -EINVAL : (int)n;
}

int wfs_weights_gpu_find(const char *name, bool staged,
			 struct wfs_weights_gpu *ret_gpu, struct wfs_err *err)
{
	const struct wfs_cuda *cuda;
	int device, count, registers = 0, rc;

	if (!name || strcmp(name, "cpu") == 0) {
		ret_gpu->cuda = NULL;
		return 0;
	}
	device = parse_name(name);
	if (device < 0)
		return wfs_err_set(err, device,
				   "'%s' is no device: 'cpu' and 'cuda:N' are",
				   name);
	rc = wfs_cuda_load(&cuda, err);
	if (!rc)
		rc = wfs_cuda_count(cuda, &count, err);
	if (rc)
		return rc;
	if (device >= count)
		return wfs_err_set(err, -ENODEV,
				   "there is no device '%s': CUDA shows %d of "
				   "them to this process",
				   name, count);
	if (!staged)
		wfs_cuda_call(cuda, cudaDeviceGetAttribute, &registers,
			      WFS_CU_ATTR_REGISTER_READ_ONLY, device);
	ret_gpu->cuda = cuda;
	ret_gpu->name = name;
	ret_gpu->device = device;
	atomic_store(&ret_gpu->registers, registers != 0);
	return 0;
}

/* What there is to add to an error: whichever thread met with it first. */
static const char *and_then(unsigned code)
{
	return wfs_cuda_sticks(code) ?
		       "; this process cannot use CUDA any more" :
		       "";
}

static int device_fail(const struct wfs_weights_gpu *gpu, unsigned code,
		       struct wfs_err *err)
{
	return wfs_err_set(err, wfs_cuda_errno(code, WFS_DEVICE_STAGE_DEVICE),
			   "cannot use '%s': CUDA error %u, %s%s", gpu->name,
			   code, gpu->cuda->cudaGetErrorString(code),
			   and_then(code));
}

static int piece_fail(const struct wfs_weights_lane *lane,
		      const struct wfs_weights_piece *piece, unsigned code,
		      struct wfs_err *err)
{
	return wfs_err_set(err, wfs_cuda_errno(code, WFS_DEVICE_STAGE_COPY),
			   "cannot copy tensor '%s' of '%s' to '%s': CUDA "
			   "error %u, %s%s",
			   lane->set->tensors[piece->tensor].name,
			   lane->set->path, lane->gpu->name, code,
			   lane->gpu->cuda->cudaGetErrorString(code),
			   and_then(code));
}

int wfs_weights_lane_new(struct wfs_weights_gpu *gpu,
			 const struct weightfs_set *set,
			 struct wfs_weights_lane **ret_lane,
			 struct wfs_err *err)
{
	struct wfs_weights_lane *lane = wfs_calloc(1, sizeof(*lane));
	unsigned code;

	lane->gpu = gpu;
	lane->set = set;
	code = wfs_cuda_call(gpu->cuda, cudaSetDevice, gpu->device);
	if (!code)
		code = wfs_gpu_ring_open(&lane->ring, gpu->cuda,
					 WFS_GPU_RING_MAX, SLOT_BYTES);
	if (code) {
		free(lane);
		return device_fail(gpu, code, err);
	}
	*ret_lane = lane;
	return 0;
}

/* The slot that is used next, when what it had has landed; NULL: that failed. */
static struct wfs_gpu_slot *turn(struct wfs_weights_lane *lane,
				 struct wfs_err *err)
{
	const struct wfs_weights_piece *piece = &lane->pieces[lane->ring.next];
	struct wfs_gpu_slot *slot = &lane->ring.slots[lane->ring.next];
	bool was_busy = slot->busy;
	unsigned code = wfs_gpu_slot_wait(&lane->ring, slot);

	if (code) {
		piece_fail(lane, piece, code, err);
		return NULL;
	}
	if (was_busy)
		lane->gpu->landed(lane->gpu->ctx, piece);
	return slot;
}

/* Queues a piece's bytes, which lie at `from`, for the slot. */
static int queue(struct wfs_weights_lane *lane, struct wfs_gpu_slot *slot,
		 const struct wfs_weights_piece *piece, const void *from,
		 void *to, struct wfs_err *err)
{
	unsigned code = wfs_cuda_call(lane->gpu->cuda, cudaMemcpyAsync, to,
				      from, piece->len, WFS_CU_HOST_TO_DEVICE,
				      lane->ring.stream);

	lane->pieces[slot - lane->ring.slots] = *piece;
	if (!code)
		code = wfs_gpu_slot_sent(&lane->ring, slot);
	return code ? piece_fail(lane, piece, code, err) : 0;
}

/* Through pinned buffers: read into one while the device takes the others. */
static int stage(struct wfs_weights_lane *lane,
		 const struct wfs_weights_piece *piece, char *to,
		 struct wfs_err *err)
{
	int rc = 0;

	for (uint64_t at = 0; at < piece->len && !rc; at += SLOT_BYTES) {
		const struct wfs_weights_piece part = {
			piece->tensor, piece->off + at,
			wfs_least(piece->len - at, SLOT_BYTES)
		};
		struct wfs_gpu_slot *slot = turn(lane, err);
		unsigned code;

		if (!slot)
			return err->code;
		code = wfs_gpu_slot_pin(&lane->ring, slot);
		if (code)
			return piece_fail(lane, piece, code, err);
		rc = wfs_weights_piece_read(lane->set, &part, slot->bytes, err);
		if (!rc)
			rc = queue(lane, slot, &part, slot->bytes, to + at,
				   err);
	}
	return rc;
}

/* Under the file's lock.  NULL: it cannot be mapped. */
static struct wfs_weights_shared *share(struct wfs_weights_file *file)
{
	struct wfs_weights_shared *shared = file->shared;
	void *base;

	if (shared || file->state == WFS_WEIGHTS_FAR)
		return shared;
	base = mmap(NULL, file->size, PROT_READ, MAP_SHARED, file->fd, 0);
	if (base == MAP_FAILED)
		return NULL;
	shared = wfs_calloc(1, sizeof(*shared));
	shared->base = base;
	shared->len = file->size;
	shared->windows = wfs_calloc(file->size / WFS_WEIGHTS_WINDOW + 1, 1);
	file->shared = shared;
	return shared;
}

static bool register_window(struct wfs_weights_gpu *gpu,
			    const struct wfs_weights_shared *shared,
			    uint64_t window)
{
	uint64_t off = window * WFS_WEIGHTS_WINDOW;
	unsigned code =
		wfs_cuda_call(gpu->cuda, cudaHostRegister, shared->base + off,
			      wfs_least(shared->len - off, WFS_WEIGHTS_WINDOW),
			      WFS_CU_REGISTER_READ_ONLY);

	if (code)
		atomic_store(&gpu->registers, false);
	return !code;
}

/* Where the device can read the file's bytes from `off` on; NULL: nowhere. */
static const char *registered(struct wfs_weights_gpu *gpu,
			      struct wfs_weights_file *file, uint64_t off)
{
	uint64_t window = off / WFS_WEIGHTS_WINDOW;
	struct wfs_weights_shared *shared;
	uint8_t *state, now = WINDOW_REFUSED;
	bool is_ours = false;

	pthread_mutex_lock(&file->lock);
	shared = share(file);
	state = shared ? &shared->windows[window] : &now;
	if (*state == WINDOW_NEW) {
		*state = WINDOW_BUSY;
		is_ours = true;
	}
	now = *state;
	pthread_mutex_unlock(&file->lock);
	if (is_ours) {
		now = register_window(gpu, shared, window) ? WINDOW_REGISTERED :
							     WINDOW_REFUSED;
		pthread_mutex_lock(&file->lock);
		*state = now;
		pthread_mutex_unlock(&file->lock);
	}
	return now == WINDOW_REGISTERED ? shared->base + off : NULL;
}

int wfs_weights_lane_send(struct wfs_weights_lane *lane,
			  const struct wfs_weights_piece *piece, void *to,
			  struct wfs_err *err)
{
	const struct wfs_weights_tensor *t = &lane->set->tensors[piece->tensor];
	const char *from = NULL;
	struct wfs_gpu_slot *slot;

	if (piece->len >= REGISTER_LEAST && atomic_load(&lane->gpu->registers))
		from = registered(lane->gpu, &lane->set->files[t->file],
				  t->off + piece->off);
	if (!from)
		return stage(lane, piece, to, err);
	slot = turn(lane, err);
	return slot ? queue(lane, slot, piece, from, to, err) : err->code;
}

int wfs_weights_lane_drain(struct wfs_weights_lane *lane, struct wfs_err *err)
{
	/* From the oldest on. */
	for (unsigned i = 0; i < lane->ring.count; i++) {
		if (!turn(lane, err))
			return err->code;
		lane->ring.next = (lane->ring.next + 1) % lane->ring.count;
	}
	return 0;
}

void wfs_weights_lane_free(struct wfs_weights_lane *lane)
{
	if (!lane)
		return;
	/* After a failure some of it may still be read by the device. */
	wfs_cuda_call(lane->gpu->cuda, cudaStreamSynchronize,
		      lane->ring.stream);
	wfs_gpu_ring_clear(&lane->ring);
	free(lane);
}

void wfs_weights_file_unregister(const struct wfs_weights_gpu *gpu,
				 struct wfs_weights_file *file)
{
	struct wfs_weights_shared *shared;

	pthread_mutex_lock(&file->lock);
	shared = file->shared;
	file->shared = NULL;
	pthread_mutex_unlock(&file->lock);
	if (!shared)
		return;
	for (uint64_t off = 0; off < shared->len; off += WFS_WEIGHTS_WINDOW)
		if (shared->windows[off / WFS_WEIGHTS_WINDOW] ==
		    WINDOW_REGISTERED)
			wfs_cuda_call(gpu->cuda, cudaHostUnregister,
				      shared->base + off);
	munmap(shared->base, shared->len);
	free(shared->windows);
	free(shared);
}
