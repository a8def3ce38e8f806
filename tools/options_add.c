/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options that may be given again and again.
 */
#include "tools/options_add.h"

#include <errno.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/base/text.h"
#include "core/model/model.h"
#include "core/plan/layout.h"
#include "tools/path.h"
#include "transport/origin/origin.h"
#include "transport/origin/s3.h"
#include "transport/remote/remote.h"

#define ROOT_MARK "#sha256:"

int wfs_options_add_layout(struct wfs_options *options, const char *value,
			   struct wfs_err *err)
{
	const char *at = strrchr(value, '@');
	struct wfs_layout_spec spec;

	if (!at || at == value || wfs_layout_parse(at + 1, &spec))
		return wfs_err_set(err, -EINVAL,
				   "option 'layout': '%s' is not NAME@tp<N>, "
				   "NAME@tp<N>pp<M>, one with +hf, or "
				   "NAME@hf",
				   value);
	options->layouts = wfs_realloc(
		options->layouts, (options->layout_count + 1) * sizeof(char *));
	options->layouts[options->layout_count++] = wfs_strdup(value);
	return 0;
}

static enum wfs_place place_of(const char *value)
{
	if (wfs_origin_is_url(value))
		return WFS_PLACE_ORIGIN;
	return wfs_remote_is_url(value) ? WFS_PLACE_SEED : WFS_PLACE_DISK;
}

/* A directory, URL or URL#sha256:ROOT. */
static int parse_place(const char *value, struct wfs_option_model *ret,
		       struct wfs_err *err)
{
	const char *mark = strchr(value, '#');

	ret->place = place_of(value);
	if (!strncmp(value, WFS_S3_SCHEME, strlen(WFS_S3_SCHEME)) &&
	    !wfs_s3_is_url(value))
		return wfs_err_set(err, -EINVAL,
				   "option 'model': '%s' is not "
				   "s3://BUCKET/PREFIX",
				   value);
	if (ret->place == WFS_PLACE_DISK) {
		ret->dir = wfs_path_absolute(value);
		return 0;
	}
	if (mark && (strncmp(mark, ROOT_MARK, strlen(ROOT_MARK)) != 0 ||
		     wfs_hex_parse(mark + strlen(ROOT_MARK),
				   strlen(mark + strlen(ROOT_MARK)), ret->root,
				   sizeof(ret->root))))
		return wfs_err_set(err, -EINVAL,
				   "option 'model': '%s' does not end in "
				   "#sha256: and 64 hex digits",
				   value);
	ret->pinned = mark;
	ret->dir = mark ? wfs_asprintf("%.*s", (int)(mark - value), value) :
			  wfs_strdup(value);
	return 0;
}

const uint8_t *wfs_option_root(const struct wfs_option_model *models,
			       size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (models[i].pinned && !strcmp(models[i].name, name))
			return models[i].root;
	return NULL;
}

/* Has another place of that name another digest? */
static bool is_at_odds(const struct wfs_options *options, const char *name,
		       const struct wfs_option_model *place)
{
	for (size_t i = 0; i < options->model_count; i++) {
		const struct wfs_option_model *other = &options->models[i];

		if (place->pinned && other->pinned &&
		    other->place != place->place &&
		    !strcmp(other->name, name) &&
		    memcmp(other->root, place->root, sizeof(place->root)) != 0)
			return true;
	}
	return false;
}

int wfs_options_add_model(struct wfs_options *options, const char *value,
			  struct wfs_err *err)
{
	const char *equals = strchr(value, '=');
	char *name wfs_autofree = NULL;
	struct wfs_option_model place = { 0 };
	size_t i;

	if (!equals || !equals[1])
		return wfs_err_set(err, -EINVAL,
				   "option 'model': '%s' is not NAME=DIR or "
				   "NAME=URL",
				   value);
	name = wfs_asprintf("%.*s", (int)(equals - value), value);
	if (strchr(name, '@'))
		return wfs_err_set(err, -EINVAL,
				   "'%s' cannot be the name of a model: '@' "
				   "stands before a version",
				   name);
	if (wfs_model_name_check(name, err))
		return -EINVAL;
	if (options->command == WFS_FOR_SEED &&
	    place_of(equals + 1) != WFS_PLACE_DISK)
		return wfs_err_set(err, -EINVAL,
				   "option 'model': '%s': a seed serves what "
				   "lies on its disks; mount it, with serve=",
				   value);
	if (parse_place(equals + 1, &place, err))
		return -EINVAL;
	if (is_at_odds(options, name, &place)) {
		free(place.dir);
		return wfs_err_set(err, -EINVAL,
				   "option 'model': '%s' has another digest "
				   "at another place already",
				   name);
	}
	for (i = 0; i < options->model_count; i++) {
		if (strcmp(options->models[i].name, name) == 0 &&
		    options->models[i].place == place.place)
			break;
	}
	if (i == options->model_count) {
		options->models = wfs_realloc(
			options->models, (i + 1) * sizeof(*options->models));
		options->models[i] = (struct wfs_option_model){ 0 };
		options->model_count++;
	}
	free(options->models[i].name);
	free(options->models[i].dir);
	place.name = wfs_steal_ptr(&name);
	options->models[i] = place;
	return 0;
}

int wfs_options_set_prefer(struct wfs_options *options, const char *value,
			   struct wfs_err *err)
{
	if (wfs_prefer_parse(value, &options->prefer))
		return wfs_err_set(err, -EINVAL,
				   "option 'prefer': '%s' is not a list of "
				   "seed, disk and origin, each once, such as "
				   "disk,seed",
				   value);
	return 0;
}

int wfs_options_add_seed(struct wfs_options *options, const char *value,
			 struct wfs_err *err)
{
	if (!wfs_remote_is_url(value))
		return wfs_err_set(err, -EINVAL,
				   "option 'seed': '%s' is not the URL of a "
				   "seed, such as http://host:7420",
				   value);
	options->seeds = wfs_realloc(options->seeds, (options->seed_count + 1) *
							     sizeof(char *));
	options->seeds[options->seed_count++] = wfs_strdup(value);
	return 0;
}
