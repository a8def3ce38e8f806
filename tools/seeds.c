/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See seeds.h.
 */
#include "tools/seeds.h"

#include <string.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "tools/copies.h"
#include "tools/fabric.h"
#include "tools/watch_origin.h"
#include "tools/watch_remote.h"
#include "transport/lend/lend.h"
#include "transport/origin/origin.h"
#include "transport/origin/s3.h"
#include "transport/rdma/rdma.h"
#include "transport/remote/remote.h"

#define FIRST_NS 5000000000ull /* a mount waits so long unless told otherwise */
#define COPY_NS	 1000000000ull /* and for what may stand in for them */
#define NAME_NS	 100000000ull  /* between two looks for a name */

/* Of either there may be none. */
struct wfs_seeds {
	struct wfs_remote *remote;
	struct wfs_remote_watch *watch;
	struct wfs_origins *origins;
	struct wfs_origin_watch *origin_watch;
	struct wfs_copies *disks, *copies; /* there, and on web servers */
};

static void complain(void *ctx, const char *text)
{
	wfs_daemon_tell(ctx, text);
}

bool wfs_seeds_any(const struct wfs_options *options)
{
	for (size_t i = 0; i < options->model_count; i++)
		if (options->models[i].place != WFS_PLACE_DISK)
			return true;
	return options->seed_count;
}

static int open_lender(const char *path, void **ret_lender, struct wfs_err *err)
{
	struct wfs_borrower *borrower;
	int rc = wfs_borrower_open(path, &borrower, err);

	if (!rc)
		*ret_lender = borrower;
	return rc;
}

static int borrow(void *lender, const uint8_t id[WFS_WIRE_ID_BYTES],
		  uint64_t size, int *ret_fd, struct wfs_err *err)
{
	return wfs_borrow(lender, id, size, ret_fd, err);
}

static void close_lender(void *lender)
{
	wfs_borrower_close(lender);
}

static const struct wfs_remote_lending lending = {
	.open = open_lender,
	.borrow = borrow,
	.close = close_lender,
};

/* Is there a device that leads anywhere? */
static bool has_rdma(void)
{
	struct wfs_rdma_port *ports wfs_autofree = NULL;
	struct wfs_err why = { 0 };
	size_t n;

	if (!wfs_rdma_ports(&ports, &n, &why))
		return true;
	wfs_info("%s: seeds are read over TCP", why.text);
	return false;
}

static bool has_name(const struct wfs_remote_name *names, size_t n,
		     const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i].name, name))
			return true;
	return false;
}

/*
 * The seeds' models that were named by hand: as such, or by a digest that
 * their bytes are to meet, too, be it that another place is to tell it.
 */
static size_t name_models(const struct wfs_options *options,
			  struct wfs_remote_name *names)
{
	size_t n = 0;

	/* Those with a URL of their own first. */
	for (int named = 1; named >= 0; named--) {
		for (size_t i = 0; i < options->model_count; i++) {
			const struct wfs_option_model *m = &options->models[i];
			struct wfs_remote_name name = {
				.name = m->name,
				.url = named ? m->dir : NULL,
				.root = wfs_option_root(options->models,
							options->model_count,
							m->name),
				.vouched =
					wfs_copies_vouch_for(options, m->name),
			};

			if (named != (m->place == WFS_PLACE_SEED) ||
			    (!named && (!options->seed_count ||
					!(name.root || name.vouched))) ||
			    has_name(names, n, m->name))
				continue;
			names[n++] = name;
		}
	}
	return n;
}

