/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What readers have passed to the daemon, or wait for: memory to be filled,
 * events to be rung, outcomes to be asked for.
 *
 * A slot has a number that cannot be guessed, and an owner (a connection).
 * Who knows the number and has the owner's uid may use it.  It goes when it is
 * dropped or the owner is gone; whoever uses it then keeps it till it puts it
 * back, and sees that it is dead.
 */
#ifndef WFS_FS_SLOTS_H
#define WFS_FS_SLOTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/target.h"

/* Of one user. */
#define WFS_SLOTS_MAX 256

enum wfs_slot_kind {
	WFS_SLOT_MEMORY,
	WFS_SLOT_EVENT,
	WFS_SLOT_DEVICE, /* a descriptor of device memory */
	WFS_SLOT_TICKET,
};

/* How a fill ended. */
struct wfs_outcome {
	int status;
	uint32_t stage;
	uint64_t done, from_memory, ns;
	uint32_t flags; /* those of weightfs_fill that are out */
};

struct wfs_slot {
	uint64_t id;
	enum wfs_slot_kind kind;
	uid_t uid;
	const void *owner;
	/* TICKET: whose owner is its own, and used by who adds it */
	const struct wfs_slot *of;
	struct wfs_target target;   /* MEMORY */
	int fd;			    /* EVENT, DEVICE; else -1 */
	struct wfs_outcome outcome; /* TICKET, once nobody uses it */
	atomic_bool dead;
	unsigned users;	       /* the table's */
	struct wfs_slot *next; /* the table's */
};

struct wfs_slots;

struct wfs_slots *wfs_slots_new(void);
/* When nobody uses one any more.  NULL is fine. */
void wfs_slots_free(struct wfs_slots *slots);

/*
 * Adds a copy of *slot (kind, uid, owner and what its kind has, which is the
 * table's from now on) under a number.  With `ret_used` it is had already, as
 * by wfs_slots_get.  -EBUSY: the user has as many as there may be; -ESRCH: the
 * slot that it is a ticket of is dead.
 */
int wfs_slots_add(struct wfs_slots *slots, const struct wfs_slot *slot,
		  uint64_t *ret_id, struct wfs_slot **ret_used);

/*
 * The slot of that number, until wfs_slots_put.  -ESRCH: there is none (any
 * more); -EACCES: it is another user's; -EOPNOTSUPP: of another kind.
 */
int wfs_slots_get(struct wfs_slots *slots, uint64_t id, uid_t uid,
		  enum wfs_slot_kind kind, struct wfs_slot **ret_slot);
void wfs_slots_put(struct wfs_slots *slots, struct wfs_slot *slot);

/*
 * Takes it away.  -ESRCH, -EACCES; -EBUSY while somebody uses it, but for
 * events.  Fills *ret_outcome if it is a ticket's.
 */
int wfs_slots_drop(struct wfs_slots *slots, uint64_t id, uid_t uid,
		   struct wfs_outcome *ret_outcome);

/* All of an owner are dead. */
void wfs_slots_orphan(struct wfs_slots *slots, const void *owner);

/* How many there are. */
unsigned wfs_slots_count(struct wfs_slots *slots);

#endif
