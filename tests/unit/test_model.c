/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a model is made of: files, ranks, tensors and their places, for every
 * kind of checkpoint. What is refused is in test_model_rules.c.
 */
#include "tests/unit/t.h"

#include <stdio.h>
#include <string.h>

#include "core/model/model.h"
#include "tests/unit/ckpt.h"

/* Headers of one-byte tensors: W1("a"), W2("a", "b"). */
#define W(name, at, end)                                                       \
	"\"" name "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[" #at  \
	"," #end "]}"
#define W1(a)	 "{" W(a, 0, 1) "}"
#define W2(a, b) "{" W(a, 0, 1) "," W(b, 1, 2) "}"

static struct wfs_model *load(struct ckpt *c)
{
	struct wfs_source *src = ckpt_source(c);
	struct wfs_model *model = NULL;
	struct wfs_err err = { 0 };

	if (wfs_model_load(src, "m", 4, &model, &err))
		fail_msg("%s", err.text);
	wfs_source_put(src);
	return model;
}

static const struct wfs_tensor *tensor(const struct wfs_model *m,
				       const char *rank, const char *file)
{
	int64_t r = wfs_model_find_rank(m, rank), t;

	assert_true(r >= 0);
	t = wfs_rank_find(&m->ranks[r], file);
	if (t < 0)
		fail_msg("no tensor '%s' in rank %s", file, rank);
	return &m->ranks[r].tensors[t];
}

static const char *file_of(const struct wfs_model *m, const char *rank,
			   const char *file)
{
	return m->entries[tensor(m, rank, file)->shard].path;
}

static void one_file_is_rank_0(void **state)
{
	struct ckpt *c = ckpt_new("/ckpt");
	struct wfs_model *m;

	(void)state;
	ckpt_add_safetensors(c, "model.safetensors", W2("b", "a"), 2);
	ckpt_add_text(c, "config.json", "{}");
	m = load(c);
	assert_string_equal(m->name, "m");
	assert_int_equal(m->format, WFS_FORMAT_HF);
	assert_int_equal(m->rank_count, 1);
	assert_string_equal(m->ranks[0].name, "0");
	assert_int_equal(m->ranks[0].count, 2);
	assert_int_equal(m->file_bytes, 8 + strlen(W2("b", "a")) + 2 + 2);
	assert_string_equal(m->ranks[0].tensors[0].file_name, "a");
	assert_string_equal(m->ranks[0].tensors[1].file_name, "b");
	assert_int_equal(m->ranks[0].file_order[0], 1);
	assert_int_equal(m->ranks[0].file_order[1], 0);
	assert_false(m->ranks_hidden);
	assert_int_equal(wfs_model_find_rank(m, "1"), -1);
	assert_int_equal(wfs_rank_find(&m->ranks[0], "c"), -1);
	wfs_model_put(m);
}

static void a_recipe_gives_the_bytes_of_its_tensor(void **state)
{
	struct ckpt *c = ckpt_new("/ckpt");
	struct wfs_recipe recipe;
	struct wfs_piece piece;
	struct wfs_model *m;
	unsigned char buf[16] = { 0 };

	(void)state;
	ckpt_add_safetensors(c, "model.safetensors",
			     "{\"x\":{\"dtype\":\"I16\",\"shape\":[3],"
			     "\"data_offsets\":[0,6]},\"y\":{\"dtype\":\"F32\","
			     "\"shape\":[],\"data_offsets\":[6,10]},"
			     "\"z\":{\"dtype\":\"F32\",\"shape\":[0,4],"
			     "\"data_offsets\":[10,10]}}",
			     10);
	m = load(c);
	wfs_tensor_recipe(m, tensor(m, "0", "y"), &piece, &recipe);
	assert_int_equal(wfs_recipe_check(&recipe, NULL), 0);
	assert_int_equal(recipe.size, 4);
	assert_int_equal(wfs_recipe_read(&recipe, buf, sizeof(buf), 0), 4);
	assert_memory_equal(buf, "\6\7\10\11", 4);
	wfs_tensor_recipe(m, tensor(m, "0", "z"), &piece, &recipe);
	assert_int_equal(recipe.size, 0);
	assert_int_equal(recipe.n, 0);
	assert_int_equal(wfs_recipe_read(&recipe, buf, sizeof(buf), 0), 0);
	wfs_model_put(m);
}

