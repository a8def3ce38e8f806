/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layouts of a model of two layers, with a plan of the test's own.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/model/safetensors.h"
#include "core/plan/layout.h"
#include "core/plan/plan.h"
#include "tests/unit/ckpt.h"

#define CONFIG                                                                 \
	"{\"architectures\":[\"A\"],\"layers\":2,\"heads\":2,\"width\":4}"

/* embed [3, 2], two layers of a [4, 2], b [2, 4], k [2, 2]: U8 */
static const char header[] =
	"{\"embed\":{\"dtype\":\"U8\",\"shape\":[3,2],\"data_offsets\":[0,6]},"
	"\"l.0.a\":{\"dtype\":\"U8\",\"shape\":[4,2],\"data_offsets\":[6,14]},"
	"\"l.0.b\":{\"dtype\":\"U8\",\"shape\":[2,4],\"data_offsets\":[14,22]},"
	"\"l.0.k\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[22,26]},"
	"\"l.1.a\":{\"dtype\":\"U8\",\"shape\":[4,2],\"data_offsets\":[26,34]},"
	"\"l.1.b\":{\"dtype\":\"U8\",\"shape\":[2,4],\"data_offsets\":[34,42]},"
	"\"l.1.k\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[42,46]}}";

static const char plan_text[] =
	"plan own engine vllm architectures A\n"
	"quantisation none when (config.quantization_config ?? null) == null\n"
	"index l = config.layers pipeline l leftover before_last\n"
	"expect \"l.{l}.a\" [config.width, 2]\n"
	"tensor \"embed\" stage first = split(0, pad(0, 4, \"embed\"))\n"
	"tensor \"l.{l}.ak\" = concat(0, split(0, \"l.{l}.a\"), share(0, "
	"\"l.{l}.k\", config.heads))\n"
	"tensor \"l.{l}.b\" = split(1, \"l.{l}.b\")\n"
	"tensor \"l.{l}.one\" = const(\"F32\", [], 1)\n";

struct fixture {
	struct wfs_model *base;
	struct wfs_plans plans;
	struct wfs_model *layout;
	struct wfs_err err;
};

static void load(struct fixture *f, const char *config, const char *text)
{
	struct ckpt *m = ckpt_new("m");
	struct wfs_source *src;

	memset(f, 0, sizeof(*f));
	ckpt_add_safetensors(m, "model.safetensors", header, 46);
	if (config)
		ckpt_add_text(m, "config.json", config);
	ckpt_add_text(m, "sub/notes", "n");
	ckpt_add_text(m, "zz", "z");
	src = ckpt_source(m);
	if (wfs_model_load(src, "m", 1, &f->base, &f->err))
		fail_msg("%s", f->err.text);
	wfs_source_put(src);
	f->plans.plans = wfs_malloc(sizeof(*f->plans.plans));
	if (wfs_plan_parse(text, "own", false, f->plans.plans, &f->err))
		fail_msg("%s", f->err.text);
	f->plans.count = 1;
	f->plans.plans[0]->quantisation_words = wfs_strdup("none");
}

static void unload(struct fixture *f)
{
	wfs_model_put(f->layout);
	wfs_model_put(f->base);
	wfs_plans_clear(&f->plans);
}

static int compile(struct fixture *f, const char *spec, uint64_t part_size)
{
	struct wfs_layout_options options = { .plans = &f->plans,
					      .part_size = part_size };
	struct wfs_layout_spec parsed;

	assert_int_equal(wfs_layout_parse(spec, &parsed), 0);
	return wfs_layout_compile(f->base, &parsed, &options, &f->layout,
				  &f->err);
}

static void refuses(const char *config, const char *text, const char *spec,
		    const char *sentence)
{
	struct fixture f;

	load(&f, config, text);
	assert_int_equal(compile(&f, spec, 0), -EINVAL);
	assert_null(f.layout);
	if (!strstr(f.err.text, sentence))
		fail_msg("'%s' does not say '%s'", f.err.text, sentence);
	unload(&f);
}

static void has_bytes(const struct fixture *f, uint32_t rank, const char *name,
		      const void *want, size_t len)
{
	int64_t at = wfs_rank_find(&f->layout->ranks[rank], name);
	struct wfs_recipe *recipe = NULL;
	struct wfs_err err = { 0 };
	uint8_t got[64];

	assert_true(at >= 0);
	if (f->layout->virtual->tensor(f->layout, rank, (uint32_t)at, &recipe,
				       &err))
		fail_msg("%s", err.text);
	assert_int_equal(recipe->size, len);
	assert_int_equal(wfs_recipe_read(recipe, got, sizeof(got), 0),
			 (ssize_t)len);
	assert_memory_equal(got, want, len);
	wfs_recipe_free(recipe);
}

