/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layout as a model: recipes, made when they are asked for.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/inner.h"

/* What the search for one part of a rule's tensor finds. */
struct wanted {
	int32_t source;
	const struct wfs_view *view;
};

static void part_wanted(struct wfs_eval *e, const struct wfs_view *view,
			uint32_t source)
{
	struct wanted *wanted = e->part_ctx;

	if (!wanted->view && (int32_t)source == wanted->source)
		wanted->view = view;
}

/* `hf`: a part of a rule's tensor. */
static int own_view_of(struct wfs_eval *e, const struct wfs_target *target,
		       const struct wfs_view **ret)
{
	struct wanted wanted = { .source = target->source };
	struct wfs_value v = { .source = -1 };
	int rc;

	e->part = part_wanted;
	e->part_ctx = &wanted;
	if (target->only >= 0)
		e->only[target->only_index] = target->only;
	rc = wfs_evaluate_tensor(e, e->plan->rules[target->rule].value, &v);
	/* Nothing but constants for this rank: see check_rank of expand.c. */
	if (!rc && !wanted.view && v.source == WFS_SOURCE_NONE)
		rc = wfs_eval_source(e, (uint32_t)target->source, &v);
	if (!wanted.view)
		wanted.view = v.view;
	if (rc < 0 || !wanted.view)
		return rc < 0 ? rc : -EINVAL;
	*ret = wfs_hf_part(e->pool, wanted.view, NULL);
	return 0;
}

static int view_of(struct wfs_eval *e, const struct wfs_target *target,
		   const struct wfs_view **ret)
{
	const struct wfs_rule *rule;
	enum wfs_dtype dtype = WFS_U8;
	struct wfs_value v;
	int rc = 0;

	if (target->rule == WFS_RULE_NONE) {
		rc = wfs_eval_source(e, (uint32_t)target->source, &v);
		*ret = v.view;
		return rc;
	}
	rule = &e->plan->rules[target->rule];
	for (uint8_t i = 0; i < rule->index_count && !rc; i++)
		rc = wfs_eval_bind(e, rule->indices[i], target->index[i]);
	if (!rc && e->hf)
		return own_view_of(e, target, ret);
	if (!rc)
		rc = wfs_evaluate_tensor(e, rule->value, &v);
	if (rc)
		return rc;
	if (!rule->as) {
		*ret = v.view;
		return 0;
	}
	rc = wfs_evaluate_dtype(e, rule->as, &dtype);
	if (!rc)
		v.view = wfs_view_cast(e->pool, v.view, dtype, e->err);
	*ret = v.view;
	return rc ? rc : v.view ? 0 : -EINVAL;
}

int wfs_target_view(const struct wfs_layout *layout,
		    const struct wfs_target *target, uint32_t rank,
		    struct wfs_pool *pool, const struct wfs_view **ret,
		    struct wfs_err *err)
{
	uint32_t lets = layout->plan->let_count;
	struct wfs_eval e;
	int rc;

	wfs_layout_eval(layout, pool, err, &e);
	/* Several threads ask at once: lets that come late are their own. */
	e.lets = wfs_malloc(lets * sizeof(*e.lets));
	e.let_done = wfs_malloc(lets * sizeof(*e.let_done));
	memcpy(e.lets, layout->lets, lets * sizeof(*e.lets));
	memcpy(e.let_done, layout->let_done, lets * sizeof(*e.let_done));
	e.kept = pool;
	e.rank = rank % layout->spec.tp;
	e.stage = rank / layout->spec.tp;
	rc = view_of(&e, target, ret);
	free(e.lets);
	free(e.let_done);
	if (rc)
		wfs_err_prefix(err, "tensor '%s'", target->name);
	return rc;
}

static struct wfs_target *target_of(const struct wfs_layout *layout,
				    uint32_t rank, uint32_t index)
{
	return &layout->targets[layout->of_rank[rank][index]];
}

