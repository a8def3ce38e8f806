/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `.weightfs/`: what the daemon is doing, as files.
 *
 * status.json, stats and version are made when they are opened; every read
 * of that open sees the same text.  events is a log: it is read to its end,
 * more comes later, poll(2) tells when.  A restart loses nothing but the
 * place in the log.
 */
#ifndef WFS_FS_CONTROL_H
#define WFS_FS_CONTROL_H

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct fuse_file_info;
struct fuse_pollhandle;
struct fuse_req;
struct wfs_control_state;
struct wfs_fs;

struct wfs_control_state *wfs_control_new(struct wfs_fs *fs);
/* Watches no more events; before the notifier ends.  NULL is fine. */
void wfs_control_stop(struct wfs_control_state *control);
/* After the notifier has ended.  NULL is fine. */
void wfs_control_free(struct wfs_control_state *control);

/* Adds the size of a control file to its attributes. */
void wfs_control_attr(struct wfs_fs *fs, uint32_t index, struct stat *st);

/* Each replies to `req`. */
void wfs_control_open(struct wfs_fs *fs, struct fuse_req *req, uint64_t id,
		      struct fuse_file_info *fi);
void wfs_control_read(struct wfs_fs *fs, struct fuse_req *req, uint64_t id,
		      size_t size, off_t off, uint64_t fh);
void wfs_control_poll(struct wfs_fs *fs, struct fuse_req *req, uint64_t id,
		      uint64_t fh, struct fuse_pollhandle *ph);
/* What came with an ioctl, and the room for what goes back. */
struct wfs_ioctl {
	unsigned cmd;
	const void *in; /* in_size bytes */
	size_t in_size, out_size;
};
void wfs_control_ioctl(struct wfs_fs *fs, struct fuse_req *req, uint64_t id,
		       const struct wfs_ioctl *call);

/* Forgets what an open kept; the caller replies. */
void wfs_control_release(struct wfs_fs *fs, uint64_t fh);

#endif
