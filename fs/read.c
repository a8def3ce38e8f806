/* SPDX-License-Identifier: Apache-2.0 */
/*
 * READ: only for what passthrough does not serve.  Control files are answered
 * at once; bytes of models by the readers' threads.
 */
#include "fs/read.h"

#include <errno.h>
#include <string.h>

void wfs_op_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t off,
		 struct fuse_file_info *fi)
{
	struct wfs_fs *fs = wfs_fs_of(req);

	if (wfs_ino_slot(id) == 0) {
		wfs_control_read(fs, req, id, size, off, fi->fh);
		return;
	}
	if (size > WFS_READ_MAX)
		size = WFS_READ_MAX;
	wfs_readers_queue(fs->readers, req, id, size, off);
}

static ssize_t read_node(struct wfs_fs *fs, const struct wfs_node *node,
			 void *buf, size_t size, off_t off)
{
	struct wfs_node_recipe recipe;
	ssize_t n;

	if (wfs_node_is_dir(node))
		return -EISDIR;
	n = wfs_node_recipe(node, &recipe);
	if (n < 0)
		return n;
	if (fs->store)
		n = wfs_store_read(fs->store, wfs_node_ino(node), recipe.recipe,
				   buf, size, (uint64_t)off);
	else
		n = wfs_recipe_read(recipe.recipe, buf, size, (uint64_t)off);
	wfs_node_recipe_clear(&recipe);
	return n;
}

void wfs_read_answer(struct wfs_fs *fs, fuse_req_t req, uint64_t id, void *buf,
		     size_t size, off_t off)
{
	struct wfs_node node;
	ssize_t n = wfs_node_resolve(fs->registry, id, &node);

	if (n == 0) {
		n = read_node(fs, &node, buf, size, off);
		if (n > 0)
			wfs_intent_note_read(fs->intent, fs, &node, (size_t)n);
		wfs_node_clear(&node);
	}
	atomic_fetch_add(&fs->counters.reads, 1);
	if (n < 0) {
		atomic_fetch_add(&fs->counters.read_errors, 1);
		fuse_reply_err(req, n == -ESTALE ? ESTALE : EIO);
		return;
	}
	atomic_fetch_add(&fs->counters.read_bytes, (unsigned long long)n);
	fuse_reply_buf(req, buf, (size_t)n);
}
