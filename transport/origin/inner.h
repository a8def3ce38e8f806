/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the origin share; nobody else includes it.
 *
 *	web.c      requests, and what the heads of answers say
 *	links.c    the links of a directory's page
 *	listing.c  which files there are
 *	lane.c     chunks over one connection
 *	origin.c   a listing as a source
 */
#ifndef WFS_TRANSPORT_ORIGIN_INNER_H
#define WFS_TRANSPORT_ORIGIN_INNER_H

#include <pthread.h>

#include "transport/fetch/fetch.h"
#include "transport/origin/listing.h"
#include "transport/origin/origin.h"

struct wfs_origins {
	char *token, *ca_file;
	unsigned lanes;
	uint64_t deadline_ns;
	atomic_bool stop;
	pthread_mutex_t lock;
	struct origin *sources;
};

struct origin_region {
	struct wfs_region base;
	struct wfs_far *far;
};

struct origin {
	struct wfs_source base;
	struct wfs_origins *origins;
	struct origin *next; /* under the origins' lock */
	struct wfs_site site;
	struct wfs_web_listing listing;
	struct wfs_fetch *fetch;
	struct wfs_source_entry *entries;
	size_t entry_count;
	struct origin_region *regions; /* one for each file of the listing */
	char **dirs;
	size_t dir_count;
};

/* A lane's regions are called by the index of their file in the listing. */
void wfs_origin_id(size_t index, uint8_t ret_id[WFS_WIRE_ID_BYTES]);
size_t wfs_origin_index(const uint8_t id[WFS_WIRE_ID_BYTES]);

/* The context of a peer is the struct origin. */
extern const struct wfs_lane_ops wfs_origin_lane_ops;

#endif
