/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See watch_origin.h.
 */
#include "tools/watch_origin.h"

#include <errno.h>
#include <string.h>

#include "core/base/events.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "tools/routine.h"

#define NS_PER_S 1000000000ull
#define LOOK_NS	 (2 * NS_PER_S)	 /* for stale models; asks nobody */
#define LIST_NS	 (60 * NS_PER_S) /* between two listings */

struct track {
	const char *name, *url; /* the options' */
	const uint8_t *root;	/* the options', or NULL */
	uint64_t fingerprint;	/* of the version that was offered */
	bool offered;
	uint64_t list_at, pause; /* ns */
	char *complaint;
};

struct wfs_origin_watch {
	struct wfs_origins *origins;
	struct wfs_registry *registry;
	struct wfs_load_config load;
	struct track *tracks;
	size_t count;
	struct wfs_routine routine;
};

static uint64_t look(void *ctx);

struct wfs_origin_watch *
wfs_origin_watch_new(struct wfs_origins *origins, struct wfs_registry *registry,
		     const struct wfs_load_config *load,
		     const struct wfs_options *options)
{
	struct wfs_origin_watch *watch = wfs_calloc(1, sizeof(*watch));

	watch->origins = origins;
	watch->registry = registry;
	watch->load = *load;
	watch->tracks =
		wfs_calloc(options->model_count + 1, sizeof(*watch->tracks));
	for (size_t i = 0; i < options->model_count; i++)
		if (options->models[i].place == WFS_PLACE_ORIGIN)
			watch->tracks[watch->count++] = (struct track){
				.name = options->models[i].name,
				.url = options->models[i].dir,
				.root = wfs_option_root(
					options->models, options->model_count,
					options->models[i].name),
			};
	wfs_routine_init(&watch->routine, look, watch);
	return watch;
}

static void fail(struct track *track, const struct wfs_err *err)
{
	track->pause = track->pause ? track->pause * 2 : LOOK_NS;
	if (track->pause > LIST_NS)
		track->pause = LIST_NS;
	track->list_at = wfs_now_ns() + track->pause;
	if (err->code == -ESHUTDOWN ||
	    !wfs_text_replace(&track->complaint, err->text))
		return;
	wfs_error("model '%s': %s", track->name, err->text);
	wfs_event("error", track->name, "%s", err->text);
}

/* Reads the model from what was listed just now, unless it is the same. */
static int read_model(struct wfs_origin_watch *watch, struct track *track,
		      struct wfs_source *source, struct wfs_err *err)
{
	struct wfs_load_job job = { .name = track->name,
				    .path = track->url,
				    .source = source };
	size_t count;
	const struct wfs_source_entry *entries =
		wfs_source_list(source, &count);

	if (track->offered &&
	    wfs_model_fingerprint(track->name, entries, count) ==
		    track->fingerprint)
		return 0;
	wfs_load_models(&watch->load, &job, 1);
	if (!job.model) {
		*err = job.err;
		return err->code;
	}
	wfs_info("model '%s' read from '%s' ranks=%u files=%u bytes=%llu",
		 track->name, job.model->source->label, job.model->rank_count,
		 job.model->entry_count,
		 (unsigned long long)job.model->file_bytes);
	track->fingerprint = job.model->fingerprint;
	track->offered = true;
	wfs_registry_offer(watch->registry, job.model);
	return 0;
}

static void list(struct wfs_origin_watch *watch, struct track *track)
{
	struct wfs_source *source = NULL;
	struct wfs_err err = { 0 };
	int rc = wfs_origin_source(watch->origins, track->url, track->root,
				   &source, &err);

	if (!rc &&
	    wfs_places_claim(watch->load.places, track->name, WFS_PLACE_ORIGIN))
		rc = read_model(watch, track, source, &err);
	wfs_source_put(source);
	if (rc) {
		/* Others may have it; if not, nothing is taken away. */
		wfs_places_leave(watch->load.places, track->name,
				 WFS_PLACE_ORIGIN);
		fail(track, &err);
		return;
	}
	track->pause = 0;
	track->list_at = wfs_now_ns() + LIST_NS;
	free(wfs_steal_ptr(&track->complaint));
}

/* A file that is another now: the model is to be read again at once. */
static bool is_stale(struct wfs_origin_watch *watch, const struct track *track)
{
	uint32_t slot;
	struct wfs_model *model =
		wfs_registry_by_name(watch->registry, track->name, &slot);
	bool stale = model && wfs_model_is_stale(model);

	if (stale)
		wfs_registry_note_stale(watch->registry, slot);
	wfs_model_put(model);
	return stale;
}

static uint64_t look(void *ctx)
{
	struct wfs_origin_watch *watch = ctx;

	for (size_t i = 0; i < watch->count; i++) {
		struct track *track = &watch->tracks[i];

		if (!wfs_places_may(watch->load.places, track->name,
				    WFS_PLACE_ORIGIN)) {
			track->offered = false; /* later, anew */
			track->list_at = 0;
			continue;
		}
		if (track->offered && !track->pause && is_stale(watch, track))
			track->list_at = 0;
		if (track->list_at <= wfs_now_ns())
			list(watch, track);
	}
	return LOOK_NS;
}

int wfs_origin_watch_start(struct wfs_origin_watch *watch, uint64_t wait_ns)
{
	return wfs_routine_start(&watch->routine, wait_ns);
}

void wfs_origin_watch_free(struct wfs_origin_watch *watch)
{
	if (!watch)
		return;
	wfs_routine_stop(&watch->routine);
	for (size_t i = 0; i < watch->count; i++)
		free(watch->tracks[i].complaint);
	free(watch->tracks);
	wfs_routine_clear(&watch->routine);
	free(watch);
}
