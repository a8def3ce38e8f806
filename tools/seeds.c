/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See seeds.h.
 */
#include "tools/seeds.h"

#include <string.h>

#include "core/base/text.h"
#include "tools/watch_remote.h"
#include "transport/remote/remote.h"

#define FIRST_NS 5000000000ull /* a mount waits so long for seeds */

struct wfs_seeds {
	struct wfs_remote *remote;
	struct wfs_remote_watch *watch;
};

static void complain(void *ctx, const char *text)
{
	wfs_daemon_tell(ctx, text);
}

bool wfs_seeds_any(const struct wfs_options *options)
{
	for (size_t i = 0; i < options->model_count; i++)
		if (wfs_remote_is_url(options->models[i].dir))
			return true;
	return options->seed_count;
}

int wfs_seeds_open(const struct wfs_options *options,
		   struct wfs_registry *registry,
		   const struct wfs_load_config *load,
		   struct wfs_daemon *daemon, struct wfs_seeds **ret_seeds,
		   struct wfs_err *err)
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
		.lanes = options->seed_connections,
		.deadline_ns = options->seed_deadline_ns,
		.poll_ns = options->rescan_ns,
	};
	struct wfs_remote *remote;
	struct wfs_seeds *seeds;
	int rc;

	for (size_t i = 0; i < options->model_count; i++)
		if (wfs_remote_is_url(options->models[i].dir))
			names[config.name_count++] = (struct wfs_remote_name){
				.name = options->models[i].name,
				.url = options->models[i].dir,
				.root = options->models[i].pinned ?
						options->models[i].root :
						NULL,
			};
	rc = wfs_remote_open(&config, &remote, err);
	if (rc)
		return rc;
	seeds = wfs_calloc(1, sizeof(*seeds));
	seeds->remote = remote;
	seeds->watch = wfs_remote_watch_new(remote, registry, load);
	wfs_remote_first(remote, FIRST_NS, complain, daemon);
	rc = wfs_remote_watch_start(seeds->watch, FIRST_NS);
	if (rc) {
		wfs_seeds_close(seeds);
		return wfs_err_set(err, rc, "cannot start a thread: %s",
				   strerror(-rc));
	}
	*ret_seeds = seeds;
	return 0;
}

void wfs_seeds_stop(struct wfs_seeds *seeds)
{
	if (seeds)
		wfs_remote_stop(seeds->remote);
}

void wfs_seeds_leave(struct wfs_seeds *seeds)
{
	if (!seeds)
		return;
	wfs_remote_stop(seeds->remote);
	wfs_remote_watch_free(seeds->watch);
	seeds->watch = NULL;
}

void wfs_seeds_close(struct wfs_seeds *seeds)
{
	if (!seeds)
		return;
	wfs_seeds_leave(seeds);
	wfs_remote_close(seeds->remote);
	free(seeds);
}

void wfs_seeds_report(void *seeds, struct wfs_text *text)
{
	wfs_remote_report(((struct wfs_seeds *)seeds)->remote, text);
}
