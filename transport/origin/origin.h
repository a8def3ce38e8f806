/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints on plain web servers, and in buckets of S3 (s3.h).
 *
 * `https://host/dir/` is a checkpoint when the server has its files there.
 * What files those are is told by weightfs.digests.json, else by the
 * directory's own page (the listings of nginx, Apache, Python and their like),
 * else by model.safetensors.index.json and the names that the other files of
 * checkpoints always have.
 *
 * Bytes are ranges of the files, a chunk each, over several connections.
 * Every request is pinned to what was listed (size, ETag or Last-Modified),
 * so that two versions are never mixed: a file that is another now fails with
 * -ESTALE.  A server that ignores ranges is read from the start of the file,
 * over one connection: right, and slow.
 *
 * Where the operator configured the root of weightfs.digests.json, or a key
 * that signed it, every chunk is held against the SHA-256 lists beside it
 * (weightfs.digests.lists) before anyone sees it; a wrong one is asked for
 * again.  Without, the server's word is all there is.  The trust class is
 * `origin`, or `signed`.  With such lists other places that have the same may
 * be asked for chunks, too.
 */
#ifndef WFS_TRANSPORT_ORIGIN_ORIGIN_H
#define WFS_TRANSPORT_ORIGIN_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/source.h"

struct wfs_origins;

struct wfs_origins_config {
	const char *token_file; /* NULL, or of a bearer token */
	const char *ca_file;	/* NULL: the system's */
	const char *trust_key;	/* NULL, or public keys of manifests */
	/* Of buckets; NULL: as the environment and ~/.aws say. */
	const char *s3_endpoint, *s3_region, *s3_profile, *s3_credentials;
	bool s3;	      /* there are any */
	unsigned lanes;	      /* connections to each origin; 0: 8 */
	uint64_t deadline_ns; /* of reads; 0: 60 s */
};

/*
 * Is this the URL of a bucket, or of a directory on a web server?  One without
 * a path, or with that of the seed protocol, is a seed's.
 */
bool wfs_origin_is_url(const char *text);

/* -EACCES … for a token or profile that cannot be read, with a sentence. */
int wfs_origins_open(const struct wfs_origins_config *config,
		     struct wfs_origins **ret_origins, struct wfs_err *err);

/* From now on reads fail at once, with -ESHUTDOWN; returns at once. */
void wfs_origins_stop(struct wfs_origins *origins); /* NULL is fine */
/* All its sources must be closed.  NULL is fine. */
void wfs_origins_close(struct wfs_origins *origins);

/*
 * Lists what is at `url`, which takes some round trips; with `root` (NULL:
 * any) that of its digest manifest must be it.  -ENOENT when no file
 * of a checkpoint is there, -EACCES, -ECONNREFUSED, -EBADMSG … with a
 * sentence.
 */
int wfs_origin_source(struct wfs_origins *origins, const char *url,
		      const uint8_t *root, struct wfs_source **ret_source,
		      struct wfs_err *err);

/* Is it one of those? */
bool wfs_origin_is_source(const struct wfs_source *source);

/* Another place with the very version of an origin. */
struct wfs_origin_join {
	struct wfs_source *source;
	/* Nobody is to read it any more: reads fail, those under way soon. */
	void (*end)(struct wfs_source *source);
	/* The lower is asked first, the other for what that does not bring. */
	unsigned rank, own_rank;
};

/*
 * From now on the chunks of `origin`, one of those with a tree (struct
 * wfs_source_ops), come from that place, too, each held against the same
 * digests; files are known by their paths.  The source is taken a reference
 * of, and ended when the origin is closed, or joined with another one.
 * -EAGAIN … with a sentence.
 */
int wfs_origin_join(struct wfs_source *origin,
		    const struct wfs_origin_join *join, struct wfs_err *err);

#endif
