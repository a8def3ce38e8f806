/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See copies.h.
 */
#include "tools/copies.h"

#include <errno.h>
#include <string.h>

#include "core/base/events.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/digest/digest_tree.h"
#include "tools/routine.h"
#include "transport/file/file_source.h"

#define NS_PER_S     1000000000ull
#define LOOK_NS	     (NS_PER_S / 4)
#define LIST_NS	     (60 * NS_PER_S) /* between two listings of an origin */
#define PAUSE_MAX    (60 * NS_PER_S) /* between two tries at a failing place */
#define DISK_LANES   4
#define ORIGIN_LANES 8

struct track {
	const struct wfs_option_model *model; /* the options' */
	struct wfs_remote_copy *copy;
	struct wfs_source *source; /* NULL: it is not there */
	bool vouches;		   /* for the version of seeds … */
	bool vouched;		   /* … as `source` has it */
	uint64_t fingerprint;	   /* of its listing */
	uint64_t look_at, pause;   /* ns */
	char *complaint;
};

struct wfs_copies {
	struct wfs_copies_config config;
	struct track *tracks;
	size_t count;
	struct wfs_routine routine;
};

static uint64_t look(void *ctx);

bool wfs_copies_vouch(const struct wfs_options *options)
{
	/* A key tells the versions that are signed from others. */
	return options->trust == WFS_TRUST_ORIGIN && !options->trust_key;
}

/* The place of that name whose bytes are taken first, but for seeds. */
static const struct wfs_option_model *
find_voucher(const struct wfs_options *options, const char *name)
{
	const struct wfs_option_model *best = NULL;

	for (size_t i = 0; i < options->model_count; i++) {
		const struct wfs_option_model *m = &options->models[i];

		if (m->place == WFS_PLACE_SEED || strcmp(m->name, name) != 0)
			continue;
		if (!best ||
		    wfs_prefer_rank(&options->prefer, m->place) <
			    wfs_prefer_rank(&options->prefer, best->place))
			best = m;
	}
	return best;
}

bool wfs_copies_vouch_for(const struct wfs_options *options, const char *name)
{
	return wfs_copies_vouch(options) && find_voucher(options, name) &&
	       !wfs_option_root(options->models, options->model_count, name);
}

struct wfs_copies *wfs_copies_new(const struct wfs_copies_config *config)
{
	const struct wfs_options *options = config->options;
	struct wfs_copies *copies = wfs_calloc(1, sizeof(*copies));
	bool disk = config->place == WFS_PLACE_DISK;

	copies->config = *config;
	copies->tracks =
		wfs_calloc(options->model_count + 1, sizeof(*copies->tracks));
	for (size_t i = 0; i < options->model_count; i++) {
		const struct wfs_option_model *model = &options->models[i];
		struct wfs_remote_copy_config copy = {
			.name = model->name,
			.label = model->dir,
			.kind = wfs_place_text(config->place),
			.rank = wfs_prefer_rank(&options->prefer,
						config->place),
			.lanes = disk ? DISK_LANES : ORIGIN_LANES,
		};

		if (model->place != config->place)
			continue;
		copies->tracks[copies->count++] = (struct track){
			.model = model,
			.copy = wfs_remote_copy_add(config->remote, &copy),
			.vouches = wfs_copies_vouch_for(options, model->name) &&
				   find_voucher(options, model->name) == model,
		};
	}
	wfs_routine_init(&copies->routine, look, copies);
	if (copies->count)
		return copies;
	wfs_copies_free(copies);
	return NULL;
}

static void set_source(struct track *track, struct wfs_source *source,
		       uint64_t fingerprint)
{
	wfs_remote_copy_set(track->copy, source);
	wfs_source_put(track->source);
	track->source = source;
	track->fingerprint = fingerprint;
	track->vouched = false;
}

static void fail(struct track *track, const struct wfs_err *err)
{
	track->pause = track->pause ? track->pause * 2 : NS_PER_S;
	if (track->pause > PAUSE_MAX)
		track->pause = PAUSE_MAX;
	track->look_at = wfs_now_ns() + track->pause;
	if (err->code == -ESHUTDOWN ||
	    !wfs_text_replace(&track->complaint, err->text))
		return;
	wfs_warn("model '%s': %s", track->model->name, err->text);
	wfs_event("copy", track->model->name, "%s", err->text);
}

/* Is the directory as it was when it was opened? */
static int disk_is_same(struct wfs_copies *copies, const struct track *track,
			bool *ret_same, struct wfs_err *err)
{
	struct wfs_file_source_config file = {
		.follow_links = copies->config.options->follow_links,
	};
	struct wfs_file_listing listing = { 0 };
	int rc = wfs_file_source_peek(track->model->dir, &file, &listing, err);

	if (rc)
		return rc;
	*ret_same = track->source &&
		    wfs_model_fingerprint(track->model->name, listing.entries,
					  listing.count) == track->fingerprint;
	wfs_file_listing_clear(&listing);
	return 0;
}

