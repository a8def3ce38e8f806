/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node id stands for: its place in the tree, its name, attributes and
 * children.  Pure look-ups in immutable models; nothing here blocks.
 */
#ifndef WFS_FS_NODE_H
#define WFS_FS_NODE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "core/plan/recipe.h"
#include "fs/ino.h"

/* Names of the mount's own entries. */
#define WFS_CONTROL_NAME ".weightfs"
#define WFS_RANKS_NAME	 ".ranks"

/* st_blksize: llama.cpp aligns its O_DIRECT reads to it. */
#define WFS_BLKSIZE (128 * 1024)

struct wfs_node {
	uint64_t id; /* with its variant */
	enum wfs_kind kind;
	uint32_t slot, rank, index;
	struct wfs_model *model; /* counted; NULL in slot 0 */
};

/* 0, or -ESTALE when the id leads nowhere (any more). */
int wfs_node_resolve(struct wfs_registry *reg, uint64_t id,
		     struct wfs_node *ret_node);
void wfs_node_clear(struct wfs_node *node);

static inline uint64_t wfs_node_ino(const struct wfs_node *node)
{
	return wfs_ino_stable(node->id);
}

bool wfs_node_is_dir(const struct wfs_node *node);

/* The tensor or entry behind a node, or NULL if it is something else. */
const struct wfs_tensor *wfs_node_tensor(const struct wfs_node *node);
const struct wfs_model_entry *wfs_node_entry(const struct wfs_node *node);

/* Attributes; the size of a control file is left 0. */
void wfs_node_attr(struct wfs_registry *reg, const struct wfs_node *node,
		   struct stat *ret_st);

/* The directory a node is listed in and its name there. */
uint64_t wfs_node_parent(const struct wfs_node *node);
const char *wfs_node_name(const struct wfs_node *node);

/*
 * What the bytes of a file are: of a tensor or a whole file of a checkpoint a
 * slice, of one of a layout a recipe of its own.  Valid as long as node->model
 * and until it is cleared; not to be copied.
 */
struct wfs_node_recipe {
	const struct wfs_recipe *recipe;
	struct wfs_recipe slice;
	struct wfs_piece piece;
	struct wfs_recipe *owned;
};

/* 0, or a negative errno, logged, when a plan cannot be carried out. */
int wfs_node_recipe(const struct wfs_node *node, struct wfs_node_recipe *ret);
void wfs_node_recipe_clear(struct wfs_node_recipe *recipe);

/* 0, or -ESTALE when the sources of a file are not what was listed. */
int wfs_node_check(const struct wfs_node *node);

/* Do its bytes lie in files of this node, so that copying them is cheap? */
bool wfs_node_is_local(const struct wfs_node *node);

/*
 * The descriptor of the local file that it equals, which stays the source's;
 * -ENOTSUP: it equals none.
 */
int wfs_node_descriptor(const struct wfs_node *node);

/* Bytes of a tensor or a checkpoint's own file; 0 for anything else. */
uint64_t wfs_node_size(const struct wfs_node *node);

/* The region that all of the node's bytes lie in, or NULL: a layout's. */
struct wfs_region *wfs_node_region(const struct wfs_node *node);

/*
 * The child of directory `dir` called `name`.  0, or -ENOENT, -ENOTDIR.
 * *ret_child has its own reference to the model.
 */
int wfs_node_lookup(struct wfs_registry *reg, const struct wfs_node *dir,
		    const char *name, struct wfs_node *ret_child);

/*
 * The children of a directory in the order of readdir.  Open, step until
 * false, close.  `next` tells where to go on at any later time: in the root,
 * where models come and go, it belongs to a name, elsewhere it is a position.
 */
struct wfs_node_iter {
	struct wfs_registry *reg;
	const struct wfs_node *dir;
	struct wfs_registry_row *rows; /* of the root only */
	size_t row_count;
	uint64_t next; /* below 2^62 */
};

void wfs_node_iter_open(struct wfs_node_iter *it, struct wfs_registry *reg,
			const struct wfs_node *dir, uint64_t from);
/*
 * *ret_child borrows its model from the directory or the iterator: do not
 * clear it.  *ret_name is valid until the iterator is closed.
 */
bool wfs_node_iter_step(struct wfs_node_iter *it, struct wfs_node *ret_child,
			const char **ret_name);
void wfs_node_iter_close(struct wfs_node_iter *it);

#endif
