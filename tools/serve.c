/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mount's life.  Signals are taken by a thread of their own, blocked
 * everywhere else, so nothing runs in a handler and none comes too late or
 * twice.  Before the mount is made they still end the program as they always
 * do.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "core/plan/layout.h"
#include "core/model/registry.h"
#include "core/store/chunks.h"
#include "core/store/store.h"
#include "fs/fs.h"
#include "tools/daemon.h"
#include "tools/process.h"
#include "tools/serve.h"
#include "fs/unmount.h"
#include "tools/watch.h"

#define OVERLAYFS_MAGIC 0x794c7630
#define CHUNK_CACHE_MAX (1ull << 30)
#define WAKE_SIGNAL	SIGUSR1 /* ends the thread that waits for signals */
#define LAST_RESORT_S	20	/* umount waits 30 s for us to be gone */

struct serve {
	const struct wfs_options *options;
	const char *mountpoint;
	struct wfs_daemon daemon;
	struct wfs_plans plans;
	struct wfs_layout_options layouts;
	struct wfs_registry *registry;
	struct wfs_watch *watch;
	struct wfs_chunks *chunks; /* NULL: none */
	struct wfs_store *store;
	struct wfs_fs *fs;
	struct wfs_err why_no_store;
	pthread_t signals;
	atomic_bool leaving;
	atomic_bool told; /* by a signal to end */
	bool foreground, ready;
	struct wfs_err err; /* why it failed */
};

static void complain(void *ctx, const char *text)
{
	struct serve *serve = ctx;

	/* In front the log is on stderr already. */
	wfs_daemon_tell(&serve->daemon, text);
}

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
	struct wfs_watch_config config = {
		.models_dir = options->models_dir,
		.models = options->models,
		.model_count = options->model_count,
		.rescan_ns = options->rescan_ns,
		.load = { .follow_links = options->follow_links,
			  .trust = options->trust,
			  .chunks = serve->chunks,
			  .wrap_source = hooks->wrap_source },
		.complain = complain,
		.ctx = serve,
	};

	int rc;

	serve->registry = wfs_registry_new(options->switch_after_ns);
	rc = set_layouts(serve);
	if (rc)
		return rc;
	config.registry = serve->registry;
	serve->watch = wfs_watch_new(&config);
	rc = wfs_watch_first(serve->watch, &serve->err);
	if (rc == 0)
		wfs_registry_tick(serve->registry);
	return rc;
}

static void signal_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, WAKE_SIGNAL);
}

static void *wait_for_signals(void *arg)
{
	struct serve *serve = arg;
	sigset_t set;
	int sig;

	signal_set(&set);
	for (;;) {
		if (sigwait(&set, &sig))
			continue;
		if (sig == WAKE_SIGNAL && atomic_load(&serve->leaving))
			return NULL;
		if (sig == WAKE_SIGNAL || atomic_exchange(&serve->told, true))
			continue;
		wfs_info("%s: unmounting '%s'", strsignal(sig),
			 serve->mountpoint);
		wfs_fs_exit(serve->fs);
	}
}

static void open_store(struct serve *serve)
{
	const struct wfs_options *options = serve->options;
	struct wfs_store_config config = {
		.arena_size = options->arena_size,
		.hydrators = options->hydrators,
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
	}
}

static bool is_on_overlayfs(const char *dir)
{
	struct statfs fs;

	return statfs(dir, &fs) == 0 &&
	       (unsigned long)fs.f_type == OVERLAYFS_MAGIC;
}

static bool any_on_overlayfs(const struct wfs_options *options)
{
	if (options->models_dir && is_on_overlayfs(options->models_dir))
		return true;
	for (size_t i = 0; i < options->model_count; i++) {
		if (is_on_overlayfs(options->models[i].dir))
			return true;
	}
	return false;
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
		.deep_stack = any_on_overlayfs(options),
		.open_wait_ns = options->open_wait_ns,
		.prefetch = options->prefetch,
		.readahead_kib = (uint32_t)(options->readahead >> 10),
		.readers = options->readers,
		.chunks = serve->chunks,
	};
	int rc;

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
	if (wfs_daemon_ready(&serve->daemon)) {
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
	wfs_watch_stop(serve->watch);
	atomic_store(&serve->leaving, true);
	pthread_kill(serve->signals, WAKE_SIGNAL);
	pthread_join(serve->signals, NULL);
}

static int run(struct serve *serve)
{
	int rc = pthread_create(&serve->signals, NULL, wait_for_signals, serve);

	if (rc)
		return wfs_err_set(&serve->err, -rc,
				   "cannot start a thread: %s", strerror(rc));
	rc = wfs_watch_start(serve->watch);
	if (rc)
		wfs_err_set(&serve->err, rc, "cannot start a thread: %s",
			    strerror(-rc));
	else
		rc = wfs_fs_run(serve->fs, on_ready, serve);
	if (rc && !serve->err.code)
		wfs_err_set(&serve->err, rc, "cannot serve '%s': %s",
			    serve->mountpoint, strerror(-rc));
	/* Whoever waits for a daemon must hear of it; Ctrl-C is no failure. */
	if (!rc && !serve->ready && !serve->err.code &&
	    !(serve->foreground && atomic_load(&serve->told)))
		wfs_err_set(&serve->err, -EINTR,
			    "'%s' was unmounted before it could be served",
			    serve->mountpoint);
	leave(serve);
	return serve->err.code;
}

static int live(struct serve *serve, const struct wfs_hooks *hooks)
{
	sigset_t set;
	int rc;

	wfs_process_setup();
	open_chunks(serve);
	rc = look_first(serve, hooks);
	if (rc)
		return rc;
	signal_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	open_store(serve);
	rc = make_mount(serve);
	return rc ? rc : run(serve);
}

int wfs_serve(const struct wfs_options *options, const char *mountpoint,
	      bool foreground, const struct wfs_hooks *hooks)
{
	struct serve serve = { .options = options,
			       .mountpoint = mountpoint,
			       .foreground = foreground };
	int status = WFS_EXIT_OK;
	int rc;

	rc = wfs_daemon_start(&serve.daemon, !foreground, &status);
	if (rc < 0) {
		wfs_complain("cannot start a daemon: %s", strerror(-rc));
		return WFS_EXIT_FAILURE;
	}
	if (rc > 0)
		return status;
	wfs_log_setup(foreground ? WFS_LOG_STDERR : WFS_LOG_SYSLOG,
		      options->log_level);
	if (live(&serve, hooks)) {
		if (!foreground)
			wfs_error("%s", serve.err.text);
		wfs_daemon_fail(&serve.daemon, serve.err.text);
		status = WFS_EXIT_FAILURE;
	}
	wfs_fs_free(serve.fs);
	wfs_store_close(serve.store);
	wfs_watch_free(serve.watch);
	wfs_registry_free(serve.registry);
	wfs_chunks_close(serve.chunks);
	wfs_plans_clear(&serve.plans);
	return status;
}