static void several_files_without_an_index_are_rank_0(void **state)
{
	struct ckpt *c = ckpt_new("/ckpt");
	struct wfs_model *m;

	(void)state;
	ckpt_add_safetensors(c, "model-00002-of-00002.safetensors",
			     W2("b", "d"), 2);
	ckpt_add_safetensors(c, "model-00001-of-00002.safetensors",
			     W2("c", "a"), 2);
	m = load(c);
	assert_int_equal(m->ranks[0].count, 4);
	assert_string_equal(file_of(m, "0", "a"),
			    "model-00001-of-00002.safetensors");
	assert_string_equal(file_of(m, "0", "d"),
			    "model-00002-of-00002.safetensors");
	assert_int_equal(m->ranks[0].file_order[0], 2);
	assert_int_equal(m->ranks[0].file_order[1], 0);
	assert_int_equal(m->ranks[0].file_order[2], 1);
	assert_int_equal(m->ranks[0].file_order[3], 3);
	wfs_model_put(m);
}

static void an_index_says_which_files_are_weights(void **state)
{
	struct ckpt *c = ckpt_new("/ckpt");
	struct wfs_model *m;

	(void)state;
	ckpt_add_safetensors(c, "consolidated.safetensors", W2("a", "b"), 2);
	ckpt_add_safetensors(c, "one.safetensors", W2("a", "extra"), 2);
	ckpt_add_safetensors(c, "two.safetensors", W1("b/c"), 1);
	ckpt_add_text(c, "model.safetensors.index.json",
		      "{\"weight_map\":{\"b/c\":\"two.safetensors\","
		      "\"a\":\"one.safetensors\"}}");
	m = load(c);
	assert_int_equal(m->ranks[0].count, 3);
	assert_string_equal(file_of(m, "0", "a"), "one.safetensors");
	assert_string_equal(file_of(m, "0", "b%2Fc"), "two.safetensors");
	/* The index does not name it: served too. */
	assert_string_equal(file_of(m, "0", "extra"), "one.safetensors");
	wfs_model_put(m);
}

static void the_usual_index_counts_before_others(void **state)
{
	struct ckpt *c = ckpt_new("/ckpt");
	struct wfs_model *m;

	(void)state;
	ckpt_add_safetensors(c, "a.safetensors", W1("x"), 1);
	ckpt_add_safetensors(c, "b.safetensors", W1("x"), 1);
	ckpt_add_text(c, "a.safetensors.index.json",
		      "{\"weight_map\":{\"x\":\"a.safetensors\"}}");
	ckpt_add_text(c, "model.safetensors.index.json",
		      "{\"weight_map\":{\"x\":\"b.safetensors\"}}");
	m = load(c);
	assert_string_equal(file_of(m, "0", "x"), "b.safetensors");
	wfs_model_put(m);
}

static void sharded_state_files_are_ranks(void **state)
{
	struct ckpt *c = ckpt_new("/ckpt");
	struct wfs_model *m;

	(void)state;
	ckpt_add_safetensors(c, "model-rank-1-part-0.safetensors", W1("x"), 1);
	ckpt_add_safetensors(c, "model-rank-0-part-1.safetensors", W1("y"), 1);
	ckpt_add_safetensors(c, "model-rank-0-part-0.safetensors", W1("x"), 1);
	/* What a dump copies from the checkpoint that it came from. */
	ckpt_add_text(c, "model.safetensors.index.json",
		      "{\"weight_map\":{\"x\":\"gone.safetensors\"}}");
	m = load(c);
	assert_int_equal(m->format, WFS_FORMAT_SHARDED_STATE);
	assert_int_equal(m->rank_count, 2);
	assert_string_equal(m->ranks[0].name, "0");
	assert_string_equal(m->ranks[1].name, "1");
	assert_int_equal(m->ranks[0].count, 2);
	assert_int_equal(m->ranks[1].count, 1);
	assert_string_equal(file_of(m, "0", "y"),
			    "model-rank-0-part-1.safetensors");
	assert_string_equal(file_of(m, "1", "x"),
			    "model-rank-1-part-0.safetensors");
	assert_int_equal(m->tensor_bytes, 3);
	wfs_model_put(m);
}

