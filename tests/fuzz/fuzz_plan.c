/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds the parser of plans.  What it accepts is used on a small Llama, in
 * several layouts: whatever a plan says, every tensor that comes of it has a
 * recipe as large as its header says, which can be read.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/layout.h"
#include "core/plan/plan.h"
#include "core/plan/recipe.h"
#include "tests/unit/ckpt.h"

#define TENSORS_MAX 200 /* of a layout that are looked at */

static const char config[] =
	"{\"architectures\": [\"LlamaForCausalLM\"], \"dtype\": \"bfloat16\","
	"\"hidden_size\": 8, \"num_hidden_layers\": 2, \"vocab_size\": 10,"
	"\"num_attention_heads\": 2, \"num_key_value_heads\": 1,"
	"\"intermediate_size\": 4, \"head_dim\": 4,"
	"\"tie_word_embeddings\": false}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth)
{
	if (!truth)
		abort();
}

static size_t add_tensor(struct wfs_text *header, size_t at, const char *name,
			 unsigned rows, unsigned columns)
{
	size_t end = at + 2 * (size_t)rows * (columns ? columns : 1);
	char shape[32];

	if (columns)
		snprintf(shape, sizeof(shape), "[%u,%u]", rows, columns);
	else
		snprintf(shape, sizeof(shape), "[%u]", rows);
	wfs_text_add(header,
		     "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":%s,"
		     "\"data_offsets\":[%zu,%zu]}",
		     at ? "," : "{", name, shape, at, end);
	return end;
}

static struct wfs_model *make_model(void)
{
	static const struct {
		const char *name;
		unsigned rows, columns;
	} parts[] = {
		{ "self_attn.q_proj", 8, 8 },
		{ "self_attn.k_proj", 4, 8 },
		{ "self_attn.v_proj", 4, 8 },
		{ "self_attn.o_proj", 8, 8 },
		{ "mlp.gate_proj", 4, 8 },
		{ "mlp.up_proj", 4, 8 },
		{ "mlp.down_proj", 8, 4 },
		{ "input_layernorm", 8, 0 },
		{ "post_attention_layernorm", 8, 0 },
	};
	struct ckpt *ckpt = ckpt_new("m");
	struct wfs_text header = { 0 };
	struct wfs_model *model;
	struct wfs_err err;
	size_t at = add_tensor(&header, 0, "lm_head.weight", 10, 8);

	at = add_tensor(&header, at, "model.embed_tokens.weight", 10, 8);
	at = add_tensor(&header, at, "model.norm.weight", 8, 0);
	for (unsigned i = 0; i < 2 * sizeof(parts) / sizeof(*parts); i++) {
		char name[64];

		snprintf(name, sizeof(name), "model.layers.%u.%s.weight", i % 2,
			 parts[i / 2].name);
		at = add_tensor(&header, at, name, parts[i / 2].rows,
				parts[i / 2].columns);
	}
	wfs_text_add(&header, "}");
	ckpt_add_safetensors(ckpt, "model.safetensors", header.data, at);
	ckpt_add_text(ckpt, "config.json", config);
	free(header.data);
	must(!wfs_model_load(ckpt_source(ckpt), "m", 1, &model, &err));
	return model;
}

static void read_tensor(const struct wfs_model *layout, uint32_t rank,
			uint32_t index)
{
	const struct wfs_tensor *t = &layout->ranks[rank].tensors[index];
	struct wfs_text text = { 0 };
	struct wfs_recipe *recipe;
	struct wfs_err err = { 0 };
	char buf[4096];

	must(!wfs_layout_describe(layout, rank, index, &text, &err));
	must(!wfs_layout_split(layout, rank, index, &text, &err));
	free(text.data);
	/* One that is torn to too many pieces is refused. */
	if (layout->virtual->tensor(layout, rank, index, &recipe, &err)) {
		must(err.code < 0 && *err.text);
		return;
	}
	must(recipe->size == t->size && !wfs_recipe_check(recipe, &err));
	must(wfs_recipe_read(recipe, buf, sizeof(buf), 0) ==
	     (ssize_t)(t->size < sizeof(buf) ? t->size : sizeof(buf)));
	must(wfs_recipe_read(recipe, buf, 1, t->size - 1) == 1);
	wfs_recipe_free(recipe);
}

static void use(struct wfs_model *base, struct wfs_plan *plan,
		struct wfs_layout_spec spec)
{
	struct wfs_plans plans = { &plan, 1 };
	struct wfs_layout_options options = { .plans = &plans,
					      .engine = plan->engine };
	struct wfs_model *layout;
	struct wfs_err err = { 0 };

	if (wfs_layout_compile(base, &spec, &options, &layout, &err)) {
		must(err.code < 0 && *err.text);
		return;
	}
	for (uint32_t r = 0; r < layout->rank_count; r++)
		for (uint32_t i = 0;
		     i < layout->ranks[r].count && i < TENSORS_MAX; i++)
			read_tensor(layout, r, i);
	wfs_model_put(layout);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wfs_model *model;
	char *text wfs_autofree = wfs_malloc(size + 1);
	struct wfs_plan *plan;
	struct wfs_err err = { 0 };

	if (!model)
		model = make_model();
	memcpy(text, data, size);
	text[size] = '\0';
	if (wfs_plan_parse(text, "p", false, &plan, &err)) {
		must(err.code == -EINVAL &&
		     (!strncmp(err.text, "p:", 2) ||
		      !strncmp(err.text, "built-in/", 9)));
		return 0;
	}
	use(model, plan, (struct wfs_layout_spec){ .tp = 1, .pp = 1 });
	use(model, plan, (struct wfs_layout_spec){ .tp = 2, .pp = 2 });
	use(model, plan,
	    (struct wfs_layout_spec){ .tp = 2, .pp = 1, .hf = true });
	wfs_plan_put(plan);
	return 0;
}
