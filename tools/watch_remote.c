/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The models of seeds: which are new, which are gone.
 */
#include "tools/watch_remote.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "core/base/events.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "tools/hold.h"
#include "tools/rival.h"
#include "tools/routine.h"
#include "transport/origin/origin.h"

#define NS_PER_S  1000000000ull
#define LOOK_NS	  (NS_PER_S / 2) /* asks nobody: seeds have their threads */
#define PAUSE_MAX 64		 /* looks between two tries at a failing one */

struct track {
	char *name;
	uint64_t done;
	bool has_done, found;
	bool forgotten;		   /* its seeds are gone, and so is it */
	bool bad;		   /* it could not be loaded */
	struct wfs_source *joined; /* a web server's, which it is part of */
	unsigned pause, pause_left;
	char *complaint;
};

struct wfs_remote_watch {
	struct wfs_remote *remote;
	struct wfs_registry *registry;
	struct wfs_load_config load;
	struct wfs_prefer prefer;
	_Atomic(struct wfs_store *) store; /* NULL: none (yet) */
	struct track *tracks;
	size_t count;
	struct wfs_routine routine;
};

static uint64_t look(void *ctx);

struct wfs_remote_watch *
wfs_remote_watch_new(struct wfs_remote *remote, struct wfs_registry *registry,
		     const struct wfs_load_config *load,
		     const struct wfs_prefer *prefer)
{
	struct wfs_remote_watch *watch = wfs_calloc(1, sizeof(*watch));

	watch->remote = remote;
	watch->registry = registry;
	watch->load = *load;
	watch->prefer = *prefer;
	wfs_routine_init(&watch->routine, look, watch);
	return watch;
}

static void track_clear(struct track *track)
{
	wfs_source_put(track->joined);
	free(track->name);
	free(track->complaint);
}

static struct track *track_of(struct wfs_remote_watch *watch, const char *name)
{
	struct track *track;

	for (size_t i = 0; i < watch->count; i++)
		if (!strcmp(watch->tracks[i].name, name))
			return &watch->tracks[i];
	watch->tracks =
		wfs_realloc(watch->tracks, (watch->count + 1) * sizeof(*track));
	track = &watch->tracks[watch->count++];
	*track = (struct track){ .name = wfs_strdup(name) };
	return track;
}

static void complain(struct track *track, const char *text)
{
	if (!wfs_text_replace(&track->complaint, text))
		return;
	wfs_error("model '%s': %s", track->name, text);
	wfs_event("error", track->name, "%s", text);
}

/* Is every byte of it on this node? */
static bool is_held(struct wfs_remote_watch *watch, struct wfs_source *source)
{
	struct wfs_store *store = atomic_load(&watch->store);
	const struct wfs_source_entry *list;
	bool all = true;
	size_t n;

	list = wfs_source_list(source, &n);
	for (size_t i = 0; i < n && all; i++) {
		struct wfs_region *region = list[i].region;

		if (!region || !wfs_region_is_far(region) ||
		    region->head_len == region->size)
			continue;
		all = store &&
		      wfs_holder_of(store).held(store, region) == region->size;
	}
	return all;
}

/*
 * Its seeds are gone for good: is it gone with them?  What is open stays, or
 * is here all the same, until it is not.
 */
static bool is_forgotten(struct wfs_remote_watch *watch, struct track *track)
{
	uint32_t slot;
	struct wfs_model *model =
		wfs_registry_by_name(watch->registry, track->name, &slot);
	bool goes = model && model->source->ops->far &&
		    !wfs_registry_is_open(watch->registry, slot, 0) &&
		    !is_held(watch, model->source);

	wfs_model_put(model);
	if (!goes)
		return track->forgotten;
	if (!track->forgotten)
		wfs_warn("model '%s': its seeds could not be reached for so "
			 "long that it is listed no more until one of them "
			 "answers (option 'forget_after')",
			 track->name);
	track->forgotten = true;
	track->has_done = false;
	/* Another place may have it. */
	if (wfs_places_leave(watch->load.places, track->name, WFS_PLACE_SEED))
		wfs_registry_withdraw(watch->registry, track->name);
	return true;
}

