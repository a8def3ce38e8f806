/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that tells the kernel things, and that minds deadlines.
 *
 * A notification sent from inside a request is the classic deadlock of file
 * systems like this one, so they all come from here, with no lock held: an
 * entry is expired, and only then the open that made it stale is answered.
 */
#ifndef WFS_FS_NOTIFIER_H
#define WFS_FS_NOTIFIER_H

#include <stdbool.h>
#include <stdint.h>

struct fuse_session;
struct wfs_notifier;

/* `session` must outlive the notifier. */
int wfs_notifier_start(struct fuse_session *session,
		       struct wfs_notifier **ret_notifier);
/* Runs what is queued, then ends the thread.  NULL is fine. */
void wfs_notifier_stop(struct wfs_notifier *n);

/*
 * Expires the entry `name` in directory `parent` (copied), then calls `then`
 * (may be NULL) from the notifier's thread.
 */
void wfs_notifier_expire(struct wfs_notifier *n, uint64_t parent,
			 const char *name, void (*then)(void *arg), void *arg);

/* Calls `then` from the notifier's thread. */
void wfs_notifier_call(struct wfs_notifier *n, void (*then)(void *arg),
		       void *arg);

/*
 * A deadline: `fire` is called once from the notifier's thread, at `at_ns`
 * (wfs_now_ns) or as soon as it is hurried, unless it is dropped before.
 * Embedded in the caller's struct and the caller's until it has fired or was
 * dropped.
 */
struct wfs_deadline {
	uint64_t at_ns;
	void (*fire)(struct wfs_deadline *deadline);
	struct wfs_deadline *prev, *next; /* the notifier's */
	bool queued;			  /* the notifier's */
};

void wfs_notifier_add(struct wfs_notifier *n, struct wfs_deadline *deadline);
/* May be called with any lock held that `fire` does not take. */
void wfs_notifier_hurry(struct wfs_notifier *n, struct wfs_deadline *deadline);
/* True: `fire` was not called and will not be. */
bool wfs_notifier_drop(struct wfs_notifier *n, struct wfs_deadline *deadline);

#endif
