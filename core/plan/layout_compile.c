/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layout is compiled: plan, rules, ranks, files; or refused, and then with
 * what can be had in its place.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/inner.h"
#include "core/plan/inverse.h"

static char *name_of(const struct wfs_model *base,
		     const struct wfs_layout_spec *spec)
{
	char pp[16] = "";

	if (spec->whole)
		return wfs_asprintf("%s@hf", base->name);
	if (spec->pp > 1)
		snprintf(pp, sizeof(pp), "pp%u", spec->pp);
	return wfs_asprintf("%s@tp%u%s%s", base->name, spec->tp, pp,
			    spec->hf ? "+hf" : "");
}

static int check_base(const struct wfs_model *base,
		      const struct wfs_layout_spec *spec, struct wfs_err *err)
{
	if (base->format == WFS_FORMAT_OPAQUE || base->virtual)
		return wfs_err_set(err, -EINVAL,
				   "model '%s' is %s: only a safetensors "
				   "checkpoint, or what an engine saved of "
				   "one, can be cut anew",
				   base->name,
				   base->virtual ?
					   "a layout itself" :
					   wfs_model_format_name(base->format));
	if (!spec->tp || !spec->pp || spec->tp > WFS_LAYOUT_MAX ||
	    spec->pp > WFS_LAYOUT_MAX || spec->tp * spec->pp > WFS_LAYOUT_MAX)
		return wfs_err_set(err, -EINVAL,
				   "model '%s': %u × %u ranks: 1 to %u are "
				   "possible",
				   base->name, spec->tp, spec->pp,
				   WFS_LAYOUT_MAX);
	return 0;
}

static uint64_t fingerprint(const struct wfs_layout *layout,
			    const struct wfs_model *model, uint64_t part_size)
{
	uint64_t numbers[3] = { layout->base->fingerprint, layout->plan->hash,
				part_size };
	uint64_t hash = wfs_hash(numbers, sizeof(numbers), WFS_HASH_SEED);

	return wfs_hash(model->name, strlen(model->name), hash);
}

int wfs_layout_begin(struct wfs_layout *layout,
		     const struct wfs_layout_options *options,
		     struct wfs_err *err)
{
	bool whole = layout->spec.hf && layout->spec.tp * layout->spec.pp == 1;
	int rc = whole ? 0 :
			 wfs_plan_config_read(layout->base, &layout->config,
					      err);

	if (!rc && whole)
		rc = wfs_plan_choose_whole(layout, err);
	else if (!rc)
		rc = wfs_plan_choose(options, layout->base,
				     yyjson_doc_get_root(layout->config.doc),
				     layout, err);
	if (rc)
		return rc;
	layout->lets =
		wfs_calloc(layout->plan->let_count, sizeof(*layout->lets));
	layout->let_done =
		wfs_calloc(layout->plan->let_count, sizeof(*layout->let_done));
	return 0;
}

static int compile(struct wfs_layout *layout, struct wfs_model *model,
		   const struct wfs_layout_options *options,
		   struct wfs_err *err)
{
	int rc = wfs_layout_begin(layout, options, err);

	if (!rc)
		rc = wfs_layout_expand(layout, err);
	if (!rc)
		rc = wfs_layout_ranks(
			layout, model,
			layout->spec.whole ? 0 : options->part_size, err);
	if (!rc)
		rc = wfs_layout_files(layout, model, err);
	if (!rc)
		rc = wfs_layout_mend(layout, model, err);
	if (!rc)
		model->fingerprint =
			fingerprint(layout, model, options->part_size);
	return rc;
}

/* `ret_planned`: there is a plan for it. */
static int make(struct wfs_model *base, const struct wfs_layout_spec *spec,
		const struct wfs_layout_options *options, bool *ret_planned,
		struct wfs_model **ret_layout, struct wfs_err *err)
{
	struct wfs_layout *layout;
	struct wfs_model *model;
	int rc;

	layout = wfs_calloc(1, sizeof(*layout));
	layout->base = wfs_model_get(base);
	layout->spec = *spec;
	layout->recipes = wfs_recipe_cache_new();
	if (options->ranks)
		layout->ranks = *options->ranks;
	model = wfs_calloc(1, sizeof(*model));
	atomic_init(&model->refs, 1);
	model->name = name_of(base, spec);
	model->source = wfs_source_get(base->source);
	model->format = WFS_FORMAT_SHARDED_STATE;
	model->mtime = base->mtime;
	model->virtual = &wfs_layout_ops;
	model->virtual_ctx = layout;
	rc = wfs_model_name_check(model->name, err);
	if (!rc)
		rc = compile(layout, model, options, err);
	*ret_planned = layout->plan;
	if (rc)
		wfs_model_put(model);
	else
		*ret_layout = model;
	return rc;
}

/*
 * Adds to why there is no such layout that there is one of the checkpoint's
 * own tensors: cut the same way, or whole where nobody knows how to cut.
 */
static void suggest(struct wfs_model *base, struct wfs_layout_spec spec,
		    const struct wfs_layout_options *options, bool planned,
		    struct wfs_err *err)
{
	struct wfs_model *layout;

	if (!err || spec.hf)
		return;
	spec.hf = true;
	if (!planned)
		spec.tp = spec.pp = 1;
	if (make(base, &spec, options, &planned, &layout, NULL))
		return;
	wfs_err_set(err, err->code, "%s; '%s' can be had", err->text,
		    layout->name);
	wfs_model_put(layout);
}

int wfs_layout_compile(struct wfs_model *base,
		       const struct wfs_layout_spec *spec,
		       const struct wfs_layout_options *options,
		       struct wfs_model **ret_layout, struct wfs_err *err)
{
	struct wfs_model *gathered = NULL;
	bool planned;
	int rc = check_base(base, spec, err);

	if (!rc && base->format == WFS_FORMAT_SHARDED_STATE) {
		rc = wfs_inverse_compile(base, options, &gathered, err);
		base = gathered;
	}
	if (rc)
		return rc;
	rc = make(base, spec, options, &planned, ret_layout, err);
	if (rc)
		suggest(base, *spec, options, planned, err);
	wfs_model_put(gathered);
	return rc;
}
