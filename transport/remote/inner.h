/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the remote share; nobody else includes it.
 *
 *	remote.c  opening, closing, what is offered
 *	hosts.c   from URLs to seeds
 *	seed.c    a seed's thread: its models and their manifests
 *	news.c    when there is something new of one
 *	live.c    what they are if an engine's memory is behind them
 *	gather.c  several seeds of ranks as one model …
 *	whole.c   … and how long that stays
 *	prove.c   whether somebody trusted stands behind them
 *	lists.c   and their digests
 *	match.c   which version a name has, and who has the same bytes
 *	copies.c  copies beside the seeds, and what they may stand in for
 *	told.c    what is said of where bytes come from
 *	source.c  a version of a model as a source
 *	borrow.c  descriptors of its files, lent on this host
 *	fabric.c  the faster way to a seed, where it has one
 *	report.c  what is told of seeds
 *	measure.c the same as metrics
 *
 * One lock for all of it, never held across I/O; the fetch's lock may be taken
 * inside it.
 */
#ifndef WFS_TRANSPORT_REMOTE_INNER_H
#define WFS_TRANSPORT_REMOTE_INNER_H

#include <pthread.h>

#include "core/base/bits.h"
#include "core/base/ids.h"
#include "transport/fetch/fetch.h"
#include "transport/remote/link.h"
#include "transport/remote/manifest.h"
#include "transport/remote/remote.h"

/* A model as a seed has it. */
struct remote_model {
	char *name;
	char *via; /* as of struct wfs_listed */
	char version[WFS_VERSION_MAX];
	struct wfs_manifest *manifest; /* NULL while there is none */
	char *complaint;	       /* why there is none */
	char *doubt;		       /* why it is not proven */
	char *odd;  /* how it is not what it declares; under the lock */
	bool again; /* the manifest is to be asked for anew */
};

/* A URL of the configuration; its host may have several addresses. */
struct remote_url {
	struct wfs_remote *remote;
	struct wfs_url url;
	bool all; /* all its models are offered */
	pthread_t thread;
	bool started;
	/* Under the lock. */
	char why[256]; /* its host cannot be looked up */
	bool kicked;   /* to be looked up anew: a seed of it failed */
	/* Its thread's alone. */
	char *complaint; /* the last one logged */
};

struct remote_seed {
	struct wfs_remote *remote;
	struct remote_url *url;
	size_t index; /* among the remote's */
	struct wfs_link *link;
	struct wfs_peer *peer;
	struct wfs_peer *fast; /* by the fabric; NULL: none (yet) */
	void *fast_ctx;
	CURL *curl; /* its thread's */
	pthread_t thread;
	bool started;
	/* Under the lock. */
	bool listed; /* its host has this address (still) */
	bool away;   /* it has not, and this one answers no more: let go */
	bool tried, up, kicked;
	bool streams; /* it tells when there is something new */
	CURLM *news;  /* while it is listened to */
	/*
	 * So often what it said was not so any more, or not enough; and of
	 * these it was asked for everything anew.
	 */
	unsigned doubted, asked_anew;
	uint64_t down_since; /* ns */
	char why[WFS_ERR_TEXT];
	char node[33];
	char *socket; /* it is on this host, and lends there; or NULL */
	uint64_t lent_files, lent_bytes; /* by it, in use */
	struct remote_model *models;	 /* byte order of the names */
	size_t model_count;
	/* Its thread's alone. */
	void *lender;	/* at the socket; NULL: none yet */
	bool no_lender; /* it was tried in vain */
	char etag[128];
	unsigned failures;
	bool settled;	 /* it owed nothing at the last look */
	char *complaint; /* the last one logged */
};

struct remote_region {
	struct wfs_region base;
	struct wfs_far *far;
	struct remote_seed *authority;
	bool has_root;
	bool no_list;		 /* the authority gives no sound one */
	bool proven;		 /* not read without a SHA-256 list */
	bool awaited;		 /* somebody waits for that */
	struct wfs_bits refused; /* seeds that gave none, by index */
	uint64_t asked_at;	 /* ns: some seed is asked for it */
	/* A descriptor of it, of whom; -1 until there is one, for good. */
	atomic_int lent;
	struct remote_seed *lender;
	struct timespec lent_mtime;
	struct timespec lent_ctime; /* under the lock, as is … */
	nlink_t lent_links;
	uint8_t sha256[WFS_ROOT_BYTES];
	uint8_t id[WFS_WIRE_ID_BYTES]; /* the authority's */
	uint8_t root[WFS_WIRE_HASH_SIZE];
};

struct wfs_remote_copy {
	struct wfs_remote *remote;
	struct wfs_remote_copy *next;
	char *name, *label;
	const char *kind;
	unsigned rank, lanes;
	struct wfs_copy *lane;
	struct wfs_peer *peer; /* NULL until it is needed */
	bool there;	       /* the lane has a source */
};

/* What is known of a copy and a version. */
struct remote_match {
	struct wfs_remote_copy *copy;
	enum {
		REMOTE_MATCH_OPEN, /* nothing yet */
		REMOTE_MATCH_SAME, /* as far as could be seen */
		REMOTE_MATCH_DIFFERS,
	} state;
	size_t files; /* that may stand in */
};

