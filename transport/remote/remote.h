/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models that other nodes hold: seeds, asked over transport/PROTOCOL.md.
 *
 * Each seed has a thread that asks it for its models every few seconds and
 * for their manifests when they changed; nobody else waits for a seed but who
 * reads.  A name is offered in the version of one seed, its authority, and
 * stays while that seed cannot be reached: for good if no other one has it.  Bytes of that version come from
 * other seeds, too, file by file, as soon as their root digest is known to be
 * the authority's.
 *
 * A name may have copies elsewhere, of no version that is known: other sources
 * that the fetch asks, too, as their rank among the seeds has it, for chunks
 * that it can hold against the authority's digests.
 *
 * Seeds on this host that lend descriptors are borrowed from instead: of the
 * authority when a version of it becomes a source, of all who have the same
 * file as soon as that is known.  Regions then are local files, and the fetch
 * is what is left if one of these cannot be read.
 */
#ifndef WFS_TRANSPORT_REMOTE_REMOTE_H
#define WFS_TRANSPORT_REMOTE_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/metric.h"
#include "core/base/text.h"
#include "core/digest/digest_tree.h"
#include "core/source.h"
#include "transport/fetch/control.h"
#include "transport/fetch/fetch.h"
#include "transport/wire/frame.h"

struct wfs_remote;

/* A seed's model under a name of the user's. */
struct wfs_remote_name {
	const char *name;
	/* http://host:port[/v1/models/X]; NULL: of any of `seeds` */
	const char *url;
	/*
	 * NULL, or the SHA-256 of its digest manifest's tree: the model is
	 * offered as that version alone, and every chunk checked.
	 */
	const uint8_t *root;
	/* That is to be said by a copy, wfs_remote_copy_vouch. */
	bool vouched;
};

/*
 * How descriptors are borrowed of a lender on this host: as the functions of
 * transport/lend/lend.h, whose contracts these have.
 */
struct wfs_remote_lending {
	int (*open)(const char *path, void **ret_lender, struct wfs_err *err);
	int (*borrow)(void *lender, const uint8_t id[WFS_WIRE_ID_BYTES],
		      uint64_t size, int *ret_fd, struct wfs_err *err);
	void (*close)(void *lender);
};

/*
 * A faster way to the chunks of seeds that say that they have one ("rdma":
 * true), tried before their streams.
 */
struct wfs_remote_fabric {
	const struct wfs_lane_ops *ops;
	/* What is the lanes' ctx, for a seed; `control` is copied. */
	void *(*peer_new)(const struct wfs_control *control);
	void (*peer_free)(void *peer); /* NULL is fine */
	/* Its own figures: members of a JSON object, families of metrics. */
	void (*report)(void *peer, struct wfs_text *text);
	void (*measure)(void *const *peers, const char *const *seeds,
			size_t count, enum wfs_metric_form form,
			struct wfs_text *text);
};

struct wfs_remote_config {
	const char *const *seeds; /* URLs: all that they list is offered */
	size_t seed_count;
	const struct wfs_remote_name *names;
	size_t name_count;
	const char *token_file; /* NULL: no token */
	const char *ca_file;	/* NULL: the system's */
	const char *cert_file, *key_file;
	/*
	 * NULL, or a file of public Ed25519 keys: models whose digest manifest
	 * one of them signed are checked, and `signed`.
	 */
	const char *trust_key;
	/* Copied; NULL: bytes of seeds on this host come over the network. */
	const struct wfs_remote_lending *lending;
	/* What is fetched is passed on: root digests are asked for at once. */
	bool passes_on;
	const struct wfs_remote_fabric *fabric; /* copied; NULL: none */
	unsigned rank;	      /* of seeds; copies of less are asked before */
	unsigned lanes;	      /* connections to each seed; 0: 4 */
	uint64_t deadline_ns; /* of reads; 0: 60 s */
	uint64_t poll_ns;     /* how often seeds are asked for news; 0: 2 s */
	uint64_t forget_ns;   /* then one without an answer is gone; 0: never */
};

/* Is this the URL of a seed, not a directory? */
bool wfs_remote_is_url(const char *text);