/*
 * Is the name to have the seeds' version?  One that could not be loaded keeps
 * no other from it while it is tried again.
 */
static bool is_our_turn(struct wfs_remote_watch *watch, struct track *track)
{
	struct wfs_places *places = watch->load.places;

	if (track->bad ? wfs_places_may(places, track->name, WFS_PLACE_SEED) :
			 wfs_places_claim(places, track->name, WFS_PLACE_SEED))
		return true;
	track->has_done = false; /* when it is, it is offered anew */
	return false;
}

/* Is what seeds are part of still what the name is? */
static bool is_joined(struct wfs_remote_watch *watch, const struct track *track)
{
	uint32_t slot;
	struct wfs_model *served =
		wfs_registry_by_name(watch->registry, track->name, &slot);
	bool same = served && served->source == track->joined &&
		    !wfs_model_is_stale(served);

	wfs_model_put(served);
	return same;
}

static void part(struct track *track)
{
	wfs_source_put(wfs_steal_ptr(&track->joined));
	track->has_done = false;
}

/* Is it to be loaded now? */
static bool is_due(struct wfs_remote_watch *watch, struct track *track,
		   const struct wfs_remote_model *model)
{
	track->found = true;
	if (track->joined) {
		if (track->done == model->peek && is_joined(watch, track))
			return false;
		part(track);
	}
	if (model->gone && is_forgotten(watch, track))
		return false;
	track->forgotten = false;
	if (!is_our_turn(watch, track))
		return false;
	if (!track->has_done || track->done != model->peek)
		return true;
	return track->pause && --track->pause_left == 0;
}

/*
 * Its seeds have what a web server has the name for: they bring bytes of that,
 * and the name stays where it is.
 */
static bool join(struct wfs_remote_watch *watch, struct track *track,
		 const struct wfs_model *model)
{
	struct wfs_origin_join join = {
		.source = model->source,
		.end = wfs_remote_source_end,
		.rank = wfs_prefer_rank(&watch->prefer, WFS_PLACE_SEED),
		.own_rank = wfs_prefer_rank(&watch->prefer, WFS_PLACE_ORIGIN),
	};
	struct wfs_err err = { 0 };
	uint32_t slot;
	struct wfs_model *served =
		wfs_registry_by_name(watch->registry, track->name, &slot);

	if (served && !wfs_model_is_stale(served) &&
	    wfs_rival_is_same(served->source, model->source)) {
		if (wfs_origin_join(served->source, &join, &err))
			wfs_warn("model '%s': %s", track->name, err.text);
		else
			track->joined = wfs_source_get(served->source);
	}
	wfs_model_put(served);
	if (!track->joined)
		return false;
	wfs_info("model '%s': '%s' has the version of '%s', and is asked for "
		 "its bytes, too",
		 track->name, model->source->label, track->joined->label);
	wfs_event("place", track->name, "seeds have the same version");
	return true;
}

static void take_result(struct wfs_remote_watch *watch,
			struct wfs_load_job *job, uint64_t peek)
{
	struct track *track = track_of(watch, job->name);
	const struct wfs_model *model;
	bool joined = job->model && join(watch, track, job->model);

	if (job->model && !joined &&
	    wfs_rival_check(watch->registry, job->model, &job->err))
		wfs_model_put(wfs_steal_ptr(&job->model));
	model = job->model;

