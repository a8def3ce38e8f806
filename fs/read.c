/* SPDX-License-Identifier: Apache-2.0 */
/*
 * READ: only for what passthrough does not serve.  Control files and what the
 * arena has are answered at once; other bytes of models by the readers' threads.
 */
#include "fs/read.h"

#include <errno.h>
#include <string.h>

ssize_t wfs_read_bytes(struct wfs_fs *fs, const struct wfs_node *node,
		       const struct wfs_recipe *recipe, void *buf, size_t len,
		       uint64_t off)
{
	if (fs->store)
		return wfs_store_read(fs->store, wfs_node_ino(node), recipe,
				      buf, len, off);
	return wfs_recipe_read(recipe, buf, len, off);
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
	n = wfs_read_bytes(fs, node, recipe.recipe, buf, size, (uint64_t)off);
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

/* A READ that waits for a thread. */
struct reading {
	struct wfs_work work;
	struct wfs_fs *fs;
	fuse_req_t req;
	uint64_t id;
	size_t size;
	off_t off;
};

/* Blocks. */
static void answer_read(struct wfs_work *work, void *room)
{
	struct reading *r = (struct reading *)work;
	struct wfs_node node;
	struct answer a = { .fs = r->fs, .req = r->req, .node = &node };
	ssize_t n = wfs_node_resolve(r->fs->registry, r->id, &node);

	if (n < 0) {
		reply_error(&a, n);
	} else {
		n = read_node(r->fs, &node, room, r->size, r->off);
		if (n < 0)
			reply_error(&a, n);
		else
			reply_bytes(&a, room, (size_t)n);
		wfs_node_clear(&node);
	}
	free(r);
}

static void queue(struct wfs_fs *fs, fuse_req_t req, uint64_t id, size_t size,
		  off_t off)
{
	struct reading *r = wfs_malloc(sizeof(*r));

	*r = (struct reading){ .work.run = answer_read,
			       .fs = fs,
			       .req = req,
			       .id = id,
			       .size = size,
			       .off = off };
	wfs_workers_queue(fs->readers, &r->work);
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
	if (size > WFS_WORK_ROOM)
		size = WFS_WORK_ROOM;
	if (!reply_in_place(fs, req, id, size, off))
		queue(fs, req, id, size, off);
}
