/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of seeds after a fork.
 *
 * A child has the memory of its parent's seeds and none of their threads, so
 * it must not touch them.  But it also has their sockets: as long as it holds
 * them, clients of a parent that died would wait, and its port be taken.  So
 * a child closes them, at once, and is another node from then on.
 */
#ifndef WFS_TOOLS_LIB_FORK_H
#define WFS_TOOLS_LIB_FORK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct wfs_bounces;

/* What a child has to give back of a seed.  The seed's. */
struct wfs_forkable {
	struct wfs_forkable *next;
	unsigned generation; /* fork.c's */
	uint16_t port;	     /* sockets of this end are the seed's */
	struct wfs_bounces *bounces;
};

/*
 * From now on: until `remove`.  No fork happens while a lock that a child
 * needs is held: take it around what must not be cut in two.
 */
void wfs_forkable_add(struct wfs_forkable *it);
void wfs_forkable_remove(struct wfs_forkable *it);
void wfs_fork_hold(void);
void wfs_fork_release(void);

/* Is this the process that made it? */
bool wfs_forkable_is_ours(const struct wfs_forkable *it);

#endif