	track->done = peek;
	track->has_done = true;
	track->bad = !model;
	if (!model) {
		wfs_places_leave(watch->load.places, track->name,
				 WFS_PLACE_SEED);
		track->pause = track->pause ? track->pause * 2 : 1;
		if (track->pause > PAUSE_MAX)
			track->pause = PAUSE_MAX;
		track->pause_left = track->pause;
		if (job->err.code != -ESHUTDOWN)
			complain(track, job->err.text);
		return;
	}
	track->pause = 0;
	free(wfs_steal_ptr(&track->complaint));
	if (joined)
		wfs_places_leave(watch->load.places, track->name,
				 WFS_PLACE_SEED);
	if (joined || !is_our_turn(watch, track)) {
		wfs_model_put(job->model);
		return;
	}
	wfs_info("model '%s' read from '%s' ranks=%u files=%u bytes=%llu",
		 track->name, model->source->label, model->rank_count,
		 model->entry_count, (unsigned long long)model->file_bytes);
	wfs_registry_offer(watch->registry, job->model);
}

static void load_due(struct wfs_remote_watch *watch,
		     const struct wfs_remote_model *models, size_t count)
{
	struct wfs_load_job *jobs wfs_autofree =
		wfs_calloc(count + 1, sizeof(*jobs));
	uint64_t *peeks wfs_autofree = wfs_calloc(count + 1, sizeof(*peeks));
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		struct track *track = track_of(watch, models[i].name);

		if (!is_due(watch, track, &models[i]))
			continue;
		peeks[n] = models[i].peek;
		jobs[n++] = (struct wfs_load_job){
			.name = models[i].name,
			.path = models[i].name,
			.remote = watch->remote,
		};
	}
	wfs_load_models(&watch->load, jobs, n);
	for (size_t i = 0; i < n; i++)
		take_result(watch, &jobs[i], peeks[i]);
}

/* A seed has told that it has it no more. */
static void drop_missing(struct wfs_remote_watch *watch)
{
	size_t kept = 0;

	for (size_t i = 0; i < watch->count; i++) {
		struct track *track = &watch->tracks[i];

		if (track->found) {
			watch->tracks[kept++] = *track;
			continue;
		}
		if (!track->joined &&
		    wfs_places_leave(watch->load.places, track->name,
				     WFS_PLACE_SEED))
			wfs_registry_withdraw(watch->registry, track->name);
		track_clear(track);
	}
	watch->count = kept;
}

/* A version that a seed has rewritten may be replaced at once. */
static void note_stale(struct wfs_remote_watch *watch)
{
	struct wfs_registry_row *rows;
	size_t n = wfs_registry_rows(watch->registry, &rows);

	for (size_t i = 0; i < n; i++)
		if (rows[i].named && !rows[i].stale &&
		    rows[i].model->source->ops->far &&
		    wfs_model_is_stale(rows[i].model))
			wfs_registry_note_stale(watch->registry, rows[i].slot);
	wfs_registry_rows_free(rows, n);
}

static uint64_t look(void *ctx)
{
	struct wfs_remote_watch *watch = ctx;
	struct wfs_remote_model *models;
	size_t n = wfs_remote_models(watch->remote, &models);

	for (size_t i = 0; i < watch->count; i++)
		watch->tracks[i].found = false;
	load_due(watch, models, n);
	drop_missing(watch);
	note_stale(watch);
	wfs_remote_models_free(models, n);
	return LOOK_NS;
}

void wfs_remote_watch_keep(struct wfs_remote_watch *watch,
			   struct wfs_store *store)
{
	atomic_store(&watch->store, store);
}

int wfs_remote_watch_start(struct wfs_remote_watch *watch, uint64_t wait_ns)
{
	return wfs_routine_start(&watch->routine, wait_ns);
}

void wfs_remote_watch_free(struct wfs_remote_watch *watch)
{
	if (!watch)
		return;
	wfs_routine_stop(&watch->routine);
	for (size_t i = 0; i < watch->count; i++)
		track_clear(&watch->tracks[i]);
	free(watch->tracks);
	wfs_routine_clear(&watch->routine);
	free(watch);
}