struct wfs_remote_source {
	struct wfs_source base;
	struct wfs_remote *remote;
	struct wfs_remote_source *next; /* of the remote's, under its lock */
	uint64_t serial;
	atomic_bool ended; /* a live version that nobody has any more */
	char *name;
	char *remote_name; /* as seeds call it */
	/* By the name's copies; under the lock, as is the next. */
	struct remote_match matches[WFS_RANKS_MAX];
	unsigned match_count;
	struct wfs_far_group group;   /* its id is the serial */
	uint64_t told[WFS_RANKS_MAX]; /* the group's bytes at the last look */
	unsigned rank_told;	      /* whose bytes it has, as was said */
	enum wfs_trust trust;
	struct wfs_manifest *manifest;
	struct wfs_source_entry *entries;
	struct remote_region *regions; /* as many as the manifest has files */
};

/* Which seed's version a name has. */
struct wfs_choice {
	char *name, *remote_name;
	struct remote_url *url;	  /* only its seeds; NULL: all of --seed */
	struct remote_seed *seed; /* NULL: none */
	/*
	 * A version that lies in the memory of an engine, put together of what
	 * the seeds of its ranks have (gather.c); NULL: none.
	 */
	struct wfs_manifest *whole;
	bool lapsed;	 /* somebody gave up a rank of it, so its sources did */
	uint64_t round;	 /* so often it came back after that */
	char *complaint; /* why there is none; NULL: nobody has a rank of it */
	bool pinned;	 /* of this tree, and no other … */
	bool vouched;	 /* … as a copy says; all 0: as none did yet */
	uint8_t root[WFS_ROOT_BYTES];
};

struct wfs_remote {
	struct wfs_security security;
	char *trust_key;		   /* a file; NULL: none */
	struct wfs_remote_lending lending; /* all NULL: none */
	char boot_id[WFS_BOOT_ID_BYTES];   /* of this host */
	struct wfs_fetch *fetch;
	struct wfs_remote_copy *copies;
	unsigned rank, lanes;
	uint64_t deadline_ns, poll_ns, forget_ns;
	struct wfs_remote_fabric fabric; /* ops NULL: none */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	atomic_bool stop;
	bool passes_on;
	struct remote_url *urls;
	size_t url_count;
	struct remote_seed **seeds;
	size_t seed_count;
	struct wfs_remote_source *sources;
	uint64_t serial;	    /* the last source's */
	struct wfs_choice *choices; /* byte order of the names */
	size_t choice_count;
};

/* seed.c */
void wfs_remote_seed_run(struct remote_seed *seed);
struct remote_model *wfs_remote_model_locked(const struct remote_seed *seed,
					     const char *name);
void wfs_remote_models_clear(struct remote_model *models, size_t count);
/* Waits up to `ns`, or until told to look or to end; false: to end. */
bool wfs_remote_pause(struct wfs_remote *remote, struct remote_seed *seed,
		      uint64_t ns);

/* Says it once, until it is something else. */
void wfs_remote_complain(char **last, const char *text);

/* news.c */
void *wfs_remote_news_run(void *seed);
/* Wakes who listens, after `stop` was set. */
void wfs_remote_news_stop_locked(struct wfs_remote *remote);

/* live.c */
/*
 * Asks for what else must be known of a live manifest, and was not known of
 * the one before it (`had`, or NULL); of others nothing.
 */
int wfs_remote_finish_live(struct remote_seed *seed,
			   const struct wfs_manifest *had,
			   struct wfs_manifest *manifest, struct wfs_err *err);
bool wfs_live_same_config(const struct wfs_manifest *a,
			  const struct wfs_manifest *b);
/*
 * Is `other`, of the same path in `manifest`, the file of a live version, as
 * far as that can be known?
 */
bool wfs_live_same_file(const struct wfs_manifest *whole,
			const struct wfs_manifest_file *file,
			const struct wfs_manifest *manifest,
			const struct wfs_manifest_file *other);

/* The same of all files of a rank. */
bool wfs_live_same_rank(const struct wfs_manifest *whole,
			const struct wfs_manifest *manifest, uint32_t rank);

/* whole.c */
/* The model of a seed that is the memory of an engine, or NULL. */
const struct remote_model *wfs_remote_live_of(const struct wfs_choice *choice,
					      const struct remote_seed *seed);
/* The same as long as the bytes are, as far as anybody knows. */
void wfs_whole_set_version(struct wfs_manifest *whole);
/* Of the choice's version. */
enum wfs_standing {
	WFS_FALLEN,	/* a rank is nobody's any more */
	WFS_PASSED_ON,	/* some only of who has them of others, or is gone */
	WFS_FIRST_HAND, /* or of who cannot be asked just now */
};
enum wfs_standing wfs_whole_standing_locked(const struct wfs_remote *remote,
					    const struct wfs_choice *choice);
/* Have all who had a rank of it not answered for so long? */
bool wfs_whole_is_gone_locked(const struct wfs_remote *remote,
			      const struct wfs_choice *choice);
