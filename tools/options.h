/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of a mount and of a seed: one table for `-o key=value`, for long
 * options and for the config file.
 *
 * Every row is spelled with '_' after -o and in the file, and with '-' as a
 * long option.  A switch may be given as `key`, `nokey`, `key=on` or
 * `key=off` (also yes/no, true/false, 1/0).
 */
#ifndef WFS_TOOLS_OPTIONS_H
#define WFS_TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/log.h"
#include "core/digest/digest_tree.h"
#include "core/digest/trust.h"
#include "core/plan/layout.h"
#include "tools/places.h"

enum wfs_want {
	WFS_WANT_AUTO, /* where the kernel and our privilege allow */
	WFS_WANT_ON,   /* or refuse to start */
	WFS_WANT_OFF,
};

/* A place of a model that was named by hand. */
struct wfs_option_model {
	char *name;
	char *dir; /* absolute, or the URL of a seed or an origin */
	enum wfs_place place;
	bool pinned; /* URL#sha256:ROOT */
	uint8_t root[WFS_ROOT_BYTES];
};

/* What can be asked is waited for a little, what fails is not. */
#define WFS_WAIT_USUAL UINT64_MAX

struct wfs_options {
	char *models_dir;		 /* absolute, or NULL */
	struct wfs_option_model *models; /* a name once for each place */
	size_t model_count;
	struct wfs_prefer prefer;
	char **seeds; /* URLs */
	size_t seed_count;
	char *seed_token, *seed_ca; /* files, absolute, or NULL */
	char *seed_cert, *seed_key;
	char *trust_key;
	char *origin_token; /* a file, absolute, or NULL */
	/* Of buckets; NULL: as the environment and ~/.aws say. */
	char *s3_endpoint, *s3_region, *s3_profile, *s3_credentials;
	uint64_t seed_wait_ns; /* WFS_WAIT_USUAL: for who may answer */
	uint64_t seed_deadline_ns;
	uint64_t forget_after_ns;  /* 0: never */
	unsigned seed_connections; /* to each; 0: as many as suit */
	char **layouts;		   /* "NAME@tp4", listed */
	size_t layout_count;
	char *plans_dir;	   /* absolute, or NULL */
	char *engine;		   /* "vllm-0.32", or NULL */
	uint64_t part_size;	   /* bytes; 0 = one part a rank */
	char *config;		   /* absolute, or NULL */
	uint64_t arena_size;	   /* bytes; 0 = a quarter of memory */
	uint64_t chunk_cache;	   /* bytes; 0 = an eighth of the arena's */
	struct wfs_rank_set ranks; /* that this node serves */
	uint64_t prefetch;	   /* bytes */
	uint64_t readahead;	   /* bytes */
	uint64_t open_wait_ns;
	uint64_t switch_after_ns;
	uint64_t rescan_ns;
	unsigned hydrators; /* 0 = as many as suit the machine */
	unsigned readers;
	/* Of a seed, and of a mount that seeds; NULL and 0: the defaults. */
	char *listen; /* "ADDR:PORT"; a mount without it seeds nothing */
	char *token_file;
	char *tls_cert, *tls_key, *tls_client_ca;
	char *digest_cache;
	char *order_cache;    /* NULL: the usual */
	uint64_t rdma_memory; /* bytes; 0: no RDMA */
	uint64_t rate;	      /* bytes a second */
	uint64_t client_timeout_ns;
	unsigned connections, per_client;
	unsigned command; /* WFS_FOR_MOUNT, which is the default, or _SEED */
	enum wfs_want passthrough, gpu;
	enum wfs_trust trust; /* the least that is served */
	enum wfs_log_level log_level;
	bool insecure;
	bool rdma;	/* seeds' memory is read, where there is a way */
	bool same_host; /* descriptors rather than bytes on one host */
	bool follow_links;
	bool allow_other;
	bool nonempty;
	bool digests;
};

enum wfs_option_kind {
	WFS_OPTION_SWITCH,
	WFS_OPTION_SIZE,    /* bytes, with K, M, G, T */
	WFS_OPTION_SECONDS, /* fractions are fine */
	WFS_OPTION_COUNT,
	WFS_OPTION_PATH,
	WFS_OPTION_WORD,
	WFS_OPTION_MODEL,  /* NAME=DIR or NAME=URL, may be repeated */
	WFS_OPTION_SEED,   /* URL, may be repeated */
	WFS_OPTION_PREFER, /* seed, disk, origin in some order */
	WFS_OPTION_LAYOUT, /* NAME@LAYOUT, may be repeated */
	WFS_OPTION_RANKS,  /* N or N-M, may be repeated */
	WFS_OPTION_ENGINE, /* NAME or NAME-VERSION */
	WFS_OPTION_WANT,   /* auto, on, off */
	WFS_OPTION_TRUST,  /* none, seed, origin, signed */
	WFS_OPTION_LEVEL,  /* error, warn, info, debug */
	WFS_OPTION_LISTEN, /* ADDR:PORT */
};

/* Whose option it is. */
#define WFS_FOR_MOUNT 1u
#define WFS_FOR_SEED  2u
#define WFS_FOR_BOTH  3u

struct wfs_option {
	const char *key;
	enum wfs_option_kind kind;
	unsigned commands; /* WFS_FOR_… */
	size_t at;	   /* offset in struct wfs_options */
	const char *arg;   /* what to call its value; NULL for a switch */
	const char *help;
};

extern const struct wfs_option wfs_option_table[];
extern const size_t wfs_option_count;

/*
 * Decimal seconds, as many digits after the point as a nanosecond has.
 * -EINVAL, -ERANGE.
 */
int wfs_seconds_parse(const char *text, uint64_t *ret_ns);

/*
 * The digest that bytes of that name have to meet wherever they come from,
 * since it was given with one of its places; NULL: none.
 */
const uint8_t *wfs_option_root(const struct wfs_option_model *models,
			       size_t count, const char *name);

/* The row of `key`, or NULL. */
const struct wfs_option *wfs_option_find(const char *key);

/* The defaults.  `clear` frees what an options struct owns. */
void wfs_options_init(struct wfs_options *options);
void wfs_options_clear(struct wfs_options *options);

/*
 * Sets one option; `value` is NULL when there is none.  -EINVAL with a
 * sentence that names the key: unknown, without a value, a value that it
 * cannot have.  Paths are made absolute.  A model given again under the same
 * name replaces the place of the same kind.
 */
int wfs_options_set(struct wfs_options *options, const char *key,
		    const char *value, struct wfs_err *err);

/*
 * A list as after -o: keys and values between commas, "\," for a comma in a
 * value.  The words that mount(8) and fstab know are accepted.  `sloppy`
 * (mount -s): unknown keys are left out.
 */
int wfs_options_set_list(struct wfs_options *options, const char *list,
			 bool sloppy, struct wfs_err *err);

#endif
