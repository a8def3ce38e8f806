/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint put together again, as a model.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/keys.h"
#include "core/base/text.h"
#include "core/live.h"
#include "core/model/names.h"
#include "core/plan/expand.h"
#include "core/plan/inverse_inner.h"

static int tensor_recipe(const struct wfs_model *model, uint32_t rank,
			 uint32_t index, struct wfs_recipe **ret_recipe,
			 struct wfs_err *err)
{
	const struct wfs_view *view = wfs_inverse_view(model, index);

	return view ? wfs_view_recipe(view, ret_recipe, err) :
		      wfs_err_set(err, -EINVAL,
				  "tensor '%s' is not put together yet",
				  model->ranks[rank].tensors[index].name);
}

static int entry_recipe(const struct wfs_model *model, uint32_t entry,
			struct wfs_recipe **ret_recipe, struct wfs_err *err)
{
	(void)ret_recipe;
	return wfs_err_set(err, -EINVAL, "'%s' is no file that is put together",
			   model->entries[entry].path);
}

static void model_free(struct wfs_model *model)
{
	struct wfs_inverse *inverse = model->virtual_ctx;

	wfs_model_put(inverse->dump);
	wfs_pool_clear(&inverse->pool);
	free(inverse->views);
	free(inverse->losses);
	free(inverse);
}

static const struct wfs_model_virtual inverse_ops = {
	.entry = entry_recipe,
	.tensor = tensor_recipe,
	.free = model_free,
};

struct wfs_inverse *wfs_inverse_of(const struct wfs_model *model)
{
	return model->virtual == &inverse_ops ? model->virtual_ctx : NULL;
}

const struct wfs_view *wfs_inverse_view(const struct wfs_model *model,
					uint32_t at)
{
	const struct wfs_inverse *inverse = wfs_inverse_of(model);

	return inverse ? inverse->views[at] : NULL;
}

/* ---- what is lost */

void wfs_inverse_lose(struct wfs_inverse *inverse, const char *name,
		      enum wfs_loss_kind kind, const char *reason)
{
	struct wfs_layout_loss *loss;

	if (inverse->loss_count == inverse->loss_cap) {
		inverse->loss_cap = inverse->loss_cap * 2 + 16;
		inverse->losses = wfs_realloc(
			inverse->losses, inverse->loss_cap * sizeof(*loss));
	}
	loss = &inverse->losses[inverse->loss_count++];
	loss->name = wfs_pool_text(&inverse->pool, name, strlen(name));
	loss->reason = wfs_pool_text(&inverse->pool, reason, strlen(reason));
	loss->kind = kind;
}

ssize_t wfs_layout_losses(const struct wfs_model *layout,
			  const struct wfs_layout_loss **ret_losses)
{
	const struct wfs_layout *l = layout->virtual_ctx;
	const struct wfs_inverse *inverse;

	if (layout->virtual != &wfs_layout_ops)
		return -1;
	inverse = wfs_inverse_of(l->base);
	if (!inverse)
		return -1;
	*ret_losses = inverse->losses;
	return (ssize_t)inverse->loss_count;
}

/* What the plan leaves out, whether the checkpoint had it or not. */
static int lose_dropped(struct wfs_inverse *inverse, struct wfs_layout *layout,
			struct wfs_err *err)
{
	const struct wfs_plan *plan = layout->plan;
	struct wfs_expand x = { .layout = layout };
	int rc = 0;

	wfs_layout_eval(layout, &x.scratch, err, &x.e);
	x.e.kept = &layout->pool;
	for (uint32_t i = 0; i < plan->drop_count && !rc; i++) {
		const struct wfs_node *n = plan->drops[i].pattern;
		struct wfs_text text = { 0 };
		const char *pattern = NULL;
		char reason[256];

		rc = wfs_expand_pattern(&x, &plan->drops[i], &pattern);
		if (rc || !pattern)
			continue;
		wfs_expand_show(pattern, &text);
		snprintf(reason, sizeof(reason), "left out by %s:%u", n->file,
			 n->line);
		wfs_inverse_lose(inverse, text.data, WFS_LOSS_GONE, reason);
		free(text.data);
	}
	wfs_pool_clear(&x.scratch);
	return rc;
}

static void lose_changed(struct wfs_inverse *inverse,
			 const struct wfs_ghost *ghost)
{
	char reason[256];

	if (ghost->cast) {
		snprintf(reason, sizeof(reason), "cast to %s by %s:%u",
			 wfs_dtype_name((enum wfs_dtype)ghost->dtype),
			 ghost->rule->file, ghost->rule->line);
		wfs_inverse_lose(inverse, ghost->name, WFS_LOSS_CAST, reason);
	}
	if (ghost->formed) {
		snprintf(reason, sizeof(reason), "given another shape by %s:%u",
			 ghost->rule->file, ghost->rule->line);
		wfs_inverse_lose(inverse, ghost->name, WFS_LOSS_SHAPE, reason);
	}
}

