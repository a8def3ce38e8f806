/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FUSE face of the models in a registry.
 *
 *	wfs_fs_new -> wfs_fs_mount -> wfs_fs_run … wfs_fs_exit -> wfs_fs_free
 */
#ifndef WFS_FS_FS_H
#define WFS_FS_FS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/model/registry.h"
#include "core/store/chunks.h"
#include "core/store/store.h"

struct wfs_device;
struct wfs_fs;
struct wfs_orders;

enum wfs_passthrough {
	WFS_PASSTHROUGH_AUTO, /* where the kernel and our privilege allow */
	WFS_PASSTHROUGH_OFF,
};

struct wfs_fs_config {
	const char *mountpoint; /* absolute */
	const char *source;	/* shown in /proc/mounts: models directory
				   or "none" */
	bool allow_other;
	bool nonempty; /* mount over a directory that is not empty */
	enum wfs_passthrough passthrough;
	bool deep_stack; /* some source lies on overlayfs: stacking depth 2 */
	uint64_t open_wait_ns;	/* longest predicted wait of an open */
	uint64_t prefetch;	/* bytes hydrated ahead of a reader; 0 = none */
	uint32_t readahead_kib; /* of the mount's bdi; 0 = leave it */
	uint32_t readers;	/* threads that answer READs; 0 = default */
	struct wfs_chunks *chunks; /* for its numbers; NULL: none */
	struct wfs_device *device; /* NULL: no GPU is served */
	struct wfs_orders *orders; /* of loads; NULL: none is kept */
	/* Adds a JSON array, what is told of seeds; NULL: there are none. */
	void (*report_seeds)(void *ctx, struct wfs_text *text);
	/* Adds the same as Prometheus text; may be NULL. */
	void (*measure_seeds)(void *ctx, struct wfs_text *text);
	void *report_ctx;
	/*
	 * The digest of a model on this node's disks (32 bytes), for
	 * user.weightfs.digest: 0; -EINPROGRESS, from now on it is computed;
	 * -ENODATA.  Without `start` only what is known or being computed
	 * counts.  Waits for nothing.  NULL: there are none.
	 */
	int (*digest)(void *ctx, struct wfs_model *model, bool start,
		      uint8_t *ret_root);
	void *digest_ctx;
};

/*
 * `registry`, `store` (NULL: none, `store_why` says why) and what the config
 * names stay the caller's and must outlive the fs.
 */
int wfs_fs_new(const struct wfs_fs_config *config,
	       struct wfs_registry *registry, struct wfs_store *store,
	       const char *store_why, struct wfs_fs **ret_fs,
	       struct wfs_err *err);

/*
 * Mounts.  A dead earlier mount on the mount point is taken away first.
 * -ENOENT, -ENOTDIR, -ENOTEMPTY, -EPERM … with a sentence.
 */
int wfs_fs_mount(struct wfs_fs *fs, struct wfs_err *err);

/*
 * Serves until unmounted or wfs_fs_exit.  `ready` is called once, when the
 * kernel has been answered.  0 or a negative errno.
 */
int wfs_fs_run(struct wfs_fs *fs, void (*ready)(void *ctx), void *ctx);

/*
 * From `ready` on: NULL while nothing speaks against passthrough (the kernel
 * may still refuse it at the first open: privilege), else one sentence.
 * Belongs to the fs.
 */
const char *wfs_fs_passthrough_why(const struct wfs_fs *fs);

/* Makes wfs_fs_run unmount and return.  Async-signal-safe. */
void wfs_fs_exit(struct wfs_fs *fs);

void wfs_fs_free(struct wfs_fs *fs); /* NULL is fine */

#endif
