/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories.  An offset is 0 before ".", 1 before "..", and 2 + what the
 * iterator goes on with before a child; so any offset can be sought to at any
 * time, and nothing is kept between calls.
 */
#include <errno.h>

#include "core/base/text.h"
#include "fs/state.h"

/* Directories of a model never change: the kernel may keep the listing. */
void wfs_op_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	struct wfs_fs *fs = wfs_fs_of(req);
	struct wfs_node node;
	int r = wfs_node_resolve(fs->registry, id, &node);

	if (r == 0 && !wfs_node_is_dir(&node))
		r = -ENOTDIR;
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	fi->cache_readdir = node.model != NULL;
	fi->keep_cache = node.model != NULL;
	wfs_node_clear(&node);
	fuse_reply_open(req, fi);
}

void wfs_op_releasedir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	(void)id;
	(void)fi;
	fuse_reply_err(req, 0);
}

struct listing {
	struct wfs_fs *fs;
	fuse_req_t req;
	char *buf;
	size_t size, used;
	bool plus;
};

/* Adds one entry; false when it does not fit any more. */
static bool add(struct listing *l, const char *name,
		const struct wfs_node *node, off_t next)
{
	struct fuse_entry_param e = { .ino = 0 };
	size_t room = l->size - l->used, need;

	/* The kernel takes no look-up from "." and "..": attributes only. */
	if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))
		wfs_node_attr(l->fs->registry, node, &e.attr);
	else
		wfs_entry_fill(l->fs, node, &e);
	if (l->plus)
		need = fuse_add_direntry_plus(l->req, l->buf + l->used, room,
					      name, &e, next);
	else
		need = fuse_add_direntry(l->req, l->buf + l->used, room, name,
					 &e.attr, next);
	if (need > room)
		return false;
	l->used += need;
	return true;
}

static void fill(struct listing *l, const struct wfs_node *dir, off_t off)
{
	struct wfs_registry *reg = l->fs->registry;
	struct wfs_node parent, child;
	struct wfs_node_iter it;
	const char *name;

	if (off == 0 && !add(l, ".", dir, ++off))
		return;
	if (off == 1) {
		bool added;

		if (wfs_node_resolve(reg, wfs_node_parent(dir), &parent) < 0)
			return;
		added = add(l, "..", &parent, ++off);
		wfs_node_clear(&parent);
		if (!added)
			return;
	}
	wfs_node_iter_open(&it, reg, dir, (uint64_t)off - 2);
	while (wfs_node_iter_step(&it, &child, &name))
		if (!add(l, name, &child, (off_t)it.next + 2))
			break;
	wfs_node_iter_close(&it);
}

static void list(fuse_req_t req, fuse_ino_t id, size_t size, off_t off,
		 bool plus)
{
	struct listing l = {
		.fs = wfs_fs_of(req),
		.req = req,
		.size = size,
		.plus = plus,
	};
	struct wfs_node dir;
	int r = off < 0 ? -EINVAL : wfs_node_resolve(l.fs->registry, id, &dir);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	l.buf = wfs_malloc(size);
	if (wfs_node_is_dir(&dir))
		fill(&l, &dir, off);
	wfs_node_clear(&dir);
	fuse_reply_buf(req, l.buf, l.used);
	free(l.buf);
}

void wfs_op_readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)fi;
	list(req, id, size, off, false);
}

void wfs_op_readdirplus(fuse_req_t req, fuse_ino_t id, size_t size, off_t off,
			struct fuse_file_info *fi)
{
	(void)fi;
	list(req, id, size, off, true);
}
