/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the plans there are, and what people are told of them.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/base/text.h"
#include "core/plan/plan.h"

#define SUFFIX ".plan"

struct wfs_plan *wfs_plan_get(struct wfs_plan *plan)
{
	atomic_fetch_add(&plan->refs, 1);
	return plan;
}

void wfs_plan_put(struct wfs_plan *plan)
{
	if (!plan || atomic_fetch_sub(&plan->refs, 1) > 1)
		return;
	free(plan->architectures);
	free(plan->quantisations);
	free(plan->engine_words);
	free(plan->architecture_words);
	free(plan->quantisation_words);
	free(plan->mends);
	free(plan->lets);
	free(plan->defs);
	free(plan->indices);
	free(plan->rules);
	free(plan->drops);
	free(plan->expects);
	free(plan->requires);
	wfs_pool_clear(&plan->pool);
	free(plan);
}

/* The texts for people, made once. */
static void describe(struct wfs_plan *plan)
{
	struct wfs_text engine = { 0 }, archs = { 0 }, quants = { 0 };

	wfs_text_add(&engine, "%s", plan->engine ? plan->engine : "");
	if (plan->version_from)
		wfs_text_add(&engine, " >=%s", plan->version_from);
	if (plan->version_below)
		wfs_text_add(&engine, " <%s", plan->version_below);
	wfs_text_add(&archs, "%s", "");
	for (uint32_t i = 0; i < plan->architecture_count; i++)
		wfs_text_add(&archs, "%s%s", i ? ", " : "",
			     plan->architectures[i]);
	wfs_text_add(&quants, "%s", "");
	for (uint32_t i = 0; i < plan->quantisation_count; i++)
		wfs_text_add(&quants, "%s%s", i ? ", " : "",
			     plan->quantisations[i].name);
	plan->engine_words = engine.data;
	plan->architecture_words = archs.data;
	plan->quantisation_words = quants.data;
}

static int add_plan(struct wfs_plans *plans, const char *text, const char *file,
		    bool builtin, struct wfs_err *err)
{
	struct wfs_plan *plan;
	int rc = wfs_plan_parse(text, file, builtin, &plan, err);

	if (rc)
		return rc;
	describe(plan);
	plans->plans =
		wfs_realloc(plans->plans, (plans->count + 1) * sizeof(plan));
	plans->plans[plans->count++] = plan;
	return 0;
}

static bool is_plan(const char *name)
{
	size_t len = strlen(name), tail = strlen(SUFFIX);

	return name[0] != '.' && len > tail &&
	       !strcmp(name + len - tail, SUFFIX);
}

static int is_plan_entry(const struct dirent *entry)
{
	return is_plan(entry->d_name);
}

static int add_file(struct wfs_plans *plans, const char *path,
		    struct wfs_err *err)
{
	char *text wfs_autofree = NULL;
	size_t len;
	int rc = wfs_file_slurp(path, WFS_PLAN_BYTES, &text, &len);

	if (rc == -EFBIG)
		return wfs_err_set(err, -EINVAL,
				   "'%s': a plan has at most %u bytes", path,
				   WFS_PLAN_BYTES);
	if (rc)
		return wfs_err_set(err, rc, "cannot read '%s': %s", path,
				   strerror(-rc));
	if (strlen(text) != len)
		return wfs_err_set(err, -EINVAL,
				   "%s:1:1: a plan is text, this holds NULs",
				   path);
	return add_plan(plans, text, path, false, err);
}

static int add_dir(struct wfs_plans *plans, const char *dir,
		   struct wfs_err *err)
{
	struct dirent **names;
	int count = scandir(dir, &names, is_plan_entry, alphasort), rc = 0;

	if (count < 0)
		return wfs_err_set(err, -errno, "cannot read plans in '%s': %s",
				   dir, strerror(errno));
	for (int i = 0; i < count; i++) {
		char *path wfs_autofree =
			wfs_asprintf("%s/%s", dir, names[i]->d_name);

		if (!rc)
			rc = add_file(plans, path, err);
		free(names[i]);
	}
	free(names);
	return rc;
}

int wfs_plans_load(const char *dir, struct wfs_plans *ret_plans,
		   struct wfs_err *err)
{
	const struct wfs_builtin_plan *b = wfs_builtin_plans;
	struct wfs_plans plans = { 0 };
	int rc = dir ? add_dir(&plans, dir, err) : 0;

	for (; b->name && !rc; b++) {
		char *file wfs_autofree = wfs_asprintf("built-in/%s", b->name);

		if (is_plan(b->name))
			rc = add_plan(&plans, b->text, file, true, err);
	}
	if (rc)
		wfs_plans_clear(&plans);
	else
		*ret_plans = plans;
	return rc;
}

int wfs_plans_parse(const char *text, const char *file,
		    struct wfs_plans *ret_plans, struct wfs_err *err)
{
	struct wfs_plans plans = { 0 };
	int rc = add_plan(&plans, text, file, false, err);

	if (!rc)
		*ret_plans = plans;
	return rc;
}

void wfs_plans_clear(struct wfs_plans *plans)
{
	for (size_t i = 0; i < plans->count; i++)
		wfs_plan_put(plans->plans[i]);
	free(plans->plans);
	memset(plans, 0, sizeof(*plans));
}

const char *wfs_plan_name(const struct wfs_plan *plan)
{
	return plan->name;
}

const char *wfs_plan_file(const struct wfs_plan *plan)
{
	return plan->builtin ? "built-in" : plan->file;
}

const char *wfs_plan_engine(const struct wfs_plan *plan)
{
	return plan->engine_words;
}

const char *wfs_plan_architectures(const struct wfs_plan *plan)
{
	return plan->architecture_words;
}

const char *wfs_plan_quantisations(const struct wfs_plan *plan)
{
	return plan->quantisation_words;
}
