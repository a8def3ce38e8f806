/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs seed`: offers checkpoints to other nodes, without a mount.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "tools/cmd.h"
#include "tools/life.h"
#include "tools/mount_args.h"
#include "tools/process.h"
#include "tools/seeding.h"

struct seeder {
	const struct wfs_options *options;
	struct wfs_life life;
	struct wfs_registry *registry;
	struct wfs_watch *watch;
	struct wfs_seeding seeding;
	pthread_mutex_t lock; /* guards over */
	pthread_cond_t ending;
	bool over;
};

static void end(void *ctx, const char *signal)
{
	struct seeder *s = ctx;

	wfs_info("%s: the seed ends", signal);
	pthread_mutex_lock(&s->lock);
	s->over = true;
	pthread_cond_signal(&s->ending);
	pthread_mutex_unlock(&s->lock);
}

static int run(struct seeder *s, struct wfs_err *err)
{
	int rc = wfs_life_start(&s->life, end, s, err);

	if (!rc)
		rc = wfs_seeding_start(&s->seeding, err);
	if (!rc && wfs_watch_start(s->watch))
		rc = wfs_err_set(err, -EAGAIN, "cannot start a thread: %s",
				 strerror(EAGAIN));
	if (rc)
		return rc;
	wfs_info("seeding on '%s'", wfs_seed_url(s->seeding.seed));
	if (wfs_daemon_ready(&s->life.daemon)) {
		wfs_warn("whoever asked for the seed is gone: it ends");
		return 0;
	}
	pthread_mutex_lock(&s->lock);
	while (!s->over)
		pthread_cond_wait(&s->ending, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static int live(struct seeder *s, const struct wfs_hooks *hooks,
		struct wfs_err *err)
{
	struct wfs_load_config load = {
		.follow_links = s->options->follow_links,
		.trust = s->options->trust,
		.wrap_source = hooks->wrap_source,
	};
	int rc;

	wfs_process_setup();
	/* Nothing is open here, so what changed takes over at once. */
	s->registry = wfs_registry_new(0);
	rc = wfs_offer_first(s->options, &load, &s->life.daemon, s->registry,
			     &s->watch, err);
	if (rc)
		return rc;
	wfs_life_block();
	rc = wfs_seeding_open(s->options, s->registry, NULL, NULL, &s->seeding,
			      err);
	return rc ? rc : run(s, err);
}

static int seed(const struct wfs_options *options, bool foreground,
		const struct wfs_hooks *hooks)
{
	struct seeder s = { .options = options,
			    .lock = PTHREAD_MUTEX_INITIALIZER,
			    .ending = PTHREAD_COND_INITIALIZER };
	struct wfs_err err = { 0 };
	int status = WFS_EXIT_OK;

	if (wfs_life_begin(&s.life, foreground, options->log_level, &status))
		return status;
	if (live(&s, hooks, &err)) {
		wfs_life_fail(&s.life, err.text);
		status = WFS_EXIT_FAILURE;
	}
	if (s.watch)
		wfs_watch_stop(s.watch);
	wfs_seeding_close(&s.seeding);
	wfs_life_stop(&s.life);
	wfs_watch_free(s.watch);
	wfs_registry_free(s.registry);
	return status;
}

int wfs_cmd_seed(int argc, char **argv, const struct wfs_hooks *hooks)
{
	struct wfs_mount_args args;
	int status;

	wfs_mount_args_parse(argc, argv, WFS_ARGS_SEED, &args);
	status = seed(&args.options, args.foreground, hooks);
	wfs_mount_args_clear(&args);
	return status;
}
