/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mount's life.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "core/plan/layout.h"
#include "core/model/registry.h"
#include "core/store/chunks.h"
#include "core/store/store.h"
#include "fs/fs.h"
#include "fs/orders.h"
#include "tools/hold.h"
#include "tools/life.h"
#include "tools/overlay.h"
#include "tools/path.h"
#include "tools/process.h"
#include "tools/asked.h"
#include "tools/seeding.h"
#include "tools/seeds.h"
#include "tools/serve.h"
#include "tools/serve_gpus.h"
#include "fs/unmount.h"
#include "tools/watch.h"

#define CHUNK_CACHE_MAX (1ull << 30)
#define FAR_HYDRATORS	8  /* each asks for 8 MiB at a time */
#define FAR_READERS	64 /* some wait for seeds, the others must not */
#define LAST_RESORT_S	20 /* umount waits 30 s for us to be gone */

struct serve {
	const struct wfs_options *options;
	const char *mountpoint;
	struct wfs_life life;
	struct wfs_plans plans;
	struct wfs_layout_options layouts;
	struct wfs_registry *registry;
	struct wfs_places *places;
	struct wfs_watch *watch;
	struct wfs_seeds *seeds;   /* NULL: none */
	struct wfs_chunks *chunks; /* NULL: none */
	struct wfs_store *store;
	struct wfs_device *gpus; /* NULL: none */
	struct wfs_fs *fs;
	struct wfs_err why_no_store;
	struct wfs_seeding seeding;
	struct wfs_asked *asked; /* NULL: digests are off */
	struct wfs_orders *orders;
	bool ready;
	struct wfs_err err; /* why it failed */
};

/* A plan of the user's that cannot be read must not be passed over. */
static int set_layouts(struct serve *serve)
{
	const struct wfs_options *options = serve->options;
	int rc = wfs_plans_load(options->plans_dir, &serve->plans, &serve->err);

	if (rc)
		return rc;
	serve->layouts = (struct wfs_layout_options){
		.plans = &serve->plans,
		.engine = options->engine,
		.part_size = options->part_size,
		.ranks = &options->ranks,
	};
	wfs_registry_set_layouts(serve->registry, &serve->layouts,
				 (const char *const *)options->layouts,
				 options->layout_count);
	return 0;
}

/* Without it bytes that several ranks want are read by each. */
static void open_chunks(struct serve *serve)
{
	const struct wfs_options *options = serve->options;
	struct wfs_chunks_config config = { .bytes = options->chunk_cache };
	struct wfs_err why;

	if (!config.bytes && options->arena_size)
		config.bytes = options->arena_size / 8 < CHUNK_CACHE_MAX ?
				       options->arena_size / 8 :
				       CHUNK_CACHE_MAX;
	if (wfs_chunks_open(&config, &serve->chunks, &why)) {
		serve->chunks = NULL;
		wfs_warn("ranks share nothing that they read: %s", why.text);
	}
}

/* Loads what there is. */
static int look_first(struct serve *serve, const struct wfs_hooks *hooks)
{
	const struct wfs_options *options = serve->options;
	struct wfs_load_config load = {
		.follow_links = options->follow_links,
		.trust = options->trust,
		.chunks = serve->chunks,
		.passes_on = options->listen,
		.wrap_source = hooks->wrap_source,
	};
	int rc;

	load.places = serve->places = wfs_places_new(&options->prefer);
	serve->registry = wfs_registry_new(options->switch_after_ns);
	rc = set_layouts(serve);
	if (rc)
		return rc;
	rc = wfs_offer_first(options, &load, &serve->life.daemon,
			     serve->registry, &serve->watch, &serve->err);
	if (!rc && wfs_seeds_any(options))
		rc = wfs_seeds_open(options, serve->registry, &load,
				    &serve->life.daemon, &serve->seeds,
				    &serve->err);
	return rc;
}

static void end(void *ctx, const char *signal)
{
	struct serve *serve = ctx;

	wfs_info("%s: unmounting '%s'", signal, serve->mountpoint);
	wfs_seeds_stop(serve->seeds);
	wfs_fs_exit(serve->fs);
}