static void pipeline_stages_are_ranks(void **state)
{
	struct ckpt *c = ckpt_new("/ckpt");
	struct wfs_model *m;
	char file[64];

	(void)state;
	for (int i = 3; i >= 0; i--) {
		snprintf(file, sizeof(file),
			 "model-pp-%d-tp-%d-part-0.safetensors", i / 2, i % 2);
		ckpt_add_safetensors(c, file, W1("x"), 1);
	}
	m = load(c);
	assert_int_equal(m->rank_count, 4);
	assert_string_equal(m->ranks[1].name, "pp-0-tp-1");
	assert_string_equal(m->ranks[2].name, "pp-1-tp-0");
	assert_string_equal(file_of(m, "pp-1-tp-0", "x"),
			    "model-pp-1-tp-0-part-0.safetensors");
	wfs_model_put(m);
}

static void weights_elsewhere_are_files_only(void **state)
{
	static const char *const files[] = { "model.gguf", "pytorch_model.bin",
					     "unet/model.safetensors" };

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		struct ckpt *c = ckpt_new("/ckpt");
		struct wfs_model *m;

		ckpt_add_text(c, files[i], "not looked at");
		m = load(c);
		assert_int_equal(m->format, WFS_FORMAT_OPAQUE);
		assert_int_equal(m->rank_count, 0);
		assert_int_equal(m->file_bytes, 13);
		wfs_model_put(m);
	}
}

static void hidden_files_and_sub_directories_hold_no_tensors(void **state)
{
	struct ckpt *c = ckpt_new("/ckpt");
	struct wfs_model *m;

	(void)state;
	ckpt_add_text(c, "._model.safetensors", "junk");
	ckpt_add_text(c, "old/model.safetensors", "junk");
	ckpt_add_dir(c, "dir.safetensors");
	ckpt_add_safetensors(c, "model.safetensors", W1("x"), 1);
	m = load(c);
	assert_int_equal(m->ranks[0].count, 1);
	wfs_model_put(m);
}

static void names_that_are_no_file_names_are_escaped(void **state)
{
	struct ckpt *c = ckpt_new("/ckpt");
	struct wfs_model *m;

	(void)state;
	ckpt_add_safetensors(c, "model.safetensors", W2("a/b", "a\\u0000b"), 2);
	m = load(c);
	assert_string_equal(tensor(m, "0", "a%2Fb")->name, "a/b");
	assert_string_equal(tensor(m, "0", "a%00b")->name, "a\xc0\x80"
							   "b");
	wfs_model_put(m);
}

static void entries_are_a_tree_in_byte_order(void **state)
{
	struct ckpt *c = ckpt_new("/ckpt");
	struct wfs_model *m;
	int64_t sub, deep, at;

	(void)state;
	ckpt_add_safetensors(c, "model.safetensors", W1("x"), 1);
	ckpt_add_text(c, "a/z", "1");
	ckpt_add_text(c, "a/b/deep", "22");
	ckpt_add_text(c, "a-b", "333");
	ckpt_add_text(c, "a/a", "4444");
	m = load(c);
	assert_int_equal(m->entry_count, 8);
	assert_int_equal(m->dir_count, 3);
	assert_true(m->entries[0].is_dir);
	assert_true(S_ISDIR(m->entries[0].st.st_mode));
	assert_int_equal(m->dirs[0].entry, 0);
	assert_int_equal(m->dirs[0].count, 3);
	for (uint32_t d = 0; d < m->dir_count; d++)
		for (uint32_t i = 0; i < m->dirs[d].count; i++) {
			uint32_t e = m->dirs[d].first + i;

			assert_int_equal(m->entries[e].parent,
					 m->dirs[d].entry);
			if (i)
				assert_true(strcmp(m->entries[e - 1].name,
						   m->entries[e].name) < 0);
		}
	at = wfs_model_find_entry(m, 0, "a");
	sub = wfs_model_find_dir(m, (uint32_t)at);
	assert_true(sub > 0);
	at = wfs_model_find_entry(m, (uint32_t)sub, "b");
	deep = wfs_model_find_dir(m, (uint32_t)at);
	assert_true(deep > 0 && deep != sub);
	at = wfs_model_find_entry(m, (uint32_t)deep, "deep");
	assert_string_equal(m->entries[at].path, "a/b/deep");
	assert_int_equal(m->entries[at].region->size, 2);
	assert_int_equal(wfs_model_find_entry(m, (uint32_t)deep, "z"), -1);
	assert_int_equal(wfs_model_find_dir(m, (uint32_t)at), -1);
	wfs_model_put(m);
}