int wfs_target_recipe(const struct wfs_layout *layout,
		      const struct wfs_target *target, uint32_t rank,
		      struct wfs_recipe **ret_recipe, struct wfs_err *err)
{
	const struct wfs_view *view;
	struct wfs_pool pool = { 0 };
	int rc = wfs_target_view(layout, target, rank, &pool, &view, err);

	if (!rc)
		rc = wfs_view_recipe(view, ret_recipe, err);
	wfs_pool_clear(&pool);
	return rc;
}

static int tensor_recipe(const struct wfs_model *model, uint32_t rank,
			 uint32_t index, struct wfs_recipe **ret_recipe,
			 struct wfs_err *err)
{
	const struct wfs_layout *layout = model->virtual_ctx;
	struct wfs_target *target = target_of(layout, rank, index);
	uint64_t key = 1ull << 63 | (uint64_t)rank << 32 | index;
	struct wfs_recipe *recipe = wfs_recipe_cache_find(layout->recipes, key);
	int rc = 0;

	if (!recipe) {
		rc = wfs_target_recipe(layout, target, rank, &recipe, err);
		if (rc)
			return rc;
		recipe = wfs_layout_share(layout, target, rank, recipe);
		wfs_recipe_cache_add(layout->recipes, key, recipe);
	}
	*ret_recipe = recipe;
	return rc;
}

/* A recipe that grows: pieces of others, moved to where they belong. */
struct joined {
	struct wfs_piece *pieces;
	uint64_t *ends;
	uint32_t n, cap;
	uint64_t size;
};

static void join(struct joined *j, const struct wfs_recipe *r)
{
	uint64_t at = j->size;

	if (j->n + r->n > j->cap) {
		j->cap = (j->n + r->n) * 2;
		j->pieces = wfs_realloc(j->pieces, j->cap * sizeof(*j->pieces));
		j->ends = wfs_realloc(j->ends, j->cap * sizeof(*j->ends));
	}
	for (uint32_t i = 0; i < r->n; i++) {
		struct wfs_piece *p = &j->pieces[j->n];

		*p = r->pieces[i];
		if (r->ends) {
			p->at += j->size;
			j->ends[j->n++] = j->size + r->ends[i];
			continue;
		}
		p->at = at;
		p->step = 0;
		at += p->run * p->count;
		j->ends[j->n++] = at;
	}
	j->size += r->size;
}

static int join_part(const struct wfs_model *model, const struct wfs_part *part,
		     struct joined *j, struct wfs_recipe **recipes,
		     struct wfs_err *err)
{
	const struct wfs_layout *layout = model->virtual_ctx;
	const struct wfs_rank *rank = &model->ranks[part->rank];
	struct wfs_region *header =
		wfs_headers_region(layout->headers, part->header);
	struct wfs_piece piece = { .kind = WFS_PIECE_REGION,
				   .region = header,
				   .run = header->size,
				   .stride = header->size,
				   .count = 1 };
	struct wfs_recipe first = { .size = header->size,
				    .n = 1,
				    .pieces = &piece };

	join(j, &first);
	for (uint32_t i = 0; i < part->count; i++) {
		uint32_t index = rank->file_order[part->first + i];
		struct wfs_target *target =
			target_of(layout, part->rank, index);
		int rc = wfs_target_recipe(layout, target, part->rank,
					   &recipes[i], err);

		if (rc)
			return rc;
		recipes[i] = wfs_layout_share(layout, target, part->rank,
					      recipes[i]);
		join(j, recipes[i]);
	}
	return 0;
}

static int part_recipe(const struct wfs_model *model,
		       const struct wfs_part *part,
		       struct wfs_recipe **ret_recipe, struct wfs_err *err)
{
	struct wfs_recipe **recipes;
	struct joined j = { 0 };
	int rc;

