/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model: what a checkpoint is once its listing and headers were read.
 *
 * Immutable after wfs_model_load, so it is read without locks; counted
 * references keep it while a reader or a hydration needs it.  100,000
 * tensors cost some 150 bytes each: strings and shapes lie in one pool.
 */
#ifndef WFS_CORE_MODEL_MODEL_H
#define WFS_CORE_MODEL_MODEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/model/dtype.h"
#include "core/plan/recipe.h"
#include "core/source.h"

/* What the inode numbers have room for; more is refused. */
#define WFS_MODEL_MAX_RANKS   4096u
#define WFS_MODEL_MAX_TENSORS (1u << 22) /* of one rank */
#define WFS_MODEL_MAX_ENTRIES (1u << 22) /* files and directories */

enum wfs_model_format {
	WFS_FORMAT_HF,		  /* safetensors, one rank "0" */
	WFS_FORMAT_SHARDED_STATE, /* vLLM/SGLang sharded_state */
	WFS_FORMAT_OPAQUE,	  /* weights in other formats: files only */
};

/* A file or directory of the checkpoint itself. */
struct wfs_model_entry {
	const char *name;	   /* last component */
	const char *path;	   /* relative to the checkpoint */
	uint32_t parent;	   /* index of the directory; the root is 0 */
	struct stat st;		   /* of the source */
	struct wfs_region *region; /* NULL for a directory */
	bool is_dir;
};

/*
 * Entries [first, first + count) of model->entries are the children of one
 * directory, in byte order of their names.
 */
struct wfs_model_dir {
	uint32_t entry; /* its own index in entries */
	uint32_t first, count;
};

struct wfs_tensor {
	const char *name;      /* the true name, UTF-8; a NUL in it is C0 80,
				  see names.h */
	const char *file_name; /* escaped where it is no file name; often ==
				  name */
	const uint64_t *shape; /* ndim elements, NULL for a scalar */
	uint64_t off;	       /* bytes, in the shard file */
	uint64_t size;	       /* bytes */
	uint32_t shard;	       /* index in model->entries */
	uint8_t dtype;	       /* enum wfs_dtype */
	uint8_t ndim;
};

/* One worker's part. */
struct wfs_rank {
	const char *name;	    /* directory: "0", or "pp-0-tp-1" */
	struct wfs_tensor *tensors; /* byte order of file_name */
	uint32_t *file_order; /* tensor indices by (shard, off): prefetch */
	uint32_t count;
	uint64_t bytes;
};

struct wfs_model {
	char *name;
	struct wfs_source *source; /* one reference */
	enum wfs_model_format format;
	struct wfs_model_entry *entries; /* [0] is the root directory */
	uint32_t entry_count;
	struct wfs_model_dir *dirs; /* [0] is the root */
	uint32_t dir_count;
	struct wfs_rank *ranks;
	uint32_t rank_count;
	bool ranks_hidden; /* a checkpoint entry has a rank's name: ranks are
			      under ".ranks" */
	uint64_t file_bytes, tensor_bytes;
	uint64_t fingerprint;  /* of name, paths, sizes, inodes and times */
	struct timespec mtime; /* newest of its files */
	atomic_uint refs;
	void *pool; /* strings and shapes */
	/* NULL for a checkpoint: its tensors are slices of its files. */
	const struct wfs_model_virtual *virtual;
	void *virtual_ctx;
};

/*
 * What a model whose bytes are put together answers (core/plan/layout.h).
 * An entry without a region that is no directory, and every tensor, has a
 * recipe, which the caller frees and does not change: others may have it.
 */
struct wfs_model_virtual {
	int (*entry)(const struct wfs_model *model, uint32_t entry,
		     struct wfs_recipe **ret_recipe, struct wfs_err *err);
	int (*tensor)(const struct wfs_model *model, uint32_t rank,
		      uint32_t index, struct wfs_recipe **ret_recipe,
		      struct wfs_err *err);
	void (*free)(struct wfs_model *model); /* virtual_ctx, at the end */
};

/*
 * May a model be called so?  0, or -EINVAL/-ENAMETOOLONG with a sentence.
 * '@' is let through: whoever offers a name from outside a hub cache sees to
 * it.
 */
int wfs_model_name_check(const char *name, struct wfs_err *err);

/*
 * Reads the listing and all headers of `source` and builds the model.
 * Headers of several shard files are read by up to `threads` threads.  Takes
 * a reference to `source`.  `name` is the directory name under the mount
 * point (non-empty, no '/', not "." or "..", not ".weightfs", at most 255
 * bytes, no '@' unless it came from a hub cache).
 *
 * -EINVAL, -EBADMSG and friends with one sentence that names file, tensor
 * and the rule; -ENOENT also for a directory without weights.
 */
int wfs_model_load(struct wfs_source *source, const char *name,
		   unsigned threads, struct wfs_model **ret_model,
		   struct wfs_err *err);

/* "hf", "sharded_state" or "opaque": what status and attributes say. */
const char *wfs_model_format_name(enum wfs_model_format format);

struct wfs_model *wfs_model_get(struct wfs_model *model);
void wfs_model_put(struct wfs_model *model); /* NULL is fine */

/* Is one of its files no longer what was listed?  (wfs_region_check) */
bool wfs_model_is_stale(const struct wfs_model *model);

/*
 * What the fingerprint of a model loaded from this listing would be, without
 * reading any header: tells a changed checkpoint from the same one.
 */
uint64_t wfs_model_fingerprint(const char *name,
			       const struct wfs_source_entry *list,
			       size_t count);

/* Index in entries of `name` in directory `dir` (index in dirs), or -1. */
int64_t wfs_model_find_entry(const struct wfs_model *model, uint32_t dir,
			     const char *name);
/* Index in dirs of the directory whose entry index is `entry`, or -1. */
int64_t wfs_model_find_dir(const struct wfs_model *model, uint32_t entry);
/* Index in ranks, or -1. */
int64_t wfs_model_find_rank(const struct wfs_model *model, const char *name);
/* Index in rank->tensors by file name, or -1. */
int64_t wfs_rank_find(const struct wfs_rank *rank, const char *file_name);
/* By the tensor's own name. */
int64_t wfs_rank_find_tensor(const struct wfs_rank *rank, const char *name);

/*
 * The recipe of a tensor: fills *piece and *ret_recipe (which points to
 * piece).  Valid as long as the model is.  A tensor without elements has
 * size 0 and n 0.
 */
void wfs_tensor_recipe(const struct wfs_model *model,
		       const struct wfs_tensor *tensor, struct wfs_piece *piece,
		       struct wfs_recipe *ret_recipe);

#endif