static void open_store(struct serve *serve)
{
	const struct wfs_options *options = serve->options;
	struct wfs_store_config config = {
		.arena_size = options->arena_size,
		.hydrators = options->hydrators,
		.far_hydrators = serve->seeds ? FAR_HYDRATORS : 0,
		.passes_on = options->listen,
		.digests = options->digests,
		.chunks = serve->chunks,
	};
	struct wfs_err *why = &serve->why_no_store;

	if (options->passthrough == WFS_WANT_OFF) {
		wfs_err_set(why, -ENOTSUP,
			    "passthrough is switched off by an option");
	} else if (wfs_store_open(&config, &serve->store, why)) {
		serve->store = NULL;
		wfs_warn("tensors are served by ordinary reads: %s", why->text);
	} else {
		wfs_seeds_keep(serve->seeds, serve->store);
	}
}

/* Without a store what comes from elsewhere stays nowhere. */
static int open_seeding(struct serve *serve)
{
	struct wfs_holder holder;

	if (!serve->options->listen)
		return 0;
	if (serve->store)
		holder = wfs_holder_of(serve->store);
	return wfs_seeding_open(serve->options, serve->registry,
				serve->store ? &holder : NULL, serve->seeds,
				&serve->seeding, &serve->err);
}

static int digest(void *ctx, struct wfs_model *model, bool start,
		  uint8_t *ret_root)
{
	return wfs_asked_digest(ctx, model, start, ret_root);
}

/* In the usual place, or when that cannot be had in none, unless one is named. */
static int open_orders(struct serve *serve)
{
	const char *dir = serve->options->order_cache;
	char *usual wfs_autofree = wfs_usual_cache("orders");
	struct wfs_err why = { 0 };

	if (dir)
		return wfs_orders_open(dir, &serve->orders, &serve->err);
	if (wfs_orders_open(usual, &serve->orders, &why) == 0)
		return 0;
	wfs_warn("the orders of loads are forgotten when this mount ends: %s",
		 why.text);
	return wfs_orders_open(NULL, &serve->orders, &serve->err);
}

static int make_mount(struct serve *serve)
{
	const struct wfs_options *options = serve->options;
	struct wfs_fs_config config = {
		.mountpoint = serve->mountpoint,
		.source = options->models_dir ? options->models_dir : "none",
		.allow_other = options->allow_other,
		.nonempty = options->nonempty,
		.passthrough = options->passthrough == WFS_WANT_OFF ?
				       WFS_PASSTHROUGH_OFF :
				       WFS_PASSTHROUGH_AUTO,
		.deep_stack = wfs_overlay_any(options),
		.open_wait_ns = options->open_wait_ns,
		.prefetch = options->prefetch,
		.readahead_kib = (uint32_t)(options->readahead >> 10),
		.readers = options->readers || !serve->seeds ?
				   options->readers :
				   FAR_READERS,
		.chunks = serve->chunks,
		.device = serve->gpus,
		.orders = serve->orders,
		.report_seeds = serve->seeds ? wfs_seeds_report : NULL,
		.measure_seeds = serve->seeds ? wfs_seeds_measure : NULL,
		.report_ctx = serve->seeds,
		.digest = options->digests ? digest : NULL,
	};
	int rc;

	if (config.digest)
		serve->asked = wfs_asked_new(options->digest_cache);
	config.digest_ctx = serve->asked;
	rc = wfs_fs_new(&config, serve->registry, serve->store,
			serve->store ? NULL : serve->why_no_store.text,
			&serve->fs, &serve->err);
	return rc ? rc : wfs_fs_mount(serve->fs, &serve->err);
}

/* Why it may not start although the kernel answers; NULL: it may. */
static const char *why_not_ready(const struct serve *serve)
{
	const char *why;

	if (serve->options->passthrough != WFS_WANT_ON)
		return NULL;
	why = wfs_fs_passthrough_why(serve->fs);
	if (!why && !wfs_process_is_admin())
		why = "it needs CAP_SYS_ADMIN on the machine: mount as root";
	if (!why && !serve->store)
		why = serve->why_no_store.text;
	return why;
}

