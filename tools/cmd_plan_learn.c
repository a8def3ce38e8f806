/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs plan learn`: a plan from what an engine has saved.
 *
 * What was learnt is parsed, compiled and compared with every example, byte
 * by byte, before it is written: a plan that does not make its own examples
 * is refused.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/learn/learn.h"
#include "tools/cmd_plan.h"
#include "tools/layout_diff.h"
#include "tools/open_model.h"
#include "tools/path.h"

#define SHOWN 20u /* tensors that differ */

enum {
	KEY_NAME = 1000,
	KEY_ENGINE,
	KEY_PARTIAL,
};

struct args {
	const char *model, *out;
	char **dumps;
	size_t dump_count;
	bool partial, follow_links;
	struct wfs_learn_options options;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;
	struct wfs_engine engine;
	struct wfs_err err = { 0 };

	switch (key) {
	case 'o':
		args->out = arg;
		return 0;
	case 'L':
		args->follow_links = true;
		return 0;
	case KEY_NAME:
		args->options.name = arg;
		return 0;
	case KEY_ENGINE:
		if (wfs_engine_parse(arg, &engine, &err))
			argp_error(state, "--engine: %s", err.text);
		args->options.engine = arg;
		return 0;
	case KEY_PARTIAL:
		args->partial = true;
		return 0;
	case ARGP_KEY_ARG:
		if (args->model)
			return ARGP_ERR_UNKNOWN;
		args->model = arg;
		return 0;
	case ARGP_KEY_ARGS:
		args->dumps = state->argv + state->next;
		args->dump_count = (size_t)(state->argc - state->next);
		return 0;
	case ARGP_KEY_END:
		if (!args->dump_count)
			argp_error(state, "%s is missing",
				   args->model ? "DUMPDIR" : "CHECKPOINT");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "output", 'o', "FILE", 0, "Write the plan to FILE, not to stdout",
	  0 },
	{ "name", KEY_NAME, "NAME", 0,
	  "What the plan is called (made of the architecture)", 0 },
	{ "engine", KEY_ENGINE, "NAME[-VERSION]", 0,
	  "The engine that saved the dumps (vllm); with a version, the plan "
	  "is for that minor version alone",
	  0 },
	{ "partial", KEY_PARTIAL, NULL, 0,
	  "Write the plan although tensors are not explained", 0 },
	{ "follow-links", 'L', NULL, 0,
	  "Follow links that leave the checkpoint", 0 },
	{ 0 },
};

static const struct argp argp = {
	options,
	parse,
	"CHECKPOINT DUMPDIR...",
	"Finds by bytes where each tensor of an engine's dumps comes from in "
	"the checkpoint, and writes a plan that makes them.\v"
	"Each DUMPDIR holds sharded_state files of one layout of the "
	"checkpoint; tp1 and tp2 tell how ranks share, a dump with pp2 how "
	"stages do.  What bytes do not tell is decided as weightfs-plan(5) "
	"says under LEARNING, and reported.  Exits with 1, and writes "
	"nothing, if a tensor is not explained or the plan does not make "
	"every dump again.",
	NULL,
	NULL,
	NULL,
};

static void close_dumps(struct wfs_model **dumps, size_t count)
{
	for (size_t i = 0; i < count; i++)
		wfs_model_put(dumps[i]);
	free(dumps);
}

static int open_all(const struct args *args, struct wfs_model **ret_base,
		    struct wfs_model ***ret_dumps, struct wfs_err *err)
{
	struct wfs_model **dumps = wfs_calloc(args->dump_count, sizeof(*dumps));
	struct wfs_model *base = NULL;
	char *path wfs_autofree = wfs_path_absolute(args->model);
	int rc = wfs_open_model(path, args->follow_links, &base, err);

	for (size_t i = 0; i < args->dump_count && !rc; i++) {
		char *dump wfs_autofree = wfs_path_absolute(args->dumps[i]);

		rc = wfs_open_model(dump, args->follow_links, &dumps[i], err);
	}
	if (rc) {
		wfs_model_put(base);
		close_dumps(dumps, args->dump_count);
		return rc;
	}
	*ret_base = base;
	*ret_dumps = dumps;
	return 0;
}

static bool is_excused(const struct wfs_learnt *learnt,
		       const struct wfs_layout_difference *row)
{
	for (size_t i = 0; i < learnt->unexplained_count; i++)
		if (row->kind == WFS_DIFF_MISSING &&
		    !strcmp(row->dump->name, learnt->unexplained[i]))
			return true;
	return false;
}

/* The number of tensors that the plan does not make as the dump has them. */
static int count_wrong(const struct wfs_learnt *learnt,
		       const struct wfs_model *layout,
		       const struct wfs_layout_diff *d)
{
	unsigned wrong = 0;
	char name[1024];

	for (size_t i = 0; i < d->count; i++) {
		const struct wfs_layout_difference *row = &d->rows[i];

		if (is_excused(learnt, row))
			continue;
		wfs_text_escape(row->dump ? row->dump->name : row->layout->name,
				name, sizeof(name));
		if (wrong++ < SHOWN)
			wfs_complain("%s: the plan does not make tensor '%s' "
				     "of rank '%s': %s",
				     layout->name, name, row->rank,
				     wfs_layout_diff_name(row->kind));
	}
	if (wrong > SHOWN)
		wfs_complain("… and %u more", wrong - SHOWN);
	return (int)wrong;
}

/* 0 if the plan makes the dump again, 1 if not, or a negative errno. */
static int verify_one(const struct wfs_learnt *learnt,
		      const struct wfs_layout_options *how,
		      struct wfs_model *base, const struct wfs_model *dump,
		      struct wfs_err *err)
{
	struct wfs_layout_spec spec = { 0 };
	struct wfs_layout_diff d = { 0 };
	struct wfs_model *layout = NULL;
	int rc = wfs_learn_spec(dump, &spec, err);

	if (!rc)
		rc = wfs_layout_compile(base, &spec, how, &layout, err);
	if (!rc)
		rc = wfs_layout_diff(layout, dump, &d, err);
	if (!rc)
		rc = count_wrong(learnt, layout, &d) > 0;
	wfs_layout_diff_clear(&d);
	wfs_model_put(layout);
	return rc;
}

static int verify(const struct args *args, const struct wfs_learnt *learnt,
		  struct wfs_model *base, struct wfs_model **dumps,
		  struct wfs_err *err)
{
	struct wfs_plans plans = { 0 };
	struct wfs_layout_options how = { .plans = &plans,
					  .engine = args->options.engine,
					  .part_size = WFS_PART_SIZE };
	int rc = wfs_plans_parse(learnt->plan.data,
				 args->out ? args->out : "learnt.plan", &plans,
				 err);
	bool wrong = false;

	for (size_t i = 0; i < args->dump_count && rc >= 0; i++) {
		rc = verify_one(learnt, &how, base, dumps[i], err);
		wrong = wrong || rc > 0;
	}
	wfs_plans_clear(&plans);
	if (rc < 0)
		return wfs_err_prefix(err, "the plan that was learnt does not "
					   "make its own examples");
	return wrong;
}

static void report(const struct wfs_learnt *learnt)
{
	char name[1024];

	for (size_t i = 0; i < learnt->note_count; i++) {
		wfs_text_escape(learnt->notes[i], name, sizeof(name));
		fprintf(stderr, "decided: %s\n", name);
	}
	for (size_t i = 0; i < learnt->unexplained_count; i++) {
		wfs_text_escape(learnt->unexplained[i], name, sizeof(name));
		fprintf(stderr, "not explained: '%s': %s\n", name,
			learnt->reasons[i]);
	}
}

static int write_plan(const char *path, const struct wfs_text *plan,
		      struct wfs_err *err)
{
	FILE *out = path ? fopen(path, "we") : stdout;
	int rc = 0;

	if (!out)
		return wfs_err_set(err, -errno, "cannot write '%s': %s", path,
				   strerror(errno));
	if (fwrite(plan->data, 1, plan->len, out) != plan->len || fflush(out))
		rc = -errno;
	if (path && fclose(out) && !rc)
		rc = -errno;
	if (rc)
		wfs_err_set(err, rc, "cannot write '%s': %s",
			    path ? path : "stdout", strerror(-rc));
	return rc;
}

/* 0, 1 where nothing is written, or a negative errno. */
static int learn(const struct args *args, struct wfs_model *base,
		 struct wfs_model **dumps, struct wfs_err *err)
{
	struct wfs_learnt learnt = { 0 };
	int rc = wfs_plan_learn(base, dumps, args->dump_count, &args->options,
				&learnt, err);

	if (rc)
		return rc;
	report(&learnt);
	rc = learnt.unexplained_count && !args->partial;
	if (rc)
		wfs_complain("%zu tensor%s not explained: nothing is written "
			     "(--partial writes a plan without)",
			     learnt.unexplained_count,
			     learnt.unexplained_count == 1 ? " is" : "s are");
	if (!rc)
		rc = verify(args, &learnt, base, dumps, err);
	if (rc > 0 && (!learnt.unexplained_count || args->partial))
		wfs_complain("the plan that was learnt does not make its own "
			     "examples: nothing is written");
	if (!rc)
		rc = write_plan(args->out, &learnt.plan, err);
	if (!rc)
		fprintf(stderr,
			"learnt %u rules for %u tensors, compared with %zu "
			"example%s\n",
			learnt.rules, learnt.tensors, args->dump_count,
			args->dump_count == 1 ? "" : "s");
	wfs_learnt_clear(&learnt);
	return rc;
}

int wfs_cmd_plan_learn(int argc, char **argv, const struct wfs_hooks *hooks)
{
	struct args args = { 0 };
	struct wfs_model *base, **dumps;
	struct wfs_err err = { 0 };
	int rc;

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &args);
	rc = open_all(&args, &base, &dumps, &err);
	if (!rc) {
		rc = learn(&args, base, dumps, &err);
		close_dumps(dumps, args.dump_count);
		wfs_model_put(base);
	}
	if (rc < 0)
		wfs_complain("%s", err.text);
	return rc ? WFS_EXIT_FAILURE : WFS_EXIT_OK;
}
