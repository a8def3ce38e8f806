/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which plan fits a model: engine, version, architecture, quantisation.  The
 * user's come before the built-in ones; two of one kind that fit are refused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/inner.h"

int wfs_version_compare(const char *a, const char *b)
{
	while (*a || *b) {
		char *a_end, *b_end;
		unsigned long x = strtoul(a, &a_end, 10);
		unsigned long y = strtoul(b, &b_end, 10);

		if (x != y)
			return x < y ? -1 : 1;
		/* "0.32.1rc2": what is no number ends the comparison. */
		if (a_end == a && b_end == b)
			return 0;
		a = *a_end == '.' ? a_end + 1 : "";
		b = *b_end == '.' ? b_end + 1 : "";
	}
	return 0;
}

static bool fits_engine(const struct wfs_plan *p,
			const struct wfs_engine *engine)
{
	const char *version = engine->version;

	if (strlen(p->engine) != engine->name_len ||
	    strncmp(p->engine, engine->name, engine->name_len))
		return false;
	return !version ||
	       ((!p->version_from ||
		 wfs_version_compare(version, p->version_from) >= 0) &&
		(!p->version_below ||
		 wfs_version_compare(version, p->version_below) < 0));
}

static bool fits_architecture(const struct wfs_plan *p, const char *arch)
{
	for (uint32_t i = 0; i < p->architecture_count; i++)
		if (!strcmp(p->architectures[i], arch))
			return true;
	return false;
}

/* The one quantisation of the plan that holds: 1; none: 0. */
static int find_quantisation(struct wfs_layout *layout, struct wfs_plan *plan,
			     const char **ret, struct wfs_err *err)
{
	struct wfs_pool pool = { 0 };
	struct wfs_eval e;
	const char *found = NULL;
	int rc = 0;

	layout->plan = plan;
	layout->lets = wfs_calloc(plan->let_count, sizeof(*layout->lets));
	layout->let_done = wfs_calloc(plan->let_count, sizeof(bool));
	wfs_layout_eval(layout, &pool, err, &e);
	e.kept = &pool;
	for (uint32_t i = 0; i < plan->quantisation_count && rc >= 0; i++) {
		rc = wfs_evaluate_condition(&e, plan->quantisations[i].when);
		if (rc <= 0)
			continue;
		if (found)
			rc = wfs_err_set(err, -EINVAL,
					 "plan '%s': model '%s' is quantised "
					 "both as '%s' and '%s'",
					 plan->name, layout->base->name, found,
					 plan->quantisations[i].name);
		found = plan->quantisations[i].name;
	}
	layout->plan = NULL;
	free(layout->lets);
	free(layout->let_done);
	layout->lets = NULL;
	layout->let_done = NULL;
	wfs_pool_clear(&pool);
	if (rc < 0)
		return rc;
	*ret = found;
	return found != NULL;
}

int wfs_plan_architecture(const struct wfs_model *base, yyjson_val *config,
			  const char **ret, struct wfs_err *err)
{
	yyjson_val *list = yyjson_obj_get(config, "architectures");
	yyjson_val *one = yyjson_is_arr(list) ? yyjson_arr_get_first(list) :
						NULL;

	if (!yyjson_is_str(one) || yyjson_arr_size(list) != 1)
		return wfs_err_set(err, -EINVAL,
				   "model '%s': config.json names no "
				   "architecture, or several: "
				   "\"architectures\" is to hold one",
				   base->name);
	*ret = yyjson_get_str(one);
	return 0;
}

/* What config.json calls its quantisation. */
static const char *quantisation_of(yyjson_val *config)
{
	static const char *const keys[] = {
		"quantization_config.quant_method",
		"quantization_config.quant_algo",
		"quantization_config.quant_type",
	};
	const char *name = NULL;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys) && !name; i++)
		name = yyjson_get_str(wfs_config_find(config, keys[i]));
	return name ? name : "of some kind";
}

static int none_fits(const struct wfs_model *base, yyjson_val *config,
		     const struct wfs_engine *engine, const char *arch,
		     const struct wfs_plan *near, struct wfs_err *err)
{
	if (near)
		return wfs_err_set(
			err, -EINVAL,
			"model '%s': plan '%s' for %.120s does not know its "
			"quantisation '%.60s' with what \"quantization_config"
			"\" of config.json says (it knows %s): 'weightfs plan "
			"learn' makes a plan of a dump",
			base->name, near->name, arch, quantisation_of(config),
			near->quantisation_words);
	return wfs_err_set(
		err, -EINVAL,
		"model '%s': there is no plan for architecture "
		"'%.120s' and engine %.*s %.60s: 'weightfs plan "
		"learn' makes one of a dump",
		base->name, arch, (int)engine->name_len, engine->name,
		engine->version ? engine->version : "of any version");
}

/* Is `p` to be taken although `than` fits too?  1, 0, or refused. */
static int is_better(const struct wfs_plan *p, const struct wfs_plan *than,
		     const char *version, const char *arch, struct wfs_err *err)
{
	int order = 0;

	if (!than)
		return 1;
	if (p->builtin != than->builtin)
		return 0;
	/* No version asked for: the newest. */
	if (!version)
		order = wfs_version_compare(
			p->version_from ? p->version_from : "0",
			than->version_from ? than->version_from : "0");
	if (order)
		return order > 0;
	return wfs_err_set(err, -EINVAL,
			   "plans '%s' (%s) and '%s' (%s) fit %s equally: "
			   "remove one",
			   than->name, wfs_plan_file(than), p->name,
			   wfs_plan_file(p), arch);
}

int wfs_plan_choose(const struct wfs_layout_options *options,
		    const struct wfs_model *base, yyjson_val *config,
		    struct wfs_layout *layout, struct wfs_err *err)
{
	const struct wfs_plan *near = NULL;
	struct wfs_plan *best = NULL;
	struct wfs_engine engine;
	const char *arch = NULL;
	int rc = wfs_engine_parse(options->engine ? options->engine : "vllm",
				  &engine, err);

	if (!rc)
		rc = wfs_plan_architecture(base, config, &arch, err);
	if (rc)
		return rc;
	layout->architecture = arch;
	for (size_t i = 0; i < options->plans->count && rc >= 0; i++) {
		struct wfs_plan *p = options->plans->plans[i];
		const char *quantised = NULL;

		if (!fits_engine(p, &engine) || !fits_architecture(p, arch))
			continue;
		near = p;
		rc = find_quantisation(layout, p, &quantised, err);
		if (rc > 0)
			rc = is_better(p, best, engine.version, arch, err);
		if (rc <= 0)
			continue;
		best = p;
		layout->quantised = quantised;
	}
	if (rc < 0)
		return rc;
	if (!best)
		return none_fits(base, config, &engine, arch, near, err);
	layout->plan = wfs_plan_get(best);
	return 0;
}

int wfs_plan_choose_whole(struct wfs_layout *layout, struct wfs_err *err)
{
	layout->architecture = "any";
	return wfs_plan_parse("plan whole engine any architectures any "
			      "quantisation none",
			      "built-in/whole", true, &layout->plan, err);
}
