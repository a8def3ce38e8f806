/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at all checkpoints: which are there, which changed and have
 * settled, which are gone, which were rewritten under our hands.
 */
#include <errno.h>
#include <string.h>

#include "core/base/events.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "tools/watch_look.h"
#include "transport/file/catalog.h"
#include "transport/file/file_source.h"

#define MISSING_LOOKS 2	 /* in a row before a checkpoint counts as gone */
#define PAUSE_MAX     64 /* looks between two tries at a failing source */

static void track_free(struct wfs_track *track)
{
	free(track->name);
	free(track->path);
	free(track->complaint);
	free(track);
}

static struct wfs_track *find_track(struct wfs_tracks *all, const char *name)
{
	for (size_t i = 0; i < all->count; i++) {
		if (strcmp(all->tracks[i]->name, name) == 0)
			return all->tracks[i];
	}
	return NULL;
}

/*
 * Says what is wrong, unless *last says it already.  `model` may be NULL.
 */
static void complain(struct wfs_tracks *all, char **last, const char *model,
		     const char *text)
{
	if (!wfs_text_replace(last, text))
		return;
	if (model)
		wfs_error("model '%s': %s", model, text);
	else
		wfs_error("%s", text);
	wfs_event("error", model, "%s", text);
	if (all->first && all->config->complain) {
		char *line wfs_autofree =
			model ? wfs_asprintf("model '%s': %s", model, text) :
				wfs_strdup(text);

		all->config->complain(all->config->ctx, line);
	}
}

static void note_found(struct wfs_tracks *all, const char *name,
		       const char *path, bool by_hand)
{
	struct wfs_track *track = find_track(all, name);

	if (!track) {
		track = wfs_calloc(1, sizeof(*track));
		track->name = wfs_strdup(name);
		track->by_hand = by_hand;
		all->tracks = wfs_realloc(
			all->tracks, (all->count + 1) * sizeof(*all->tracks));
		all->tracks[all->count++] = track;
	} else if (track->found) {
		return; /* named by hand: goes before the directory's */
	}
	track->found = true;
	if (!track->path || strcmp(track->path, path) != 0) {
		free(track->path);
		track->path = wfs_strdup(path);
	}
}

/* Has the user said of this name that it is elsewhere? */
static bool is_remote(const struct wfs_watch_config *config, const char *name)
{
	for (size_t i = 0; i < config->model_count; i++)
		if (!strcmp(config->models[i].name, name) &&
		    config->models[i].place != WFS_PLACE_DISK)
			return true;
	return false;
}

/* Marks what the models directory holds. */
static void find_in_directory(struct wfs_tracks *all)
{
	const struct wfs_watch_config *config = all->config;
	struct wfs_catalog catalog = { 0 };
	struct wfs_err err = { 0 };
	int rc;

	rc = wfs_catalog_scan(config->models_dir, config->load.follow_links,
			      &catalog, &err);
	all->dir_exists = rc != -ENOENT && rc != -ENOTDIR;
	if (rc) {
		complain(all, &all->dir_complaint, NULL, err.text);
		/* A hiccup: what was there is taken to be there still. */
		for (size_t i = 0; all->dir_exists && i < all->count; i++)
			all->tracks[i]->found = true;
		return;
	}
	free(wfs_steal_ptr(&all->dir_complaint));
	for (size_t i = 0; i < catalog.count; i++)
		if (!is_remote(config, catalog.entries[i].name))
			note_found(all, catalog.entries[i].name,
				   catalog.entries[i].path, false);
	wfs_catalog_clear(&catalog);
}

static void find_all(struct wfs_tracks *all)
{
	const struct wfs_watch_config *config = all->config;

	for (size_t i = 0; i < all->count; i++)
		all->tracks[i]->found = false;
	for (size_t i = 0; i < config->model_count; i++)
		/* What has to meet a digest is not served by itself. */
		if (config->models[i].place == WFS_PLACE_DISK &&
		    !wfs_option_root(config->models, config->model_count,
				     config->models[i].name))
			note_found(all, config->models[i].name,
				   config->models[i].dir, true);
	if (config->models_dir)
		find_in_directory(all);
}

/* Under which no component of the track's path may be a link. */
static const char *beneath(const struct wfs_tracks *all,
			   const struct wfs_track *track)
{
	return track->by_hand ? NULL : all->config->models_dir;
}

/* What the fingerprint of the checkpoint would be if it were loaded now. */
static int peek_at(const struct wfs_tracks *all, const struct wfs_track *track,
		   uint64_t *ret_peek, struct wfs_err *err)
{
	struct wfs_file_source_config file = {
		.follow_links = all->config->load.follow_links,
		.beneath = beneath(all, track),
	};
	struct wfs_file_listing listing = { 0 };
	int rc = wfs_file_source_peek(track->path, &file, &listing, err);

	if (rc)
		return rc;
	*ret_peek = wfs_model_fingerprint(track->name, listing.entries,
					  listing.count);
	wfs_file_listing_clear(&listing);
	return 0;
}

static enum wfs_place place_of(const struct wfs_track *track)
{
	return track->by_hand ? WFS_PLACE_DISK : WFS_PLACE_FOUND;
}

/*
 * Is the name to have this version, not that of another place?  What could not
 * be loaded keeps no other from it while it is tried again.
 */
static bool is_our_turn(const struct wfs_tracks *all, struct wfs_track *track)
{
	struct wfs_places *places = all->config->load.places;
	enum wfs_place place = place_of(track);

	if (track->bad ? wfs_places_may(places, track->name, place) :
			 wfs_places_claim(places, track->name, place))
		return true;
	track->has_done = false; /* when it is, it is offered anew */
	return false;
}

