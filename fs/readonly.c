/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount is read-only, so the kernel lets none of these through; root can
 * remount it writable, and then hears EROFS from us.
 */
#include "fs/readonly.h"

#include <errno.h>

static void refuse_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent;
	(void)name;
	fuse_reply_err(req, EROFS);
}

static void refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
			 mode_t mode, dev_t rdev)
{
	(void)mode;
	(void)rdev;
	refuse_name(req, parent, name);
}

static void refuse_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
			 mode_t mode)
{
	(void)mode;
	refuse_name(req, parent, name);
}

static void refuse_create(fuse_req_t req, fuse_ino_t parent, const char *name,
			  mode_t mode, struct fuse_file_info *fi)
{
	(void)mode;
	(void)fi;
	refuse_name(req, parent, name);
}

static void refuse_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
			   const char *name)
{
	(void)link;
	refuse_name(req, parent, name);
}

static void refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
			  fuse_ino_t to, const char *to_name, unsigned flags)
{
	(void)to;
	(void)to_name;
	(void)flags;
	refuse_name(req, parent, name);
}

static void refuse_link(fuse_req_t req, fuse_ino_t id, fuse_ino_t parent,
			const char *name)
{
	(void)id;
	refuse_name(req, parent, name);
}

static void refuse_setattr(fuse_req_t req, fuse_ino_t id, struct stat *attr,
			   int to_set, struct fuse_file_info *fi)
{
	(void)id;
	(void)attr;
	(void)to_set;
	(void)fi;
	fuse_reply_err(req, EROFS);
}

static void refuse_setxattr(fuse_req_t req, fuse_ino_t id, const char *name,
			    const char *value, size_t size, int flags)
{
	(void)value;
	(void)size;
	(void)flags;
	refuse_name(req, id, name);
}

static void refuse_write(fuse_req_t req, fuse_ino_t id, const char *buf,
			 size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)id;
	(void)buf;
	(void)size;
	(void)off;
	(void)fi;
	fuse_reply_err(req, EROFS);
}

static void refuse_fallocate(fuse_req_t req, fuse_ino_t id, int mode, off_t off,
			     off_t len, struct fuse_file_info *fi)
{
	(void)id;
	(void)mode;
	(void)off;
	(void)len;
	(void)fi;
	fuse_reply_err(req, EROFS);
}

void wfs_readonly_ops(struct fuse_lowlevel_ops *ops)
{
	ops->mknod = refuse_mknod;
	ops->mkdir = refuse_mkdir;
	ops->create = refuse_create;
	ops->symlink = refuse_symlink;
	ops->rename = refuse_rename;
	ops->link = refuse_link;
	ops->unlink = refuse_name;
	ops->rmdir = refuse_name;
	ops->setattr = refuse_setattr;
	ops->setxattr = refuse_setxattr;
	ops->removexattr = refuse_name;
	ops->write = refuse_write;
	ops->fallocate = refuse_fallocate;
}