static int open_remote(struct wfs_seeds *seeds,
		       const struct wfs_options *options,
		       struct wfs_registry *registry,
		       const struct wfs_load_config *load, struct wfs_err *err)
{
	struct wfs_remote_name *names wfs_autofree =
		wfs_calloc(options->model_count + 1, sizeof(*names));
	struct wfs_remote_config config = {
		.seeds = (const char *const *)options->seeds,
		.seed_count = options->seed_count,
		.names = names,
		.token_file = options->seed_token,
		.ca_file = options->seed_ca,
		.cert_file = options->seed_cert,
		.key_file = options->seed_key,
		.trust_key = options->trust_key,
		.passes_on = options->listen,
		.lending = options->same_host ? &lending : NULL,
		.fabric = options->rdma && has_rdma() ? &wfs_rdma_fabric : NULL,
		.rank = wfs_prefer_rank(&options->prefer, WFS_PLACE_SEED),
		.lanes = options->seed_connections,
		.deadline_ns = options->seed_deadline_ns,
		.poll_ns = options->rescan_ns,
		.forget_ns = options->forget_after_ns,
	};
	int rc;

	config.name_count = name_models(options, names);
	if (!config.seed_count && !config.name_count)
		return 0;
	rc = wfs_remote_open(&config, &seeds->remote, err);
	if (!rc)
		seeds->watch = wfs_remote_watch_new(seeds->remote, registry,
						    load, &options->prefer);
	return rc;
}

static int open_origins(struct wfs_seeds *seeds,
			const struct wfs_options *options,
			struct wfs_registry *registry,
			const struct wfs_load_config *load, struct wfs_err *err)
{
	struct wfs_origins_config config = {
		.token_file = options->origin_token,
		.ca_file = options->seed_ca,
		.trust_key = options->trust_key,
		.deadline_ns = options->seed_deadline_ns,
		.s3_endpoint = options->s3_endpoint,
		.s3_region = options->s3_region,
		.s3_profile = options->s3_profile,
		.s3_credentials = options->s3_credentials,
	};
	bool any = false;
	int rc;

	for (size_t i = 0; i < options->model_count; i++) {
		any |= options->models[i].place == WFS_PLACE_ORIGIN;
		config.s3 |= wfs_s3_is_url(options->models[i].dir);
	}
	if (!any)
		return 0;
	rc = wfs_origins_open(&config, &seeds->origins, err);
	if (!rc)
		seeds->origin_watch = wfs_origin_watch_new(
			seeds->origins, registry, load, options);
	return rc;
}

/* The other places of what seeds offer. */
static void open_copies(struct wfs_seeds *seeds,
			const struct wfs_options *options,
			struct wfs_registry *registry)
{
	struct wfs_copies_config config = {
		.remote = seeds->remote,
		.origins = seeds->origins,
		.registry = registry,
		.options = options,
		.place = WFS_PLACE_DISK,
	};

	if (!seeds->remote)
		return;
	seeds->disks = wfs_copies_new(&config);
	config.place = WFS_PLACE_ORIGIN;
	seeds->copies = wfs_copies_new(&config);
}

static int start_copies(struct wfs_seeds *seeds, uint64_t disk_ns,
			uint64_t origin_ns)
{
	int rc = wfs_copies_start(seeds->disks, disk_ns);

	return rc ? rc : wfs_copies_start(seeds->copies, origin_ns);
}

static bool has_model(struct wfs_registry *registry, const char *name)
{
	uint32_t slot;
	struct wfs_model *model = wfs_registry_by_name(registry, name, &slot);

	wfs_model_put(model);
	return model;
}

/* A name may have several places. */
static bool is_named_before(const struct wfs_options *options, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (!strcmp(options->models[k].name, options->models[i].name))
			return true;
	return false;
}

/* Whoever named them by hand, and waits, wants to find them. */
static void await_names(const struct wfs_options *options,
			struct wfs_registry *registry,
			struct wfs_daemon *daemon, uint64_t until)
{
	for (size_t i = 0; i < options->model_count; i++) {
		const char *name = options->models[i].name;
		char *text wfs_autofree = NULL;

		while (!has_model(registry, name) && wfs_now_ns() < until)
			usleep(NAME_NS / 1000);
		if (has_model(registry, name) || is_named_before(options, i))
			continue;
		text = wfs_asprintf("model '%s' is not there yet; it is waited "
				    "for",
				    name);
		wfs_warn("%s", text);
		complain(daemon, text);
	}
}

/* What is left for who was told how long, and what is usual for others. */
static uint64_t pause_of(bool patient, uint64_t until)
{
	uint64_t now = wfs_now_ns();

	if (!patient)
		return FIRST_NS;
	return until > now ? until - now : 0;
}