static void on_ready(void *ctx)
{
	struct serve *serve = ctx;
	const char *why = why_not_ready(serve);

	if (why) {
		wfs_err_set(&serve->err, -ENOTSUP,
			    "option 'passthrough' is on, but there is no "
			    "passthrough: %s",
			    why);
		wfs_fs_exit(serve->fs);
		return;
	}
	serve->ready = true;
	wfs_info("mounted on '%s' source=%s", serve->mountpoint,
		 serve->options->models_dir ? serve->options->models_dir :
					      "none");
	if (wfs_daemon_ready(&serve->life.daemon)) {
		wfs_warn("whoever asked for the mount on '%s' is gone: "
			 "unmounting",
			 serve->mountpoint);
		wfs_fs_exit(serve->fs);
	}
}

/*
 * A source that hangs must not keep us, our arena and the readers for ever:
 * closing the connection is what frees them.
 */
static void *leave_at_last(void *arg)
{
	const struct serve *serve = arg;

	sleep(LAST_RESORT_S);
	wfs_error("a source hangs: leaving '%s' without waiting for it",
		  serve->mountpoint);
	wfs_unmount(serve->mountpoint, true, NULL);
	_exit(WFS_EXIT_FAILURE);
}

static void leave(struct serve *serve)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, leave_at_last, serve) == 0)
		pthread_detach(thread);
	wfs_seeds_leave(serve->seeds);
	wfs_watch_stop(serve->watch);
	wfs_seeding_close(&serve->seeding);
	wfs_life_stop(&serve->life);
}

/* What runs beside the loop of the mount. */
static int start_beside(struct serve *serve)
{
	int rc = wfs_watch_start(serve->watch);

	if (rc)
		return wfs_err_set(&serve->err, rc, "cannot start a thread: %s",
				   strerror(-rc));
	if (!serve->seeding.seed)
		return 0;
	rc = wfs_seeding_start(&serve->seeding, &serve->err);
	if (!rc)
		wfs_info("seeding on '%s'", wfs_seed_url(serve->seeding.seed));
	return rc;
}

static int run(struct serve *serve)
{
	int rc = wfs_life_start(&serve->life, end, serve, &serve->err);

	if (rc)
		return rc;
	rc = start_beside(serve);
	if (!rc)
		rc = wfs_fs_run(serve->fs, on_ready, serve);
	if (rc && !serve->err.code)
		wfs_err_set(&serve->err, rc, "cannot serve '%s': %s",
			    serve->mountpoint, strerror(-rc));
	/* Whoever waits for a daemon must hear of it; Ctrl-C is no failure. */
	if (!rc && !serve->ready && !serve->err.code &&
	    !(serve->life.foreground && atomic_load(&serve->life.told)))
		wfs_err_set(&serve->err, -EINTR,
			    "'%s' was unmounted before it could be served",
			    serve->mountpoint);
	leave(serve);
	return serve->err.code;
}

static int live(struct serve *serve, const struct wfs_hooks *hooks)
{
	int rc;

	wfs_process_setup();
	open_chunks(serve);
	rc = look_first(serve, hooks);
	if (rc)
		return rc;
	wfs_life_block();
	open_store(serve);
	rc = open_seeding(serve);
	if (!rc)
		rc = wfs_serve_gpus(serve->options->gpu, &serve->gpus,
				    &serve->err);
	if (!rc)
		rc = open_orders(serve);
	if (!rc)
		rc = make_mount(serve);
	return rc ? rc : run(serve);
}

int wfs_serve(const struct wfs_options *options, const char *mountpoint,
	      bool foreground, const struct wfs_hooks *hooks)
{
	struct serve serve = { .options = options, .mountpoint = mountpoint };
	int status = WFS_EXIT_OK;

	if (wfs_life_begin(&serve.life, foreground, options->log_level,
			   &status))
		return status;
	if (live(&serve, hooks)) {
		wfs_life_fail(&serve.life, serve.err.text);
		status = WFS_EXIT_FAILURE;
	}
	wfs_seeding_close(&serve.seeding);
	wfs_seeds_leave(serve.seeds);
	wfs_fs_free(serve.fs);
	wfs_orders_close(serve.orders);
	wfs_device_close(serve.gpus);
	wfs_asked_free(serve.asked);
	wfs_store_close(serve.store);
	wfs_watch_free(serve.watch);
	wfs_registry_free(serve.registry);
	wfs_chunks_close(serve.chunks);
	wfs_seeds_close(serve.seeds);
	wfs_places_free(serve.places);
	wfs_plans_clear(&serve.plans);
	return status;
}