/* ---- the model */

static void *copy(const void *from, size_t count, size_t size)
{
	return memcpy(wfs_malloc(count * size), from, count * size);
}

static struct wfs_model *new_model(struct wfs_model *dump)
{
	struct wfs_inverse *inverse = wfs_calloc(1, sizeof(*inverse));
	struct wfs_model *m = wfs_calloc(1, sizeof(*m));

	inverse->dump = wfs_model_get(dump);
	atomic_init(&m->refs, 1);
	m->name = wfs_strdup(dump->name);
	m->source = wfs_source_get(dump->source);
	m->format = WFS_FORMAT_HF;
	m->entries =
		copy(dump->entries, dump->entry_count, sizeof(*m->entries));
	m->entry_count = dump->entry_count;
	m->dirs = copy(dump->dirs, dump->dir_count, sizeof(*m->dirs));
	m->dir_count = dump->dir_count;
	m->file_bytes = dump->file_bytes;
	m->fingerprint = dump->fingerprint;
	m->mtime = dump->mtime;
	m->virtual = &inverse_ops;
	m->virtual_ctx = inverse;
	return m;
}

/* `off` is the index, by which inverse_fill.c knows them. */
static int fill_tensor(struct wfs_inverse *inverse, struct wfs_tensor *t,
		       const struct wfs_ghost *ghost, struct wfs_err *err)
{
	char escaped[WFS_FILE_NAME_MAX + 1];
	const char *file =
		wfs_name_file(ghost->name, strlen(ghost->name), escaped);
	int rc;

	t->name = t->file_name = ghost->name;
	if (file != ghost->name)
		t->file_name =
			wfs_pool_text(&inverse->pool, file, strlen(file));
	t->shape = ghost->shape;
	t->ndim = ghost->ndim;
	t->dtype = ghost->dtype;
	rc = wfs_dtype_bytes((enum wfs_dtype)t->dtype, t->shape, t->ndim,
			     &t->size);
	return rc ? wfs_err_set(err, rc,
				"model '%s': tensor '%s' has a shape that "
				"cannot be: put the right config.json there",
				inverse->dump->name, t->name) :
		    0;
}

/* The ghosts that were asked for, in byte order of their file names. */
static int fill_tensors(struct wfs_model *m, struct wfs_ghosts *ghosts,
			struct wfs_err *err)
{
	struct wfs_inverse *inverse = wfs_inverse_of(m);
	struct wfs_key *keys wfs_autofree =
		wfs_calloc((size_t)ghosts->count + 1, sizeof(*keys));
	struct wfs_tensor *found wfs_autofree =
		wfs_calloc((size_t)ghosts->count + 1, sizeof(*found));
	struct wfs_rank *rank = wfs_calloc(1, sizeof(*rank));
	int rc = 0;

	m->ranks = rank;
	m->rank_count = 1;
	rank->name = "0";
	for (uint32_t i = 0; i < ghosts->count && !rc; i++) {
		struct wfs_tensor *t = &found[rank->count];

		if (!ghosts->rows[i].kept)
			continue;
		rc = fill_tensor(inverse, t, &ghosts->rows[i], err);
		keys[rank->count] = (struct wfs_key){
			.s = t->file_name,
			.len = (uint32_t)strlen(t->file_name),
			.tag = rank->count,
		};
		rank->count++;
		lose_changed(inverse, &ghosts->rows[i]);
	}
	wfs_keys_sort(keys, rank->count);
	rank->tensors =
		wfs_calloc((size_t)rank->count + 1, sizeof(*rank->tensors));
	inverse->views =
		wfs_calloc((size_t)rank->count + 1, sizeof(*inverse->views));
	for (uint32_t i = 0; i < rank->count; i++) {
		rank->tensors[i] = found[keys[i].tag];
		rank->tensors[i].off = i;
	}
	wfs_pool_join(&inverse->pool, &ghosts->pool);
	return rc;
}

/* Those that are not found whole are none of it. */
static void leave_out(struct wfs_model *m)
{
	struct wfs_inverse *inverse = wfs_inverse_of(m);
	struct wfs_rank *rank = &m->ranks[0];
	uint32_t n = 0;

	for (uint32_t i = 0; i < rank->count; i++) {
		struct wfs_tensor *t = &rank->tensors[i];

		if (!inverse->views[i]) {
			wfs_inverse_lose(inverse, t->name, WFS_LOSS_GONE,
					 "no rank has some of its elements");
			continue;
		}
		inverse->views[n] = inverse->views[i];
		rank->bytes += t->size;
		rank->tensors[n++] = *t;
	}
	rank->count = n;
	rank->file_order = wfs_calloc((size_t)n + 1, sizeof(*rank->file_order));
	for (uint32_t i = 0; i < n; i++)
		rank->file_order[i] = i;
	m->tensor_bytes = rank->bytes;
}

