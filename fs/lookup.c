/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LOOKUP, GETATTR, STATFS: names and attributes.
 *
 * Everything but the root's listing is immutable, so the kernel may keep it:
 * without that `ls -l` of 100,000 tensors takes ten times as long.  Names in
 * the root are kept too; the notifier expires one that moves.
 */
#include <errno.h>
#include <sys/statvfs.h>

#include "fs/state.h"

/* The node that an open of file `ino` should use now. */
static uint64_t pick_node(struct wfs_fs *fs, uint64_t ino, bool *ret_cacheable)
{
	struct wfs_residency res = { 0 };
	uint32_t variant;

	variant = wfs_modes_pick(fs->modes, ino, false, ret_cacheable);
	if (!*ret_cacheable && fs->store) {
		wfs_store_residency(fs->store, ino, &res);
		variant = wfs_modes_pick(fs->modes, ino, res.resident,
					 ret_cacheable);
	}
	return wfs_ino_with_variant(ino, variant);
}

/* How long the kernel may keep a node's attributes, in seconds. */
static double attr_timeout(const struct wfs_node *node)
{
	if (node->model)
		return WFS_FOREVER;
	return wfs_node_is_dir(node) ? WFS_A_MOMENT : 0;
}

void wfs_entry_fill(struct wfs_fs *fs, const struct wfs_node *node,
		    struct fuse_entry_param *ret_entry)
{
	struct fuse_entry_param e = {
		.ino = node->id,
		.generation = 1,
		.attr_timeout = attr_timeout(node),
		.entry_timeout = WFS_FOREVER,
	};
	bool cacheable = true;

	wfs_node_attr(fs->registry, node, &e.attr);
	if (!node->model) {
		wfs_control_attr(fs, node->index, &e.attr);
	} else if (!wfs_node_is_dir(node) && wfs_fs_passthrough(fs)) {
		e.ino = pick_node(fs, wfs_node_ino(node), &cacheable);
	}
	if (!cacheable)
		e.entry_timeout = 0;
	*ret_entry = e;
}

void wfs_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct wfs_fs *fs = wfs_fs_of(req);
	struct fuse_entry_param e;
	struct wfs_node dir, child = { 0 };
	int r = wfs_node_resolve(fs->registry, parent, &dir);

	if (r == 0) {
		r = wfs_node_lookup(fs->registry, &dir, name, &child);
		wfs_node_clear(&dir);
	}
	if (r < 0) {
		/* Nothing is kept of a name that is not there. */
		fuse_reply_err(req, -r);
		return;
	}
	wfs_entry_fill(fs, &child, &e);
	wfs_node_clear(&child);
	fuse_reply_entry(req, &e);
}

void wfs_op_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	struct wfs_fs *fs = wfs_fs_of(req);
	struct wfs_node node;
	double timeout;
	struct stat st;
	int r = wfs_node_resolve(fs->registry, id, &node);

	(void)fi;
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	wfs_node_attr(fs->registry, &node, &st);
	if (!node.model)
		wfs_control_attr(fs, node.index, &st);
	timeout = attr_timeout(&node);
	wfs_node_clear(&node);
	fuse_reply_attr(req, &st, timeout);
}

/* The arena, as `df` shows it; without one nothing is used or free. */
void wfs_op_statfs(fuse_req_t req, fuse_ino_t id)
{
	struct wfs_fs *fs = wfs_fs_of(req);
	struct statvfs sv = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_namemax = 255,
		.f_flag = ST_RDONLY | ST_NOSUID | ST_NODEV,
	};
	struct wfs_registry_row *rows;
	size_t count;

	(void)id;
	if (fs->store) {
		struct wfs_store_stats st;

		wfs_store_stats(fs->store, &st);
		sv.f_blocks = st.arena_bytes / sv.f_frsize;
		sv.f_bfree = sv.f_blocks - st.arena_used / sv.f_frsize;
		sv.f_bavail = sv.f_bfree;
	}
	count = wfs_registry_rows(fs->registry, &rows);
	for (size_t i = 0; i < count; i++) {
		sv.f_files += rows[i].model->entry_count;
		for (uint32_t k = 0; k < rows[i].model->rank_count; k++)
			sv.f_files += rows[i].model->ranks[k].count;
	}
	wfs_registry_rows_free(rows, count);
	fuse_reply_statfs(req, &sv);
}
