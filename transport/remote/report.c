/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of seeds.
 */
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "transport/remote/inner.h"

typedef unsigned long long ull;

static const char *state_of(const struct remote_seed *seed,
			    const struct wfs_peer_stats *stats)
{
	if (!seed->tried)
		return "waiting";
	if (!seed->up)
		return "down";
	if (stats->quarantine_s > 0)
		return "quarantined";
	return stats->down ? "failing" : "ready";
}

/* The faster way to it; null while there is none. */
static void report_fast(const struct remote_seed *seed, struct wfs_text *t)
{
	struct wfs_peer_stats stats;

	wfs_text_add(t, ", \"rdma\": ");
	if (!seed->fast) {
		wfs_text_add(t, "null");
		return;
	}
	wfs_peer_stats(seed->fast, &stats);
	wfs_text_add(t, "{\"state\": \"%s\", \"why\": ",
		     stats.quarantine_s > 0 ? "quarantined" :
		     stats.down		    ? "failing" :
					      "ready");
	wfs_text_add_json(t, stats.why);
	wfs_text_add(t,
		     ", \"connections\": %u, \"requests\": %u, "
		     "\"bytes\": %llu, \"chunks\": %llu, "
		     "\"bytes_per_s\": %llu, \"errors\": %llu, "
		     "\"wrong\": %llu, \"hedges\": %llu, "
		     "\"hedges_won\": %llu, ",
		     stats.lanes, stats.busy, (ull)stats.bytes,
		     (ull)stats.chunks, (ull)stats.rate, (ull)stats.errors,
		     (ull)stats.wrong, (ull)stats.hedges, (ull)stats.won);
	seed->remote->fabric.report(seed->fast_ctx, t);
	wfs_text_add(t, "}");
}

static void report_seed(const struct remote_seed *seed, struct wfs_text *t)
{
	struct wfs_peer_stats stats;

	wfs_peer_stats(seed->peer, &stats);
	wfs_text_add(t, "{\"url\": ");
	wfs_text_add_json(t, seed->link->label);
	wfs_text_add(t,
		     ", \"state\": \"%s\", \"why\": ", state_of(seed, &stats));
	wfs_text_add_json(t, seed->why[0] ? seed->why : stats.why);
	wfs_text_add(t,
		     ", \"events\": %s, \"models\": %zu, "
		     "\"connections\": %u, "
		     "\"requests\": %u, \"bytes\": %llu, \"chunks\": %llu, "
		     "\"bytes_per_s\": %llu, \"errors\": %llu, "
		     "\"wrong\": %llu, \"hedges\": %llu, "
		     "\"hedges_won\": %llu, \"quarantine_s\": %.1f, "
		     "\"lent_files\": %llu, \"lent_bytes\": %llu",
		     seed->streams ? "true" : "false", seed->model_count,
		     stats.lanes, stats.busy, (ull)stats.bytes,
		     (ull)stats.chunks, (ull)stats.rate, (ull)stats.errors,
		     (ull)stats.wrong, (ull)stats.hedges, (ull)stats.won,
		     stats.quarantine_s, (ull)seed->lent_files,
		     (ull)seed->lent_bytes);
	report_fast(seed, t);
	wfs_text_add(t, "}");
}

static void report_down(const struct remote_url *url, struct wfs_text *t)
{
	wfs_text_add(t, "{\"url\": ");
	wfs_text_add_json(t, url->url.base);
	wfs_text_add(t, ", \"state\": \"down\", \"why\": ");
	wfs_text_add_json(t, url->why);
	wfs_text_add(t, "}");
}

/* In the order of the configuration, whoever answered first. */
void wfs_remote_report(struct wfs_remote *remote, struct wfs_text *t)
{
	const char *between = "";

	wfs_text_add(t, "[");
	pthread_mutex_lock(&remote->lock);
	for (size_t u = 0; u < remote->url_count; u++) {
		const struct remote_url *url = &remote->urls[u];

		for (size_t i = 0; i < remote->seed_count; i++) {
			if (remote->seeds[i]->url != url ||
			    remote->seeds[i]->away)
				continue;
			wfs_text_add(t, "%s\n    ", between);
			report_seed(remote->seeds[i], t);
			between = ",";
		}
		if (url->why[0]) { /* its addresses are not known yet */
			wfs_text_add(t, "%s\n    ", between);
			report_down(url, t);
			between = ",";
		}
	}
	pthread_mutex_unlock(&remote->lock);
	wfs_text_add(t, "\n  ]");
}
