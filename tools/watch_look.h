/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the watch knows of each checkpoint, for watch.c and watch_look.c only.
 * Touched by the thread alone (before it runs, by who will start it).
 */
#ifndef WFS_TOOLS_WATCH_LOOK_H
#define WFS_TOOLS_WATCH_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/watch.h"

struct wfs_track {
	char *name, *path;
	bool by_hand;	  /* named by the user, not found in a directory */
	bool found;	  /* in this look */
	unsigned missing; /* looks in a row without it */
	uint64_t seen;	  /* its peek in the last look */
	bool has_seen;
	uint64_t done; /* the peek that was loaded, or found bad */
	bool has_done;
	bool bad;		    /* and could not be loaded */
	uint32_t stale_slot;	    /* the slot that was found stale */
	char *complaint;	    /* the last one, not to be said again */
	unsigned pause, pause_left; /* looks, while the source fails */
};

struct wfs_tracks {
	const struct wfs_watch_config *config; /* borrowed */
	struct wfs_track **tracks;
	size_t count;
	bool first;	 /* the first look: load at once, tell the caller */
	bool dir_exists; /* the models directory */
	char *dir_complaint;
};

/* One look at everything. */
void wfs_tracks_look(struct wfs_tracks *tracks);
void wfs_tracks_clear(struct wfs_tracks *tracks);

#endif