/* The nodes that it comes by, as of struct wfs_source. */
char *wfs_whole_via_locked(const struct wfs_remote *remote,
			   const struct wfs_choice *choice);

/* gather.c */
/* Keeps, replaces or drops the choice's live version. */
void wfs_remote_gather_locked(struct wfs_remote *remote,
			      struct wfs_choice *choice);

/* prove.c */
/*
 * The first `len` bytes of a file, by the seed's thread.  -EBADMSG when these
 * are not what came, -EIO …
 */
int wfs_remote_get_bytes(struct remote_seed *seed,
			 const struct wfs_manifest_file *file, uint64_t len,
			 struct wfs_http *ret, struct wfs_err *err);
/* Finds out whether somebody trusted stands behind a manifest that nobody
 * else has seen yet. */
void wfs_remote_prove(struct remote_seed *seed, struct remote_model *model,
		      struct wfs_manifest *manifest);
bool wfs_choice_accepts(const struct wfs_choice *choice,
			const struct wfs_manifest *manifest);
enum wfs_trust wfs_choice_trust(const struct wfs_choice *choice,
				const struct wfs_manifest *manifest);

/* lists.c */
/* False when some could not be had now. */
bool wfs_remote_get_lists(struct remote_seed *seed);
/*
 * Waits for the list of a proven region: 0, -EIO at the deadline, -ESTALE when
 * its source ended, -ESHUTDOWN.
 */
int wfs_remote_await_list(struct wfs_remote *remote,
			  struct remote_region *region);

/* copies.c */
/* As in struct wfs_fetch_config. */
void wfs_remote_copy_differs(void *remote, struct wfs_peer *peer,
			     uint64_t group, const char *text);
/* Of how many files of its name's versions could chunks be checked now? */
size_t wfs_remote_copy_checkable_locked(const struct wfs_remote_copy *copy,
					size_t *ret_files);
/* Has a model that is served a copy, whose chunks want digests? */
bool wfs_remote_has_copy_locked(const struct wfs_remote *remote,
				const char *remote_name);
void wfs_remote_copies_free(struct wfs_remote *remote);

/* source.c */
/* NULL: it is another kind of source. */
struct wfs_remote_source *wfs_remote_source_of(struct wfs_source *source);
/* Nothing of its version is read any more. */
bool wfs_remote_is_ended(const struct wfs_region *region);

/* borrow.c */
/*
 * Borrows what the seed lends at `socket`, for a source that nobody
 * reads yet; what it does not lend is fetched.
 */
void wfs_remote_borrow(struct wfs_remote_source *source,
		       struct remote_seed *seed, const char *socket);
/*
 * What the seed, whose thread this is, lends by now of any source's files: it
 * may have fetched them since.
 */
void wfs_remote_borrow_more(struct remote_seed *seed);
/* Ends the seed's lender, also for it to be tried again. */
void wfs_remote_forget_lender(struct remote_seed *seed);
/* Gives all of it back; with the lock held. */
void wfs_remote_give_back(struct wfs_remote_source *source);
int wfs_remote_read_lent(struct remote_region *region, void *buf, size_t len,
			 uint64_t off);
/* As struct wfs_source_ops has it. */
int wfs_remote_check_lent(struct remote_region *region);

/* fabric.c */
/* The seed says that it has a faster way: from now on it is tried. */
void wfs_remote_add_fast_locked(struct remote_seed *seed);

/* hosts.c */
int wfs_url_add(struct wfs_remote *remote, const char *text,
		struct remote_url **ret_url, struct wfs_err *err);
void *wfs_url_run(void *url);
/* Why a URL has no seed that answers, or NULL; the caller frees it. */
char *wfs_url_trouble_locked(const struct wfs_remote *remote,
			     const struct remote_url *url);

/* same.c */
/* The file as that seed has it, if its bytes are the same; else NULL. */
const struct wfs_manifest_file *
wfs_remote_same_locked(const struct wfs_remote_source *source, size_t index,
		       const struct remote_seed *seed);
/* Are they, as far as is known: does nothing say that they are not? */
bool wfs_remote_may_be_same_locked(const struct wfs_remote_source *source,
				   size_t index,
				   const struct remote_seed *seed);

/* match.c */
/* Some seed's models changed: who may serve what. */
void wfs_remote_match_locked(struct wfs_remote *remote);
void wfs_remote_match_source_locked(struct wfs_remote_source *source);
/* Has it not answered for so long that it is not waited for? */
bool wfs_remote_is_gone_locked(const struct remote_seed *seed);
/* May this seed's models be offered under the choice's name? */
bool wfs_remote_may_offer(const struct wfs_choice *choice,
			  const struct remote_seed *seed);
/* Do several seeds have a model of this name? */
bool wfs_remote_is_shared_locked(const struct wfs_remote *remote,
				 const char *remote_name);
/* Of the version that it has, or NULL. */
struct wfs_manifest *wfs_choice_manifest(const struct wfs_choice *choice);
struct wfs_choice *wfs_remote_choice_locked(struct wfs_remote *remote,
					    const char *name);
void wfs_remote_choose_locked(struct wfs_remote *remote);

#endif