static int open_place(struct wfs_copies *copies, const struct track *track,
		      struct wfs_source **ret_source, struct wfs_err *err)
{
	const struct wfs_options *options = copies->config.options;
	const struct wfs_option_model *model = track->model;
	struct wfs_file_source_config file = {
		.follow_links = copies->config.options->follow_links,
	};

	if (model->place == WFS_PLACE_ORIGIN)
		return wfs_origin_source(copies->config.origins, model->dir,
					 wfs_option_root(options->models,
							 options->model_count,
							 model->name),
					 ret_source, err);
	return wfs_file_source_open(model->dir, &file, ret_source, err);
}

/* Tells which version its digest manifest is of; once, it may be large. */
static int vouch(struct track *track, struct wfs_err *err)
{
	struct wfs_digest_tree tree = { 0 };
	uint8_t root[WFS_ROOT_BYTES];
	int rc = wfs_digest_tree_load(track->source, &tree, err);

	if (rc == -ENOENT && !err->code)
		return wfs_err_set(err, rc,
				   "'%s' has no " WFS_DIGEST_TREE_FILE
				   " (weightfs digest writes it), and seeds "
				   "are not believed without it (trust)",
				   track->model->dir);
	if (rc)
		return rc;
	wfs_digest_tree_root(&tree, root);
	wfs_digest_tree_clear(&tree);
	wfs_remote_copy_vouch(track->copy, root);
	track->vouched = true;
	return 0;
}

/* Opens it if it is new or changed. */
static int refresh(struct wfs_copies *copies, struct track *track,
		   struct wfs_err *err)
{
	const struct wfs_source_entry *list;
	struct wfs_source *source;
	uint64_t fingerprint;
	bool same = false;
	size_t n;
	int rc = 0;

	if (track->model->place == WFS_PLACE_DISK)
		rc = disk_is_same(copies, track, &same, err);
	if (!rc && !same)
		rc = open_place(copies, track, &source, err);
	if (rc || same)
		return rc;
	list = wfs_source_list(source, &n);
	fingerprint = wfs_model_fingerprint(track->model->name, list, n);
	if (track->source && fingerprint == track->fingerprint)
		wfs_source_put(source);
	else
		set_source(track, source, fingerprint);
	return track->vouches && !track->vouched ? vouch(track, err) : 0;
}

/* Compares it with each version of seeds that is served. */
static int match(struct track *track, const struct wfs_registry_row *rows,
		 size_t n, struct wfs_err *err)
{
	int rc = 0;

	for (size_t i = 0; i < n && !rc; i++)
		if (wfs_remote_copy_serves(track->copy, rows[i].model->source))
			rc = wfs_remote_copy_match(track->copy,
						   rows[i].model->source, err);
	return rc;
}

static bool is_wanted(const struct track *track,
		      const struct wfs_registry_row *rows, size_t n)
{
	if (track->vouches)
		return true;
	for (size_t i = 0; i < n; i++)
		if (wfs_remote_copy_serves(track->copy, rows[i].model->source))
			return true;
	return false;
}

static void look_at(struct wfs_copies *copies, struct track *track,
		    const struct wfs_registry_row *rows, size_t n)
{
	struct wfs_err err = { 0 };
	int rc;

	if (!is_wanted(track, rows, n)) {
		if (track->source)
			set_source(track, NULL, 0);
		track->look_at = track->pause = 0;
		return;
	}
	if (track->pause && track->look_at > wfs_now_ns())
		return;
	rc = track->look_at > wfs_now_ns() ? 0 : refresh(copies, track, &err);
	/* A directory that is gone is; a server that hangs may come back. */
	if (rc && track->source && (rc == -ENOENT || rc == -ENOTDIR))
		set_source(track, NULL, 0);
	if (!rc)
		rc = match(track, rows, n, &err);
	if (rc) {
		fail(track, &err);
		return;
	}
	track->pause = 0;
	if (track->look_at <= wfs_now_ns())
		track->look_at = wfs_now_ns() +
				 (track->model->place == WFS_PLACE_DISK ?
					  copies->config.options->rescan_ns :
					  LIST_NS);
	free(wfs_steal_ptr(&track->complaint));
}

static uint64_t look(void *ctx)
{
	struct wfs_copies *copies = ctx;
	struct wfs_registry_row *rows;
	size_t n = wfs_registry_rows(copies->config.registry, &rows);

	for (size_t i = 0; i < copies->count; i++)
		look_at(copies, &copies->tracks[i], rows, n);
	wfs_registry_rows_free(rows, n);
	wfs_remote_copies_tell(copies->config.remote);
	return LOOK_NS;
}

int wfs_copies_start(struct wfs_copies *copies, uint64_t wait_ns)
{
	return copies ? wfs_routine_start(&copies->routine, wait_ns) : 0;
}

void wfs_copies_free(struct wfs_copies *copies)
{
	if (!copies)
		return;
	wfs_routine_stop(&copies->routine);
	for (size_t i = 0; i < copies->count; i++) {
		wfs_source_put(copies->tracks[i].source);
		free(copies->tracks[i].complaint);
	}
	free(copies->tracks);
	wfs_routine_clear(&copies->routine);
	free(copies);
}