/* Looks at one checkpoint: true when it is to be loaded now. */
static bool is_due(struct wfs_tracks *all, struct wfs_track *track)
{
	struct wfs_err err = { 0 };
	uint64_t peek;
	bool settled, changed;
	int rc = peek_at(all, track, &peek, &err);

	if (rc) {
		track->has_seen = false;
		track->found = rc != -ENOENT && rc != -ENOTDIR;
		/* One of a directory went while we looked: no news. */
		if (track->by_hand || track->found)
			complain(all, &track->complaint, track->name, err.text);
		return false;
	}
	settled = all->first || (track->has_seen && track->seen == peek);
	changed = !track->has_done || track->done != peek;
	track->seen = peek;
	track->has_seen = true;
	if (!changed && track->pause && --track->pause_left == 0)
		changed = true;
	if (track->bad && !changed)
		return false;
	return is_our_turn(all, track) && settled && changed;
}

/* An error of the place, not of what the checkpoint says. */
static bool may_pass(int code)
{
	switch (code) {
	case -EIO:
	case -EACCES:
	case -EMFILE:
	case -ENFILE:
	case -ENOMEM:
	case -ESTALE:
	case -EAGAIN:
	case -ETIMEDOUT:
	case -ENOTCONN:
		return true;
	default:
		return false;
	}
}

static void take_failure(struct wfs_tracks *all, struct wfs_track *track,
			 const struct wfs_err *err)
{
	track->done = track->seen;
	track->has_done = track->bad = true;
	wfs_places_leave(all->config->load.places, track->name,
			 place_of(track));
	if (may_pass(err->code)) {
		track->pause = track->pause ? track->pause * 2 : 1;
		if (track->pause > PAUSE_MAX)
			track->pause = PAUSE_MAX;
		track->pause_left = track->pause;
	} else {
		track->pause = 0;
	}
	complain(all, &track->complaint, track->name, err->text);
}

static void take_result(struct wfs_tracks *all, struct wfs_track *track,
			struct wfs_load_job *job)
{
	const struct wfs_model *model = job->model;
	uint64_t after;

	/* It changed while it was read: wait until it has settled again. */
	if (!all->first &&
	    (peek_at(all, track, &after, NULL) || after != track->seen)) {
		wfs_debug("model '%s' changed while it was read", track->name);
		track->has_seen = false;
		wfs_model_put(job->model);
		return;
	}
	if (!model) {
		take_failure(all, track, &job->err);
		return;
	}
	track->done = track->seen;
	track->has_done = true;
	track->pause = 0;
	track->bad = false;
	free(wfs_steal_ptr(&track->complaint));
	if (!is_our_turn(all, track)) {
		wfs_model_put(job->model);
		return;
	}
	wfs_info("model '%s' read from '%s' ranks=%u files=%u bytes=%llu",
		 track->name, track->path, model->rank_count,
		 model->entry_count, (unsigned long long)model->file_bytes);
	wfs_registry_offer(all->config->registry, job->model);
}

static void load_due(struct wfs_tracks *all)
{
	struct wfs_load_job *jobs wfs_autofree =
		wfs_calloc(all->count + 1, sizeof(*jobs));
	struct wfs_track **tracks wfs_autofree =
		wfs_calloc(all->count + 1, sizeof(struct wfs_track *));
	size_t n = 0;

	for (size_t i = 0; i < all->count; i++) {
		struct wfs_track *track = all->tracks[i];

		if (!track->found || !is_due(all, track))
			continue;
		tracks[n] = track;
		jobs[n++] = (struct wfs_load_job){
			.name = track->name,
			.path = track->path,
			.beneath = beneath(all, track),
		};
	}
	wfs_load_models(&all->config->load, jobs, n);
	for (size_t i = 0; i < n; i++)
		take_result(all, tracks[i], &jobs[i]);
}

static void drop_missing(struct wfs_tracks *all)
{
	size_t kept = 0;

	for (size_t i = 0; i < all->count; i++) {
		struct wfs_track *track = all->tracks[i];

		track->missing = track->found ? 0 : track->missing + 1;
		if (track->missing == MISSING_LOOKS) {
			if (wfs_places_leave(all->config->load.places,
					     track->name, place_of(track)))
				wfs_registry_withdraw(all->config->registry,
						      track->name);
			track->has_done = false;
		}
		if (track->missing < MISSING_LOOKS || track->by_hand)
			all->tracks[kept++] = track;
		else
			track_free(track);
	}
	all->count = kept;
}

/* A model that was rewritten in place is to be read again. */
static void check_stale(struct wfs_tracks *all)
{
	struct wfs_registry *registry = all->config->registry;
	struct wfs_registry_row *rows;
	size_t n = wfs_registry_rows(registry, &rows);

	for (size_t i = 0; i < n; i++) {
		struct wfs_track *track = find_track(all, rows[i].name);

		if (!rows[i].named || !track ||
		    track->stale_slot == rows[i].slot ||
		    !wfs_model_is_stale(rows[i].model))
			continue;
		track->stale_slot = rows[i].slot;
		track->has_done = false;
		wfs_registry_note_stale(registry, rows[i].slot);
	}
	wfs_registry_rows_free(rows, n);
}

void wfs_tracks_look(struct wfs_tracks *all)
{
	find_all(all);
	load_due(all);
	drop_missing(all);
	check_stale(all);
	wfs_registry_tick(all->config->registry);
}

void wfs_tracks_clear(struct wfs_tracks *all)
{
	for (size_t i = 0; i < all->count; i++)
		track_free(all->tracks[i]);
	free(all->tracks);
	free(all->dir_complaint);
	*all = (struct wfs_tracks){ 0 };
}
