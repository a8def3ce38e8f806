/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the origin share; nobody else includes it.
 *
 *	web.c      requests, and what the heads of answers say
 *	links.c    the links of a directory's page
 *	listing.c  which files there are
 *	s3*.c      the same for buckets
 *	aws*.c     keys to sign requests with
 *	lane.c     chunks over one connection
 *	proof.c    digests of the operator's, and what holds against them
 *	join.c     another place that has the same
 *	origin.c   a listing as a source
 */
#ifndef WFS_TRANSPORT_ORIGIN_INNER_H
#define WFS_TRANSPORT_ORIGIN_INNER_H

#include <pthread.h>

#include "core/digest/digest_tree.h"
#include "transport/fetch/fetch.h"
#include "transport/origin/listing.h"
#include "transport/origin/origin.h"

#define TOLD_MAX 64

struct wfs_origins {
	char *token, *ca_file, *trust_key;
	struct wfs_aws *aws; /* NULL: no model is in a bucket */
	unsigned lanes;
	uint64_t deadline_ns;
	atomic_bool stop;
	pthread_mutex_t lock;
	struct origin *sources;
	uint64_t told[TOLD_MAX]; /* hashes of what was logged lately */
	unsigned told_next;
};

struct origin_region {
	struct wfs_region base;
	struct wfs_far *far;
	const char *bytes; /* the whole file, where the proof has it */
	uint64_t retry_at; /* ns: its list is not asked for before */
};

struct origin {
	struct wfs_source base;
	struct wfs_origins *origins;
	struct origin *next; /* under the origins' lock */
	struct wfs_site site;
	struct wfs_web_listing listing;
	struct wfs_fetch *fetch;
	struct wfs_peer *peer; /* the server */
	struct wfs_source_entry *entries;
	size_t entry_count;
	struct origin_region *regions; /* one for each file of the listing */
	char **dirs;
	size_t dir_count;
	struct origin_proof *proof; /* NULL: there is none */
	pthread_mutex_t list_lock;  /* one list is asked for at a time */
	pthread_mutex_t join_lock;
	/* join.c, under that: who else has it; NULL: nobody yet. */
	struct wfs_origin_join joined;
	struct wfs_copy *others;
	struct wfs_peer *others_peer;
};

/* Logs it as an error, unless that was done lately. */
void wfs_origin_tell(struct wfs_origins *origins, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- proof.c: the digest manifest of what is listed */

struct origin_proof;

/*
 * Asks for the manifest where a root or a key is configured, and drops from
 * the listing what it does not speak of.  `root` is NULL, or what the
 * manifest's must be: then -EBADMSG, -ENOENT … with a sentence when it is not
 * proven.  With a key alone that is only logged.
 */
int wfs_origin_prove(struct origin *o, const uint8_t *root,
		     struct wfs_err *err);
void wfs_origin_proof_free(struct origin_proof *proof); /* NULL is fine */
const uint8_t *wfs_origin_proof_root(const struct origin_proof *proof);
enum wfs_trust wfs_origin_proof_trust(const struct origin_proof *proof);
/* The bytes of the manifest itself and of its signature, else NULL. */
const char *wfs_origin_proof_bytes(const struct origin_proof *proof,
				   const char *path);
/*
 * Waits until the SHA-256 list of the region is there, up to the deadline: 0,
 * -EIO, -ESHUTDOWN.
 */
int wfs_origin_await_list(struct origin *o, struct origin_region *region);

/* ---- join.c */

/* Of struct wfs_fetch_config. */
void wfs_origin_differs(void *ctx, struct wfs_peer *peer, uint64_t group,
			const char *text);
/*
 * The region's list of SHA-256, whose root that is, as the other place has it:
 * the file has it on return unless there is none, or nobody has it now.  May
 * wait up to the deadline of the other's reads.
 */
void wfs_origin_ask_others(struct origin *o, struct origin_region *region,
			   const uint8_t root[WFS_ROOT_BYTES]);
/* Reads of the other place fail from now on; before the fetch is freed. */
void wfs_origin_part(struct origin *o);
/* And after it. */
void wfs_origin_forget_others(struct origin *o);

/* A lane's regions are called by the index of their file in the listing. */
void wfs_origin_id(size_t index, uint8_t ret_id[WFS_WIRE_ID_BYTES]);
size_t wfs_origin_index(const uint8_t id[WFS_WIRE_ID_BYTES]);

/* The context of a peer is the struct origin. */
extern const struct wfs_lane_ops wfs_origin_lane_ops;

#endif
