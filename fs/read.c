/* SPDX-License-Identifier: Apache-2.0 */
/*
 * READ: only for what passthrough does not serve.  Control files and what the
 * arena has are answered at once; other bytes of models by the readers' threads.
 */
#include "fs/read.h"

#include <errno.h>
#include <string.h>

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

/* A READ on its way to a reply. */
struct answer {
	struct wfs_fs *fs;
	fuse_req_t req;
	const struct wfs_node *node;
};

static void reply_bytes(void *ctx, const void *bytes, size_t len)
{
	const struct answer *a = ctx;

	if (len)
		wfs_intent_note_read(a->fs->intent, a->fs, a->node, len);
	atomic_fetch_add(&a->fs->counters.reads, 1);
	atomic_fetch_add(&a->fs->counters.read_bytes, (unsigned long long)len);
	fuse_reply_buf(a->req, bytes, len);
}

static void reply_error(const struct answer *a, ssize_t error)
{
	atomic_fetch_add(&a->fs->counters.reads, 1);
	atomic_fetch_add(&a->fs->counters.read_errors, 1);
	fuse_reply_err(a->req, error == -ESTALE ? ESTALE : EIO);
}

void wfs_read_answer(struct wfs_fs *fs, fuse_req_t req, uint64_t id, void *buf,
		     size_t size, off_t off)
{
	struct wfs_node node;
	struct answer a = { .fs = fs, .req = req, .node = &node };
	ssize_t n = wfs_node_resolve(fs->registry, id, &node);

	if (n < 0) {
		reply_error(&a, n);
		return;
	}
	n = read_node(fs, &node, buf, size, off);
	if (n < 0)
		reply_error(&a, n);
	else
		reply_bytes(&a, buf, (size_t)n);
	wfs_node_clear(&node);
}

/*
 * Here and now, from where the bytes lie, if that is the arena: a copy and a
 * change of threads less, a third of what the daemon spends on such a READ.
 * Nothing of it waits.
 */
static bool reply_in_place(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
			   size_t size, off_t off)
{
	struct wfs_node node;
	struct answer a = { .fs = fs, .req = req, .node = &node };
	struct wfs_use use = { .with = reply_bytes, .ctx = &a };
	bool replied;

	if (!fs->store || wfs_node_resolve(fs->registry, id, &node) < 0)
		return false;
	replied = !wfs_node_is_dir(&node) &&
		  wfs_store_use(fs->store, wfs_node_ino(&node), size,
				(uint64_t)off, &use);
	wfs_node_clear(&node);
	return replied;
}

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
	if (!reply_in_place(fs, req, id, size, off))
		wfs_readers_queue(fs->readers, req, id, size, off);
}
