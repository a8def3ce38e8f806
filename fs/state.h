/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the FUSE face share: one struct, made by session.c.
 * Each member that has a header of its own is touched only through it.
 */
#ifndef WFS_FS_STATE_H
#define WFS_FS_STATE_H

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 17)

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "fs/backing.h"
#include "fs/control.h"
#include "fs/fs.h"
#include "fs/intent.h"
#include "fs/modes.h"
#include "fs/node.h"
#include "fs/notifier.h"
#include "fs/passing.h"
#include "fs/ring.h"
#include "fs/slots.h"
#include "fs/workers.h"

/* Entries and attributes of a version never change. */
#define WFS_FOREVER 86400.0
/*
 * The root's attributes change with the models.  Every path walk checks its
 * permissions, so they are kept for a moment: asking each time costs more
 * than the rest of an `ls -l`.
 */
#define WFS_A_MOMENT 1.0

struct wfs_hashes;

struct wfs_counters {
	atomic_ullong opens_passthrough, opens_cached, opens_waited,
		opens_refused;
	atomic_ullong reads, read_bytes, read_errors;
	atomic_ullong fills, fill_bytes, fill_errors;
};

struct wfs_fs {
	struct wfs_fs_config config;
	char *mountpoint, *source_name, *store_why;
	struct wfs_registry *registry;
	struct wfs_store *store; /* NULL: no arena */
	struct fuse_session *session;
	struct wfs_backing *backing;
	struct wfs_modes *modes;
	struct wfs_notifier *notifier;
	struct wfs_workers *readers, *fillers, *feeders;
	struct wfs_intent *intent;
	struct wfs_hashes *hashes;
	struct wfs_control_state *control;
	struct wfs_slots *slots;
	struct wfs_passing *passing; /* NULL: descriptors cannot be passed */
	struct wfs_ring *ring;	     /* NULL: events cannot be rung */
	struct wfs_counters counters;
	uint64_t started_ns;
	void (*ready)(void *ctx);
	void *ready_ctx;
	bool mounted;
	sem_t stop;	       /* posted by wfs_fs_exit */
	pthread_t loop_thread; /* the one inside wfs_fs_run */
	atomic_bool loop_ended;
};

static inline struct wfs_fs *wfs_fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* Can any open of this mount be passthrough? */
static inline bool wfs_fs_passthrough(const struct wfs_fs *fs)
{
	return wfs_backing_in_use(fs->backing);
}

/*
 * Operations, one file each; every path replies exactly once.
 *
 * lookup.c
 */
void wfs_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void wfs_op_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi);
void wfs_op_statfs(fuse_req_t req, fuse_ino_t id);
/* Fills what a look-up and a readdirplus answer; picks the variant. */
void wfs_entry_fill(struct wfs_fs *fs, const struct wfs_node *node,
		    struct fuse_entry_param *ret_entry);
/* dir.c */
void wfs_op_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi);
void wfs_op_readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t off,
		    struct fuse_file_info *fi);
void wfs_op_readdirplus(fuse_req_t req, fuse_ino_t id, size_t size, off_t off,
			struct fuse_file_info *fi);
void wfs_op_releasedir(fuse_req_t req, fuse_ino_t id,
		       struct fuse_file_info *fi);
/* open.c */
void wfs_op_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi);
void wfs_op_release(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi);
/* read.c */
void wfs_op_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t off,
		 struct fuse_file_info *fi);
/* ioctl.c */
void wfs_op_ioctl(fuse_req_t req, fuse_ino_t id, unsigned cmd, void *arg,
		  struct fuse_file_info *fi, unsigned flags, const void *in,
		  size_t in_size, size_t out_size);
/* xattr.c */
void wfs_op_getxattr(fuse_req_t req, fuse_ino_t id, const char *name,
		     size_t size);
void wfs_op_listxattr(fuse_req_t req, fuse_ino_t id, size_t size);

#endif
