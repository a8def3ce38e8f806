/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of wfs_model_load, for the files that share the work:
 *
 *   tree.c        the listing becomes entries and directories
 *   checkpoint.c  which of the files hold tensors, of which rank
 *   headers.c     their headers, read by several threads
 *   ranks.c       tensors sorted and checked, rank by rank
 *   model.c       the whole, and what is asked of a model afterwards
 *
 * Nothing outside core/model includes this.
 */
#ifndef WFS_CORE_MODEL_LOAD_H
#define WFS_CORE_MODEL_LOAD_H

#include "core/model/index.h"
#include "core/model/model.h"
#include "core/model/pool.h"
#include "core/model/safetensors.h"

/* A file whose tensors are taken apart. */
struct wfs_shard {
	uint32_t entry; /* index in model->entries */
	uint32_t rank;
	struct wfs_safetensors header;
	struct wfs_err err;
};

struct wfs_load {
	struct wfs_model *model;
	struct wfs_pool pool;
	/* By rank, then by part; without parts in order of the entries. */
	struct wfs_shard *shards;
	uint32_t shard_count;
	char *index_path; /* NULL without an index */
	char *index_text; /* what the index lies in */
	struct wfs_index index;
	struct wfs_err *err;
};

/* Fills entries, dirs, file_bytes and mtime. */
int wfs_load_tree(struct wfs_load *load, const struct wfs_source_entry *list,
		  size_t count);

/* Fills format, rank_count, the ranks' names, and the load's shards. */
int wfs_load_checkpoint(struct wfs_load *load);

/* Fills the shards' headers. */
int wfs_load_headers(struct wfs_load *load, unsigned threads);

/* Fills the ranks' tensors and tensor_bytes, and clears the headers. */
int wfs_load_ranks(struct wfs_load *load);

/* Where the last component of a path begins. */
size_t wfs_path_dir_len(const char *path);

/* The order of entries: the directory's path decides, then the name. */
int wfs_path_compare(const char *x, const char *y);

/* Index in entries of a path relative to the checkpoint, or -1. */
int64_t wfs_model_find_path(const struct wfs_model *model, const char *path);

#endif