/*
 * Starts asking.  -EINVAL for a URL that is none, -EACCES … for a token that
 * cannot be read, with a sentence.  A seed that does not answer is no error.
 */
int wfs_remote_open(const struct wfs_remote_config *config,
		    struct wfs_remote **ret_remote, struct wfs_err *err);

/*
 * Waits until every seed has answered or failed once, `patient`: until one of
 * each URL has answered, up to `timeout_ns`.  `tell` is called for each that has
 * not answered.
 */
void wfs_remote_first(struct wfs_remote *remote, uint64_t timeout_ns,
		      bool patient, void (*tell)(void *ctx, const char *text),
		      void *ctx);

/* From now on reads fail at once, with -ESHUTDOWN; returns at once. */
void wfs_remote_stop(struct wfs_remote *remote); /* NULL is fine */
/* All its sources must be closed.  NULL is fine. */
void wfs_remote_close(struct wfs_remote *remote);

/* A model that is offered now. */
struct wfs_remote_model {
	char *name;
	bool gone;     /* none of its seeds answered for forget_ns */
	uint64_t peek; /* another one: its version is another one */
};

/* In byte order of the names; blocks for nothing. */
size_t wfs_remote_models(struct wfs_remote *remote,
			 struct wfs_remote_model **ret_models);
void wfs_remote_models_free(struct wfs_remote_model *models, size_t count);

/*
 * The source of a model that is offered; asks nobody but a lender on this
 * host.  -ENOENT with a sentence when it is not offered any more.
 */
int wfs_remote_source(struct wfs_remote *remote, const char *name,
		      struct wfs_source **ret_source, struct wfs_err *err);

/*
 * Nobody is to read it any more: reads fail with -ESTALE, those under way too,
 * soon.
 */
void wfs_remote_source_end(struct wfs_source *source);

/* Another place with the files of a name. */
struct wfs_remote_copy;

struct wfs_remote_copy_config {
	const char *name;  /* the user's */
	const char *label; /* its directory or URL */
	const char *kind;  /* "disk", … for figures; outlives the remote */
	unsigned rank;	/* below WFS_RANKS_MAX, no other copy's of the name */
	unsigned lanes; /* chunks read at a time */
};

/* Lives as long as the remote; is nothing before wfs_remote_copy_set. */
struct wfs_remote_copy *
wfs_remote_copy_add(struct wfs_remote *remote,
		    const struct wfs_remote_copy_config *config);
/*
 * From now on the copy is that source (a reference of its own; NULL: it is
 * not there).  This and the next two from one thread.
 */
void wfs_remote_copy_set(struct wfs_remote_copy *copy,
			 struct wfs_source *source);
/*
 * That is the root of the copy's digest manifest: from seeds its name, if it
 * is to be vouched for, is offered as that version alone.
 */
void wfs_remote_copy_vouch(struct wfs_remote_copy *copy,
			   const uint8_t root[WFS_ROOT_BYTES]);
/* Is this source a version of the copy's name from seeds? */
bool wfs_remote_copy_serves(const struct wfs_remote_copy *copy,
			    struct wfs_source *source);
/*
 * Finds out, if that is not known yet, whether the copy may stand in for that
 * version, of which it reads the headers; a copy that may not is logged.
 * -EIO …: it cannot be read now; -E2BIG: no room for one more; with a
 * sentence.
 */
int wfs_remote_copy_match(struct wfs_remote_copy *copy,
			  struct wfs_source *source, struct wfs_err *err);
/* Logs where the bytes of models come from, where that changed. */
void wfs_remote_copies_tell(struct wfs_remote *remote);

/* A JSON array, an object for each seed and each copy. */
void wfs_remote_report(struct wfs_remote *remote, struct wfs_text *text);

/*
 * The same as metrics, weightfs_remote_…, with labels `seed` and `way` ("tcp",
 * "rdma", of a copy its kind).  Seeds whose hosts were not found yet have none.
 */
void wfs_remote_measure(struct wfs_remote *remote, enum wfs_metric_form form,
			struct wfs_text *text);

#endif