/* ---- the whole */

/* Which layout it is that was saved, by the names of its ranks. */
static int spec_of(const struct wfs_model *dump, struct wfs_layout_spec *ret,
		   struct wfs_err *err)
{
	const char *last = dump->ranks[dump->rank_count - 1].name;
	struct wfs_layout_spec spec = { .tp = dump->rank_count, .pp = 1 };
	char *end;

	if (wfs_starts_with(last, "pp-")) {
		spec.pp = (unsigned)strtoul(last + 3, &end, 10) + 1;
		if (wfs_starts_with(end, "-tp-"))
			spec.tp = (unsigned)strtoul(end + 4, NULL, 10) + 1;
	}
	if (spec.tp * spec.pp != dump->rank_count)
		return wfs_err_set(err, -EINVAL,
				   "model '%s': its ranks are no layout that "
				   "a plan makes",
				   dump->name);
	*ret = spec;
	return 0;
}

/*
 * Whose plan it is that made the dump: of an engine whose memory it lies in,
 * what that says.
 */
static int engine_of(const struct wfs_model *dump, char **ret_engine,
		     struct wfs_err *err)
{
	const struct wfs_live *live = dump->source->live;
	char *text wfs_autofree = NULL;

	if (!live)
		return 0;
	if (live->state && !strcmp(live->state, WFS_LIVE_PROCESSED)) {
		text = wfs_live_text(live);
		return wfs_err_set(
			err, -EINVAL,
			"model '%s': its engine (%s) changed its weights after "
			"it had loaded them, so that only the same engine can "
			"use them, at the same layout: load '%s' itself, or "
			"start that engine so that it leaves them as loaded",
			dump->name, text, dump->name);
	}
	if (live->engine)
		*ret_engine = wfs_asprintf(
			"%s%s%s", live->engine, live->engine_version ? "-" : "",
			live->engine_version ? live->engine_version : "");
	return 0;
}

/* `ranks` is of `layout`, whose base becomes the checkpoint. */
static int put_together(struct wfs_layout *layout, struct wfs_model *ranks,
			struct wfs_model *model, struct wfs_err *err)
{
	struct wfs_ghosts ghosts = { 0 };
	int rc = wfs_inverse_find(layout, &ghosts, err);

	if (!rc)
		rc = fill_tensors(model, &ghosts, err);
	wfs_ghosts_clear(&ghosts);
	if (rc)
		return rc;
	/* From now on there is a checkpoint, if only a described one. */
	wfs_model_put(layout->base);
	layout->base = wfs_model_get(model);
	memset(layout->let_done, 0,
	       layout->plan->let_count * sizeof(*layout->let_done));
	rc = wfs_layout_expand(layout, err);
	if (!rc)
		rc = wfs_layout_ranks(layout, ranks, 0, err);
	if (!rc)
		rc = wfs_inverse_fill(layout, ranks, model, err);
	if (!rc)
		rc = lose_dropped(wfs_inverse_of(model), layout, err);
	if (!rc)
		leave_out(model);
	return rc;
}

int wfs_inverse_compile(struct wfs_model *dump,
			const struct wfs_layout_options *options,
			struct wfs_model **ret_checkpoint, struct wfs_err *err)
{
	struct wfs_layout *layout = wfs_calloc(1, sizeof(*layout));
	struct wfs_model *ranks = wfs_calloc(1, sizeof(*ranks));
	struct wfs_layout_options how = *options;
	struct wfs_model *model = NULL;
	char *engine wfs_autofree = NULL;
	int rc;

	layout->base = wfs_model_get(dump);
	layout->recipes = wfs_recipe_cache_new();
	atomic_init(&ranks->refs, 1);
	ranks->virtual = &wfs_layout_ops;
	ranks->virtual_ctx = layout;
	rc = engine_of(dump, &engine, err);
	if (engine)
		how.engine = engine;
	if (!rc)
		rc = spec_of(layout->base, &layout->spec, err);
	if (!rc)
		rc = wfs_layout_begin(layout, &how, err);
	if (!rc) {
		model = new_model(dump);
		rc = put_together(layout, ranks, model, err);
	}
	/* It refers to the checkpoint, not the other way round. */
	wfs_model_put(ranks);
	if (rc)
		wfs_model_put(model);
	else
		*ret_checkpoint = model;
	return rc;
}