/* Waits a little for what there is, or as long as it was told to. */
static int start(struct wfs_seeds *seeds, const struct wfs_options *options,
		 struct wfs_registry *registry, struct wfs_daemon *daemon,
		 struct wfs_err *err)
{
	bool patient = options->seed_wait_ns != WFS_WAIT_USUAL;
	uint64_t until = wfs_now_ns() + options->seed_wait_ns; /* if patient */
	bool vouch = wfs_copies_vouch(options);
	int rc = 0;

	/* Seeds have to meet what they say. */
	if (vouch)
		rc = start_copies(seeds, pause_of(patient, until),
				  pause_of(patient, until));
	if (!rc && seeds->remote) {
		wfs_remote_first(seeds->remote, pause_of(patient, until),
				 patient, complain, daemon);
		rc = wfs_remote_watch_start(seeds->watch,
					    pause_of(patient, until));
	}
	/* After the seeds: what they offer is not asked for elsewhere. */
	if (!rc && seeds->origins)
		rc = wfs_origin_watch_start(seeds->origin_watch,
					    pause_of(patient, until));
	if (!rc && !vouch)
		rc = start_copies(seeds, COPY_NS, 0);
	if (!rc && patient)
		await_names(options, registry, daemon, until);
	return rc ? wfs_err_set(err, rc, "cannot start a thread: %s",
				strerror(-rc)) :
		    0;
}

int wfs_seeds_open(const struct wfs_options *options,
		   struct wfs_registry *registry,
		   const struct wfs_load_config *load,
		   struct wfs_daemon *daemon, struct wfs_seeds **ret_seeds,
		   struct wfs_err *err)
{
	struct wfs_seeds *seeds = wfs_calloc(1, sizeof(*seeds));
	int rc = open_remote(seeds, options, registry, load, err);

	if (!rc)
		rc = open_origins(seeds, options, registry, load, err);
	if (!rc)
		open_copies(seeds, options, registry);
	if (!rc)
		rc = start(seeds, options, registry, daemon, err);
	if (rc) {
		wfs_seeds_close(seeds);
		return rc;
	}
	*ret_seeds = seeds;
	return 0;
}

void wfs_seeds_keep(struct wfs_seeds *seeds, struct wfs_store *store)
{
	if (seeds && seeds->watch)
		wfs_remote_watch_keep(seeds->watch, store);
}

void wfs_seeds_stop(struct wfs_seeds *seeds)
{
	if (!seeds)
		return;
	wfs_remote_stop(seeds->remote);
	wfs_origins_stop(seeds->origins);
}

void wfs_seeds_leave(struct wfs_seeds *seeds)
{
	if (!seeds)
		return;
	wfs_seeds_stop(seeds);
	wfs_remote_watch_free(seeds->watch);
	wfs_origin_watch_free(seeds->origin_watch);
	wfs_copies_free(seeds->disks);
	wfs_copies_free(seeds->copies);
	seeds->disks = seeds->copies = NULL;
	seeds->watch = NULL;
	seeds->origin_watch = NULL;
}

void wfs_seeds_close(struct wfs_seeds *seeds)
{
	if (!seeds)
		return;
	wfs_seeds_leave(seeds);
	wfs_remote_close(seeds->remote);
	wfs_origins_close(seeds->origins);
	free(seeds);
}

void wfs_seeds_report(void *seeds, struct wfs_text *text)
{
	struct wfs_remote *remote = ((struct wfs_seeds *)seeds)->remote;

	if (remote)
		wfs_remote_report(remote, text);
	else
		wfs_text_add(text, "[]");
}

static void measure(const struct wfs_seeds *seeds, enum wfs_metric_form form,
		    struct wfs_text *text)
{
	if (seeds->remote)
		wfs_remote_measure(seeds->remote, form, text);
}

void wfs_seeds_measure(void *seeds, struct wfs_text *text)
{
	measure(seeds, WFS_METRIC_PROMETHEUS, text);
}

void wfs_seeds_measure_open(void *seeds, struct wfs_text *text)
{
	measure(seeds, WFS_METRIC_OPEN, text);
}
