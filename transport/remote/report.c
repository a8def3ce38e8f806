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

/* Of one way to bytes. */
static void report_figures(const struct wfs_peer_stats *stats,
			   struct wfs_text *t)
{
	wfs_text_add(t,
		     ", \"connections\": %u, \"requests\": %u, "
		     "\"bytes\": %llu, \"chunks\": %llu, "
		     "\"bytes_per_s\": %llu, \"errors\": %llu, "
		     "\"wrong\": %llu, \"hedges\": %llu, "
		     "\"hedges_won\": %llu",
		     stats->lanes, stats->busy, (ull)stats->bytes,
		     (ull)stats->chunks, (ull)stats->rate, (ull)stats->errors,
		     (ull)stats->wrong, (ull)stats->hedges, (ull)stats->won);
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
	report_figures(&stats, t);
	wfs_text_add(t, ", ");
	seed->remote->fabric.report(seed->fast_ctx, t);
	wfs_text_add(t, "}");
}

/* Why the name has no version of engines that is whole. */
static const char *missing_of(const struct wfs_remote *remote,
			      const struct remote_seed *seed, const char *name)
{
	for (size_t i = 0; i < remote->choice_count; i++) {
		const struct wfs_choice *c = &remote->choices[i];

		if (c->complaint && !strcmp(c->remote_name, name) &&
		    wfs_remote_may_offer(c, seed))
			return c->complaint;
	}
	return "";
}

/* Those of its models that lie in the memory of an engine. */
static void report_live(const struct remote_seed *seed, struct wfs_text *t)
{
	const char *between = "";

	wfs_text_add(t, ", \"live\": [");
	for (size_t i = 0; i < seed->model_count; i++) {
		const struct remote_model *m = &seed->models[i];

		if (!m->manifest || !m->manifest->workers)
			continue;
		wfs_text_add(t, "%s{\"model\": ", between);
		wfs_text_add_json(t, m->name);
		wfs_text_add(t, ", \"why\": ");
		wfs_text_add_json(t, missing_of(seed->remote, seed, m->name));
		wfs_text_add(t, ", \"engine\": ");
		wfs_live_add(&m->manifest->workers->live, t);
		wfs_text_add(t, "}");
		between = ", ";
	}
	wfs_text_add(t, "]");
}

static void report_seed(const struct remote_seed *seed, struct wfs_text *t)
{
	struct wfs_peer_stats stats;

	wfs_peer_stats(seed->peer, &stats);
	wfs_text_add(t, "{\"url\": ");
	wfs_text_add_json(t, seed->link->label);
	wfs_text_add(t, ", \"place\": \"seed\", \"state\": \"%s\", \"why\": ",
		     state_of(seed, &stats));
	wfs_text_add_json(t, seed->why[0] ? seed->why : stats.why);
	wfs_text_add(t, ", \"events\": %s, \"models\": %zu",
		     seed->streams ? "true" : "false", seed->model_count);
	report_figures(&stats, t);
	wfs_text_add(t,
		     ", \"quarantine_s\": %.1f, \"lent_files\": %llu, "
		     "\"lent_bytes\": %llu",
		     stats.quarantine_s, (ull)seed->lent_files,
		     (ull)seed->lent_bytes);
	report_fast(seed, t);
	report_live(seed, t);
	wfs_text_add(t, "}");
}

/* The best that is known of it with any version. */
static const char *state_of_copy(const struct wfs_remote_copy *copy,
				 const struct wfs_peer_stats *stats)
{
	const char *state = copy->there ? "waiting" : "absent";

	for (const struct wfs_remote_source *s = copy->remote->sources; s;
	     s = s->next)
		for (unsigned i = 0; i < s->match_count; i++) {
			if (s->matches[i].copy != copy)
				continue;
			if (s->matches[i].state == REMOTE_MATCH_SAME)
				return stats->down ? "failing" : "ready";
			if (s->matches[i].state == REMOTE_MATCH_DIFFERS)
				state = "differs";
		}
	return state;
}

static void report_copy(const struct wfs_remote_copy *copy, struct wfs_text *t)
{
	struct wfs_peer_stats stats = { 0 };
	size_t files, checkable;

	checkable = wfs_remote_copy_checkable_locked(copy, &files);
	if (copy->peer)
		wfs_peer_stats(copy->peer, &stats);
	wfs_text_add(t, "{\"url\": ");
	wfs_text_add_json(t, copy->label);
	wfs_text_add(t, ", \"place\": \"%s\", \"model\": ", copy->kind);
	wfs_text_add_json(t, copy->name);
	wfs_text_add(t, ", \"state\": \"%s\", \"why\": ",
		     state_of_copy(copy, &stats));
	wfs_text_add_json(t, stats.why);
	wfs_text_add(t, ", \"files\": %zu, \"checkable\": %zu", files,
		     checkable);
	report_figures(&stats, t);
	wfs_text_add(t, "}");
}

static void report_down(const struct remote_url *url, struct wfs_text *t)
{
	wfs_text_add(t, "{\"url\": ");
	wfs_text_add_json(t, url->url.base);
	wfs_text_add(t, ", \"place\": \"seed\", \"state\": \"down\", "
			"\"why\": ");
	wfs_text_add_json(t, url->why);
	wfs_text_add(t, "}");
}

/*
 * Seeds in the order of the configuration, whoever answered first; copies
 * after them.
 */
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
	for (const struct wfs_remote_copy *copy = remote->copies; copy;
	     copy = copy->next) {
		wfs_text_add(t, "%s\n    ", between);
		report_copy(copy, t);
		between = ",";
	}
	pthread_mutex_unlock(&remote->lock);
	wfs_text_add(t, "\n  ]");
}