static void ranks_give_way_to_entries_of_their_name(void **state)
{
	struct ckpt *c = ckpt_new("/ckpt");
	struct wfs_model *m;

	(void)state;
	ckpt_add_safetensors(c, "model.safetensors", W1("x"), 1);
	ckpt_add_text(c, "0", "mine");
	m = load(c);
	assert_true(m->ranks_hidden);
	assert_int_equal(wfs_model_find_rank(m, "0"), 0);
	wfs_model_put(m);
}

/* A checkpoint of three files, one of them touched, under this name. */
static struct wfs_model *third(const char *name, const char *touched)
{
	struct ckpt *c = ckpt_new("/ckpt");
	struct wfs_model *m = NULL;
	struct wfs_source_entry peek[3];
	struct wfs_source *src;
	size_t count;

	ckpt_add_safetensors(c, "model.safetensors", W1("x"), 1);
	ckpt_add_text(c, "dir/config.json", "{}");
	if (touched)
		ckpt_touch(c, touched);
	src = ckpt_source(c);
	assert_int_equal(wfs_model_load(src, name, 1, &m, NULL), 0);
	/* The same from a listing that was only peeked at. */
	memcpy(peek, wfs_source_list(src, &count), sizeof(peek));
	for (size_t i = 0; i < count; i++)
		peek[i].region = NULL;
	assert_int_equal(m->fingerprint,
			 wfs_model_fingerprint(name, peek, count));
	peek[2].st.st_ctim.tv_nsec++;
	assert_int_not_equal(m->fingerprint,
			     wfs_model_fingerprint(name, peek, count));
	wfs_source_put(src);
	return m;
}

static void a_fingerprint_tells_a_changed_checkpoint(void **state)
{
	struct wfs_model *a = third("m", NULL), *same = third("m", NULL);
	struct wfs_model *name = third("n", NULL);
	struct wfs_model *file = third("m", "model.safetensors");
	struct wfs_model *dir = third("m", "dir");

	(void)state;
	assert_int_equal(a->fingerprint, same->fingerprint);
	assert_int_equal(a->fingerprint, dir->fingerprint);
	assert_int_not_equal(a->fingerprint, name->fingerprint);
	assert_int_not_equal(a->fingerprint, file->fingerprint);
	assert_int_equal(a->mtime.tv_sec, 1002);
	assert_int_equal(file->mtime.tv_sec, 2000);
	wfs_model_put(a);
	wfs_model_put(same);
	wfs_model_put(name);
	wfs_model_put(file);
	wfs_model_put(dir);
}

static void a_model_lives_as_long_as_somebody_holds_it(void **state)
{
	struct wfs_model *m = third("m", NULL);

	(void)state;
	assert_ptr_equal(wfs_model_get(m), m);
	wfs_model_put(m);
	assert_int_equal(m->ranks[0].count, 1);
	wfs_model_put(m);
	wfs_model_put(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_file_is_rank_0),
		T(a_recipe_gives_the_bytes_of_its_tensor),
		T(several_files_without_an_index_are_rank_0),
		T(an_index_says_which_files_are_weights),
		T(the_usual_index_counts_before_others),
		T(sharded_state_files_are_ranks),
		T(pipeline_stages_are_ranks),
		T(weights_elsewhere_are_files_only),
		T(hidden_files_and_sub_directories_hold_no_tensors),
		T(names_that_are_no_file_names_are_escaped),
		T(entries_are_a_tree_in_byte_order),
		T(ranks_give_way_to_entries_of_their_name),
		T(a_fingerprint_tells_a_changed_checkpoint),
		T(a_model_lives_as_long_as_somebody_holds_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