static void a_spec_is_written_in_one_way(void **state)
{
	static const char *const bad[] = { "",	       "tp",	  "tp0",
					   "tp04",     "tp4pp",	  "pp2",
					   "tp4097",   "tp4+",	  "tp4+hff",
					   "tp64pp65", "tp4pp2 ", "Tp4",
					   "hf2",      "+hf" };
	struct wfs_layout_spec spec = { .tp = 77 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(wfs_layout_parse(bad[i], &spec), -EINVAL);
	assert_int_equal(spec.tp, 77);
	assert_int_equal(wfs_layout_parse("tp12pp3+hf", &spec), 0);
	assert_int_equal(spec.tp, 12);
	assert_int_equal(spec.pp, 3);
	assert_true(spec.hf && !spec.whole);
	assert_int_equal(wfs_layout_parse("hf", &spec), 0);
	assert_int_equal(spec.tp * spec.pp, 1);
	assert_true(spec.hf && spec.whole);
}

static void ranks_have_their_shares(void **state)
{
	struct fixture f;

	(void)state;
	load(&f, CONFIG, plan_text);
	if (compile(&f, "tp2", 0))
		fail_msg("%s", f.err.text);
	assert_string_equal(f.layout->name, "m@tp2");
	assert_string_equal(wfs_layout_plan(f.layout), "own");
	assert_int_equal(f.layout->rank_count, 2);
	assert_int_equal(f.layout->ranks[1].count, 7);
	has_bytes(&f, 0, "embed", "\0\1\2\3", 4);
	has_bytes(&f, 1, "embed", "\4\5\0\0", 4);
	has_bytes(&f, 1, "l.0.ak", "\12\13\14\15\30\31", 6);
	has_bytes(&f, 1, "l.0.b", "\20\21\24\25", 4);
	has_bytes(&f, 0, "l.1.one", "\0\0\200\77", 4);
	unload(&f);
}

static void fewer_heads_than_ranks_are_repeated(void **state)
{
	struct fixture f;

	(void)state;
	load(&f, CONFIG, plan_text);
	assert_int_equal(compile(&f, "tp4", 0), 0);
	has_bytes(&f, 1, "l.0.ak", "\10\11\26\27", 4);
	has_bytes(&f, 2, "l.0.ak", "\12\13\30\31", 4);
	unload(&f);
}

static void stages_share_the_layers_out(void **state)
{
	struct fixture f;

	(void)state;
	load(&f, CONFIG, plan_text);
	assert_int_equal(compile(&f, "tp1pp2", 0), 0);
	assert_string_equal(f.layout->ranks[1].name, "pp-1-tp-0");
	assert_int_equal(f.layout->ranks[0].count, 4);
	assert_int_equal(f.layout->ranks[1].count, 3);
	assert_true(wfs_rank_find(&f.layout->ranks[1], "l.1.b") >= 0);
	assert_true(wfs_model_find_entry(
			    f.layout, 0,
			    "model-pp-1-tp-0-part-0.safetensors") >= 0);
	unload(&f);
}

static void checkpoint_names_are_sliced(void **state)
{
	struct fixture f;

	(void)state;
	load(&f, CONFIG, plan_text);
	assert_int_equal(compile(&f, "tp2+hf", 0), 0);
	assert_int_equal(f.layout->ranks[0].count, 7);
	has_bytes(&f, 1, "l.0.a", "\12\13\14\15", 4);
	has_bytes(&f, 1, "l.0.k", "\30\31", 2);
	unload(&f);
}

/* Every part is a safetensors file, and its tensors are where it says. */
static void check_part(const struct fixture *f, uint32_t entry)
{
	const struct wfs_model_entry *e = &f->layout->entries[entry];
	char bytes[2048], head[2048 + 8];
	struct wfs_safetensors st = { 0 };
	struct wfs_recipe *recipe = NULL;
	struct wfs_pool pool = { 0 };
	struct wfs_err err = { 0 };
	uint64_t len;

	assert_int_equal(
		f->layout->virtual->entry(f->layout, entry, &recipe, &err), 0);
	assert_int_equal(recipe->size, e->st.st_size);
	assert_int_equal(wfs_recipe_read(recipe, bytes, sizeof(bytes), 0),
			 e->st.st_size);
	memcpy(&len, bytes, 8);
	assert_int_equal(len % 8, 0);
	memcpy(head, bytes + 8, len);
	if (wfs_safetensors_parse(head, len, recipe->size, "p", &pool, &st,
				  &err))
		fail_msg("%s", err.text);
	for (uint32_t r = 0; r < f->layout->rank_count; r++)
		for (uint32_t i = 0; i < f->layout->ranks[r].count; i++) {
			const struct wfs_tensor *t =
				&f->layout->ranks[r].tensors[i];

			if (t->shard == entry)
				has_bytes(f, r, t->file_name, bytes + t->off,
					  t->size);
		}
	wfs_safetensors_clear(&st);
	wfs_pool_clear(&pool);
	wfs_recipe_free(recipe);
}

static void parts_are_cut_between_tensors(void **state)
{
	struct fixture f;
	uint32_t parts = 0;

	(void)state;
	load(&f, CONFIG, plan_text);
	assert_int_equal(compile(&f, "tp2", 9), 0);
	for (uint32_t i = 1; i < f.layout->entry_count; i++) {
		const struct wfs_model_entry *e = &f.layout->entries[i];

		if (e->is_dir || e->region)
			continue;
		check_part(&f, i);
		parts++;
	}
	/* 4 + 4 | 4 | 6 | 4 | 6 | 4: F32, then U8 by name */
	assert_int_equal(parts, 2 * 6);
	unload(&f);
}

static void other_files_stay_and_weights_go(void **state)
{
	struct fixture f;

	(void)state;
	load(&f, CONFIG, plan_text);
	assert_int_equal(compile(&f, "tp1", 0), 0);
	assert_true(wfs_model_find_entry(f.layout, 0, "config.json") >= 0);
	assert_true(wfs_model_find_entry(f.layout, 0, "zz") >= 0);
	assert_true(wfs_model_find_entry(f.layout, 0, "model.safetensors") < 0);
	assert_int_equal(f.layout->dir_count, 2);
	assert_true(wfs_model_find_entry(f.layout, 1, "notes") >= 0);
	unload(&f);
}

static void the_fingerprint_tells_what_may_differ(void **state)
{
	struct fixture f, g;

	(void)state;
	load(&f, CONFIG, plan_text);
	load(&g, CONFIG, plan_text);
	assert_int_equal(compile(&f, "tp2", 0), 0);
	assert_int_equal(compile(&g, "tp2", 0), 0);
	assert_int_equal(f.layout->fingerprint, g.layout->fingerprint);
	wfs_model_put(wfs_steal_ptr(&g.layout));
	assert_int_equal(compile(&g, "tp2", 100), 0);
	assert_int_not_equal(f.layout->fingerprint, g.layout->fingerprint);
	wfs_model_put(wfs_steal_ptr(&g.layout));
	assert_int_equal(compile(&g, "tp1", 0), 0);
	assert_int_not_equal(f.layout->fingerprint, g.layout->fingerprint);
	unload(&f);
	unload(&g);
}

static void what_cannot_be_is_refused_with_a_sentence(void **state)
{
	char *more wfs_autofree = wfs_asprintf(
		"%stensor \"l.{l}.z\" = \"l.{l}.missing\"", plan_text);
	char *less wfs_autofree = wfs_strdup(plan_text);

	(void)state;
	refuses(NULL, plan_text, "tp1", "has no config.json");
	refuses("[]", plan_text, "tp1", "is no object");
	refuses("{\"a\":1,\"a\":2}", plan_text, "tp1", "a key twice");
	refuses("{\"architectures\":[\"B\"]}", plan_text, "tp1",
		"no plan for architecture 'B'");
	refuses("{\"architectures\":[]}", plan_text, "tp1",
		"names no architecture");
	refuses("{\"architectures\":[\"A\"],\"quantization_config\":{}}",
		plan_text, "tp1", "its quantisation");
	refuses("{\"architectures\":[\"A\"],\"layers\":2,\"heads\":2}",
		plan_text, "tp1", "has no 'width'");
	refuses("{\"architectures\":[\"A\"],\"layers\":2,\"heads\":2,"
		"\"width\":5}",
		plan_text, "tp1",
		"tensor 'l.0.a' is [4, 2], config.json says [5, 2]");
	refuses("{\"architectures\":[\"A\"],\"layers\":3,\"heads\":2,"
		"\"width\":4}",
		plan_text, "tp1", "tensor 'l.2.a' is not in the checkpoint");
	refuses("{\"architectures\":[\"A\"],\"layers\":1,\"heads\":2,"
		"\"width\":4}",
		plan_text, "tp1", "covers tensor 'l.1.a'");
	refuses(CONFIG, plan_text, "tp8",
		"tensor 'embed': dim 0 is 4, which 8 "
		"ranks cannot share equally");
	refuses(CONFIG, plan_text, "tp1pp3", "too few for 3 stages");
	refuses(CONFIG, more, "tp1", "tensor 'l.0.missing' is not in");
	*strstr(less, "tensor \"l.{l}.b\"") = '\0';
	refuses(CONFIG, less, "tp1", "covers tensor 'l.0.b'");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(a_spec_is_written_in_one_way),
		T(ranks_have_their_shares),
		T(fewer_heads_than_ranks_are_repeated),
		T(stages_share_the_layers_out),
		T(checkpoint_names_are_sliced),
		T(parts_are_cut_between_tensors),
		T(other_files_stay_and_weights_go),
		T(the_fingerprint_tells_what_may_differ),
		T(what_cannot_be_is_refused_with_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