	recipes = wfs_calloc((size_t)part->count + 1, sizeof(*recipes));
	rc = join_part(model, part, &j, recipes, err);
	if (!rc) {
		struct wfs_recipe all = { .size = j.size,
					  .n = j.n,
					  .pieces = j.pieces,
					  .ends = j.ends };

		*ret_recipe = wfs_recipe_dup(&all);
	}
	for (uint32_t i = 0; i < part->count; i++)
		wfs_recipe_free(recipes[i]);
	free(recipes);
	free(j.pieces);
	free(j.ends);
	return rc;
}

static int entry_recipe(const struct wfs_model *model, uint32_t entry,
			struct wfs_recipe **ret_recipe, struct wfs_err *err)
{
	const struct wfs_layout *layout = model->virtual_ctx;
	uint32_t at = layout->part_of_entry[entry];
	struct wfs_recipe *recipe;
	int rc;

	if (!at)
		return wfs_err_set(err, -EINVAL, "'%s' is no file of a layout",
				   model->entries[entry].path);
	recipe = wfs_recipe_cache_find(layout->recipes, entry);
	if (!recipe) {
		rc = part_recipe(model, &layout->parts[at - 1], &recipe, err);
		if (rc)
			return rc;
		wfs_recipe_cache_add(layout->recipes, entry, recipe);
	}
	*ret_recipe = recipe;
	return 0;
}

static void layout_free(struct wfs_layout *layout)
{
	unsigned ranks = layout->spec.tp * layout->spec.pp;

	wfs_recipe_cache_free(layout->recipes);
	wfs_source_put(layout->headers);
	for (unsigned i = 0; layout->of_rank && i < ranks;
	     i += layout->uneven ? 1 : layout->spec.tp)
		free(layout->of_rank[i]);
	free(layout->of_rank);
	free(layout->part_of_entry);
	free(layout->parts);
	free(layout->targets);
	free(layout->lets);
	free(layout->let_done);
	wfs_pool_clear(&layout->pool);
	wfs_config_clear(&layout->config);
	wfs_plan_put(layout->plan);
	wfs_model_put(layout->base);
	free(layout);
}

static void model_free(struct wfs_model *model)
{
	layout_free(model->virtual_ctx);
}

const struct wfs_model_virtual wfs_layout_ops = {
	.entry = entry_recipe,
	.tensor = tensor_recipe,
	.free = model_free,
};

const char *wfs_layout_plan(const struct wfs_model *layout)
{
	const struct wfs_layout *l = layout->virtual_ctx;

	return layout->virtual == &wfs_layout_ops ? l->plan->name : NULL;
}

const struct wfs_model *wfs_layout_base(const struct wfs_model *layout)
{
	const struct wfs_layout *l = layout->virtual_ctx;

	return l->base;
}

int wfs_layout_describe(const struct wfs_model *layout, uint32_t rank,
			uint32_t index, struct wfs_text *text,
			struct wfs_err *err)
{
	const struct wfs_layout *l = layout->virtual_ctx;
	const struct wfs_target *target = target_of(l, rank, index);
	const struct wfs_view *view;
	struct wfs_pool pool = { 0 };
	int rc = wfs_target_view(l, target, rank, &pool, &view, err);

	if (!rc)
		wfs_view_describe(view, text);
	if (!rc && target->rule != WFS_RULE_NONE)
		wfs_text_add(text, "  # %s:%u",
			     l->plan->rules[target->rule].target->file,
			     l->plan->rules[target->rule].target->line);
	wfs_pool_clear(&pool);
	return rc;
}

int wfs_layout_split(const struct wfs_model *layout, uint32_t rank,
		     uint32_t index, struct wfs_text *text, struct wfs_err *err)
{
	const struct wfs_layout *l = layout->virtual_ctx;
	const struct wfs_view *view;
	struct wfs_pool pool = { 0 };
	int rc = wfs_target_view(l, target_of(l, rank, index), rank, &pool,
				 &view, err);

	if (!rc)
		wfs_view_split(view, text);
	wfs_pool_clear(&pool);
	return rc;
}
