/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a seed says it has: its list of models, and the manifest of one.
 *
 * Both come from somewhere else: nothing in them is believed before it was
 * checked.  What is here after parsing is sound by itself: names and paths are
 * what they may be, each path once and after its directory, sizes that fit.
 */
#ifndef WFS_TRANSPORT_REMOTE_MANIFEST_H
#define WFS_TRANSPORT_REMOTE_MANIFEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "core/base/err.h"
#include "transport/remote/proof.h"
#include "transport/remote/workers.h"
#include "transport/wire/frame.h"

#define WFS_LIST_MAX	 (8u << 20)   /* bytes of a list of models */
#define WFS_MANIFEST_MAX (256u << 20) /* of a manifest */
#define WFS_LISTED_MAX	 65536u	      /* models of one seed */
#define WFS_VERSION_MAX	 WFS_LIVE_VERSION_BYTES
#define WFS_VIA_MAX	 64 /* nodes that a model comes by */

struct wfs_listed {
	char *name;
	char *via; /* ids of nodes it comes by, a blank between; NULL: none */
	char version[WFS_VERSION_MAX];
};

struct wfs_listing {
	char node[33];
	char *boot_id; /* of its kernel; NULL: it does not say */
	char *socket;  /* where it lends descriptors; NULL: nowhere */
	bool rdma;     /* /v1/rdma tells of its memory */
	struct wfs_listed *models; /* byte order of the names */
	size_t count;
};

/*
 * Reads text[0 … len), which WFS_JSON_PADDING writable bytes follow, and which
 * is changed.  `what` is for messages.  -EBADMSG with a sentence;
 * -EPROTONOSUPPORT where it is of another protocol.
 */
int wfs_listing_parse(char *text, size_t len, const char *what,
		      struct wfs_listing *ret, struct wfs_err *err);
void wfs_listing_clear(struct wfs_listing *listing);

struct wfs_manifest_file {
	char *path;
	bool is_dir;
	bool has_root; /* its XXH3-128 root is known */
	uint64_t size;
	struct timespec mtime;
	uint8_t id[WFS_WIRE_ID_BYTES]; /* of its region */
	uint8_t root[WFS_WIRE_HASH_SIZE];
	/* As the seed says; of a manifest with a proof, as that does. */
	bool has_sha256;
	uint8_t sha256[WFS_ROOT_BYTES];
	/*
	 * Of an engine's memory, which has no digests: the XXH3-128 of the
	 * shard's header, or of all of config.json (live.c).
	 */
	bool has_head;
	uint8_t head[WFS_WIRE_HASH_SIZE];
};

struct wfs_manifest {
	atomic_uint refs;
	char version[WFS_VERSION_MAX];
	struct wfs_manifest_file *files; /* byte order of the paths */
	size_t count;
	bool rooted; /* every file's root is known, or never will be */
	struct wfs_proof *proof;     /* wfs_proof_apply; NULL without */
	struct wfs_workers *workers; /* it is their memory; NULL: files */
};

/* As wfs_listing_parse; one reference. */
int wfs_manifest_parse(char *text, size_t len, const char *what,
		       struct wfs_manifest **ret, struct wfs_err *err);
struct wfs_manifest *wfs_manifest_get(struct wfs_manifest *manifest);
void wfs_manifest_put(struct wfs_manifest *manifest); /* NULL is fine */

/* The object's "version", WFS_VERSION_MAX bytes; -EINVAL: it has none. */
int wfs_manifest_take_version(yyjson_val *object, char *ret_version);

/*
 * The steps of that: sorts the files and sees that they are sound together;
 * takes what `top` says of an engine (live.c), if it does.  -EBADMSG with a
 * sentence.
 */
int wfs_manifest_check(struct wfs_manifest *manifest, const char *what,
		       struct wfs_err *err);
int wfs_manifest_take_live(struct wfs_manifest *manifest, yyjson_val *top,
			   const char *what, struct wfs_err *err);

/* The file of that path, or NULL. */
const struct wfs_manifest_file *
wfs_manifest_find(const struct wfs_manifest *manifest, const char *path);

#endif
