/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MODEL@tpN: from the words to a layout.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/text.h"
#include "tools/layout_arg.h"
#include "tools/open_model.h"
#include "tools/path.h"

enum {
	KEY_PLANS = 0x100,
	KEY_ENGINE,
	KEY_PART_SIZE,
};

int wfs_layout_arg_spec(const char *text, struct wfs_layout_spec *ret_spec,
			struct wfs_err *err)
{
	text += *text == '@';
	if (!wfs_layout_parse(text, ret_spec))
		return 0;
	return wfs_err_set(err, -EINVAL,
			   "'%s' is no layout: write tp4, tp2pp2, tp4+hf or hf",
			   text);
}

int wfs_layout_arg_split(const char *arg, struct wfs_layout_arg *ret,
			 struct wfs_err *err)
{
	char *path wfs_autofree = wfs_path_absolute(arg);
	char *base = strrchr(path, '/');
	struct wfs_layout_arg out = { 0 };
	struct stat st;
	char *at;

	at = strrchr(base, '@');
	if (at && stat(path, &st)) {
		/* Layouts hold no '@', so only the last one can begin one. */
		if (wfs_layout_parse(at + 1, &out.spec))
			return wfs_err_set(err, -EINVAL,
					   "there is no '%s', and '%s' is no "
					   "layout: write tp4, tp2pp2, tp4+hf "
					   "or hf",
					   path, at + 1);
		out.has_spec = true;
		*at = '\0';
		/* "@tp2" alone and "dir/@tp2": the directory itself. */
		out.path = wfs_path_absolute(path);
	} else {
		out.path = wfs_steal_ptr(&path);
	}
	*ret = out;
	return 0;
}

void wfs_layout_arg_clear(struct wfs_layout_arg *arg)
{
	free(arg->path);
	arg->path = NULL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct wfs_layout_settings *s = state->input;
	struct wfs_engine engine;
	struct wfs_err err = { 0 };

	switch (key) {
	case KEY_PLANS:
		s->plans_dir = arg;
		return 0;
	case KEY_ENGINE:
		if (wfs_engine_parse(arg, &engine, &err))
			argp_error(state, "--engine: %s", err.text);
		s->engine = arg;
		return 0;
	case KEY_PART_SIZE:
		if (wfs_size_parse(arg, &s->part_size))
			argp_error(state, "--part-size: '%s' is no size", arg);
		return 0;
	case 'L':
		s->follow_links = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

#define COMMON_OPTIONS                                                         \
	{ "plans",                                                             \
	  KEY_PLANS,                                                           \
	  "DIR",                                                               \
	  0,                                                                   \
	  "Try the plans in DIR before those that are built in",               \
	  0 },                                                                 \
		{ "engine",                                                    \
		  KEY_ENGINE,                                                  \
		  "NAME[-VERSION]",                                            \
		  0,                                                           \
		  "The engine that is to load it (vllm, the newest known)",    \
		  0 },                                                         \
	{                                                                      \
		"follow-links", 'L', NULL, 0,                                  \
			"Follow links that leave the checkpoint", 0            \
	}

static const struct argp_option options[] = { COMMON_OPTIONS, { 0 } };
static const struct argp_option options_parts[] = {
	COMMON_OPTIONS,
	{ "part-size", KEY_PART_SIZE, "SIZE", 0,
	  "Cut a rank's file at about SIZE (512M; 0: never)", 0 },
	{ 0 },
};

const struct argp wfs_layout_argp = {
	options, parse, NULL, NULL, NULL, NULL, NULL,
};
const struct argp wfs_layout_argp_parts = {
	options_parts, parse, NULL, NULL, NULL, NULL, NULL,
};

int wfs_layout_open_another(const struct wfs_layout_open *open,
			    const struct wfs_layout_spec *spec,
			    const struct wfs_layout_settings *settings,
			    struct wfs_model **ret_layout, struct wfs_err *err)
{
	struct wfs_layout_options how = {
		.plans = &open->plans,
		.engine = settings->engine,
		.part_size = settings->part_size,
	};

	return wfs_layout_compile(open->base, spec, &how, ret_layout, err);
}

int wfs_layout_open(const struct wfs_layout_arg *arg,
		    const struct wfs_layout_settings *settings,
		    struct wfs_layout_open *ret, struct wfs_err *err)
{
	struct wfs_layout_open open = { 0 };
	int rc = wfs_plans_load(settings->plans_dir, &open.plans, err);

	if (rc)
		return rc;
	rc = wfs_open_model(arg->path, settings->follow_links, &open.base, err);
	if (!rc && arg->has_spec)
		rc = wfs_layout_open_another(&open, &arg->spec, settings,
					     &open.layout, err);
	if (rc)
		wfs_layout_close(&open);
	else
		*ret = open;
	return rc;
}

void wfs_layout_close(struct wfs_layout_open *open)
{
	wfs_model_put(open->layout);
	wfs_model_put(open->base);
	wfs_plans_clear(&open->plans);
	*open = (struct wfs_layout_open){ 0 };
}

int wfs_layout_open_arg(const char *text,
			const struct wfs_layout_settings *settings,
			struct wfs_layout_open *ret, struct wfs_err *err)
{
	struct wfs_layout_arg arg = { 0 };
	int rc = wfs_layout_arg_split(text, &arg, err);

	if (rc)
		return rc;
	if (arg.has_spec)
		rc = wfs_layout_open(&arg, settings, ret, err);
	else
		rc = wfs_err_set(err, -EINVAL,
				 "'%s' names no layout: write '%s@tp4', for "
				 "example",
				 text, text);
	wfs_layout_arg_clear(&arg);
	return rc;
}

int wfs_recipe_of_tensor(const struct wfs_model *model, uint32_t rank,
			 uint32_t index, struct wfs_recipe **ret_recipe,
			 struct wfs_err *err)
{
	struct wfs_piece piece;
	struct wfs_recipe recipe;

	if (model->virtual)
		return model->virtual->tensor(model, rank, index, ret_recipe,
					      err);
	wfs_tensor_recipe(model, &model->ranks[rank].tensors[index], &piece,
			  &recipe);
	*ret_recipe = wfs_recipe_dup(&recipe);
	return 0;
}

int wfs_recipe_of_entry(const struct wfs_model *model, uint32_t entry,
			struct wfs_recipe **ret_recipe, struct wfs_err *err)
{
	struct wfs_region *region = model->entries[entry].region;
	struct wfs_piece piece = {
		.kind = WFS_PIECE_REGION,
		.region = region,
		.count = 1,
	};
	struct wfs_recipe recipe = { .pieces = &piece };

	if (!region)
		return model->virtual->entry(model, entry, ret_recipe, err);
	piece.run = piece.stride = recipe.size = region->size;
	recipe.n = region->size ? 1 : 0;
	*ret_recipe = wfs_recipe_dup(&recipe);
	return 0;
}
