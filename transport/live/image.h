/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tensors that a process holds, as a checkpoint.
 *
 * What sharded_state would have saved of each rank is a file whose header is
 * made here and whose data lies where the engine has it; beside them lie the
 * small files that the engine was given (config.json).  An image is put
 * together by one thread, sealed, and does not change from then on; counted
 * references keep it, and the memory is read until it is revoked.
 */
#ifndef WFS_TRANSPORT_LIVE_IMAGE_H
#define WFS_TRANSPORT_LIVE_IMAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/live.h"
#include "core/model/model.h"
#include "transport/live/bounce.h"
#include "transport/live/cell.h"
#include "transport/live/tensor.h"

#define WFS_LIVE_ID_BYTES   16
#define WFS_LIVE_FILES_MAX  4096
#define WFS_LIVE_FILE_BYTES (64u << 20) /* of all small files together */

/* What somebody says of a model; strings may be NULL, but for the name. */
struct wfs_live_model {
	const char *name;
	const char *engine, *engine_version, *layout, *state, *declared;
	/*
	 * As sharded_state saves: a tensor stays only if it is not empty, does
	 * not lie within another, and no lesser name has the same bytes.
	 * Otherwise all stay.
	 */
	bool one_name;
	bool digests; /* whoever serves it computes them when asked */
};

struct wfs_live_rank {
	uint32_t number;
	struct wfs_live_tensor *tensors;
	uint32_t count;
	uint32_t *order; /* of the file */
	uint64_t *ends;	 /* in the file, in that order */
};

struct wfs_live_file {
	char *path;
	char *bytes; /* the header, or all of a small file */
	uint64_t len;
	const struct wfs_live_rank *rank; /* NULL: a small file */
	uint64_t size;
};

struct wfs_live_image {
	atomic_uint refs;
	struct wfs_bounces *bounces;   /* outlives the image */
	uint8_t id[WFS_LIVE_ID_BYTES]; /* random */
	char *name;
	char *words[4];	      /* engine … state: what `live` points to */
	char *declared;	      /* of the epoch that is opened next */
	struct wfs_live live; /* but for these two, which differ by epoch */
	bool one_name, stages, sealed;
	uint32_t tp;		     /* ranks of a stage … */
	uint32_t all;		     /* … and of the engine */
	struct wfs_live_rank *ranks; /* ascending, once sealed */
	uint32_t rank_count;
	struct wfs_live_file *files; /* byte order of the paths, then */
	uint32_t file_count;
	uint64_t small; /* bytes of the small files */
	struct wfs_live_cell cell;
};

/* -EINVAL … with a sentence. */
int wfs_live_image_new(const struct wfs_live_model *model,
		       struct wfs_bounces *bounces,
		       struct wfs_live_image **ret_image, struct wfs_err *err);
struct wfs_live_image *wfs_live_image_get(struct wfs_live_image *image);
void wfs_live_image_put(struct wfs_live_image *image); /* NULL is fine */

/*
 * Before it is sealed: names and memory are looked at when it is.  -EINVAL,
 * -EOVERFLOW with a sentence.
 */
int wfs_live_image_add(struct wfs_live_image *image, uint32_t rank,
		       const struct wfs_live_said *said, struct wfs_err *err);
/* A small file at the top of the checkpoint; the bytes are copied. */
int wfs_live_image_add_file(struct wfs_live_image *image, const char *path,
			    const void *bytes, size_t len, struct wfs_err *err);
/*
 * -EEXIST for a name that is there twice, -ENOENT without a tensor, -EFAULT
 * for one that is no memory of this process.
 */
int wfs_live_image_seal(struct wfs_live_image *image, struct wfs_err *err);

/*
 * What the epochs that are opened from now on are declared as; NULL: nothing.
 * Not while one is being opened.  -EINVAL with a sentence.
 */
int wfs_live_image_declare(struct wfs_live_image *image, const char *declared,
			   struct wfs_err *err);

/*
 * The spans of memory that hold all of it: those that touch a page of each
 * other are one.  Their number; *ret_spans (may be NULL) is the caller's.
 */
size_t wfs_live_image_spans(const struct wfs_live_image *image,
			    struct wfs_live_span **ret_spans);
/*
 * The same of what lies together in memory of the host (wfs_live_map),
 * ascending; headers are among them, each by itself.
 */
size_t wfs_live_image_lent(const struct wfs_live_image *image,
			   struct wfs_live_span **ret_spans);

/*
 * Copies [off, off + len) of a file, at most a chunk, whatever the epoch.
 * 0 or a negative errno, -EFAULT where there is no memory.
 */
int wfs_live_image_copy(const struct wfs_live_file *file, uint64_t off,
			size_t len, struct wfs_bounce *bounce);

/*
 * Can [off, off + len) of a file be sent from where it lies?  Not what is a
 * device's, nor what lies in very short runs.
 */
bool wfs_live_image_lies_near(const struct wfs_live_file *file, uint64_t off,
			      size_t len);
/*
 * Where such bytes lie, from `off` on, as at most `max` pieces: how many, at
 * least one; all of them hold `len` bytes or less.
 */
int wfs_live_image_gather(const struct wfs_live_file *file, uint64_t off,
			  size_t len, struct iovec *ret_pieces, int max);

#endif
