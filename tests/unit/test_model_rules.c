/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a model is not made of: one test for every rule that files break
 * together, and a check of many files against a naive model.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "core/model/model.h"
#include "tests/unit/chance.h"
#include "tests/unit/ckpt.h"

#define W(name, at, end)                                                       \
	"\"" name "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[" #at  \
	"," #end "]}"
#define W1(a)		  "{" W(a, 0, 1) "}"
#define MAP(tensor, file) "{\"weight_map\":{\"" tensor "\":\"" file "\"}}"

static void refuses(struct ckpt *c, int code, const char *rule)
{
	struct wfs_source *src = ckpt_source(c);
	struct wfs_model *model = NULL;
	struct wfs_err err = { 0 };

	assert_int_equal(wfs_model_load(src, "m", 4, &model, &err), code);
	assert_int_equal(err.code, code);
	assert_null(model);
	if (!strstr(err.text, "'/ckpt") || !strstr(err.text, rule))
		fail_msg("'%s' does not say '%s'", err.text, rule);
	wfs_source_put(src);
}

static struct ckpt *with(const char *path, const char *name)
{
	struct ckpt *c = ckpt_new("/ckpt");
	char *header wfs_autofree = wfs_asprintf(W1("%s"), name);

	ckpt_add_safetensors(c, path, header, 1);
	return c;
}

static void a_directory_without_weights_is_refused(void **state)
{
	struct ckpt *c = ckpt_new("/ckpt");

	(void)state;
	ckpt_add_text(c, "config.json", "{}");
	refuses(c, -ENOENT, "no weights in '/ckpt'");
	refuses(ckpt_new("/ckpt"), -ENOENT, "no weights in '/ckpt'");
}

static void a_broken_file_is_named(void **state)
{
	struct ckpt *c = with("c.safetensors", "x");

	(void)state;
	ckpt_add_safetensors(c, "b.safetensors", W1("y"), 2);
	ckpt_add_text(c, "d.safetensors", "trunc");
	refuses(c, -EBADMSG, "'/ckpt/b.safetensors': 1 trailing bytes");
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
	struct ckpt *c = with("a.safetensors", "x");

	(void)state;
	ckpt_fail(c, "a.safetensors", -EIO);
	refuses(c, -EIO, "cannot read the header of '/ckpt/a.safetensors'");
	c = with("a.safetensors", "x");
	ckpt_add_text(c, "model.safetensors.index.json",
		      MAP("x", "a.safetensors"));
	ckpt_fail(c, "model.safetensors.index.json", -EIO);
	refuses(c, -EIO, "cannot read '/ckpt/model.safetensors.index.json'");
}

static void an_index_naming_a_missing_file_is_refused(void **state)
{
	static const char *const bad[] = { "b.safetensors",
					   "../a.safetensors",
					   "/ckpt/a.safetensors",
					   "dir",
					   "",
					   "./a.safetensors" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct ckpt *c = with("a.safetensors", "x");
		char *map wfs_autofree = wfs_asprintf(MAP("x", "%s"), bad[i]);
		char *rule wfs_autofree = wfs_asprintf(
			"names the file '%s', which is missing", bad[i]);

		ckpt_add_dir(c, "dir");
		ckpt_add_text(c, "model.safetensors.index.json", map);
		refuses(c, -ENOENT, rule);
	}
}

static void an_index_naming_a_missing_tensor_is_refused(void **state)
{
	struct ckpt *c = with("a.safetensors", "x");

	(void)state;
	ckpt_add_text(c, "model.safetensors.index.json",
		      MAP("y", "a.safetensors"));
	refuses(c, -EBADMSG,
		"tensor 'y' is in 'a.safetensors', which does not have it");
	/* In another file than it says. */
	c = with("a.safetensors", "x");
	ckpt_add_safetensors(c, "b.safetensors", W1("y"), 1);
	ckpt_add_text(c, "model.safetensors.index.json",
		      "{\"weight_map\":{\"x\":\"b.safetensors\","
		      "\"y\":\"a.safetensors\"}}");
	refuses(c, -EBADMSG,
		"tensor 'x' is in 'b.safetensors', which does not have it");
}

static void a_tensor_in_two_files_is_refused(void **state)
{
	struct ckpt *c = with("a.safetensors", "x");

	(void)state;
	ckpt_add_safetensors(c, "b.safetensors", W1("x"), 1);
	refuses(c, -EBADMSG,
		"tensor 'x' is in two files, 'a.safetensors' and "
		"'b.safetensors'");
	c = with("model-rank-0-part-0.safetensors", "x");
	ckpt_add_safetensors(c, "model-rank-0-part-1.safetensors", W1("x"), 1);
	refuses(c, -EBADMSG, "tensor 'x' is in two files");
}

static void names_that_collide_after_escaping_are_refused(void **state)
{
	/* These two have the same FNV-1a hash of 64 bits. */
	static const char *const tails[2] = { "8yn0iYCKYHlIj4-BwPqk",
					      "GReLUrM4wMqfg9yzV3KQ" };
	char name[238 + 20] = "", tail[21];
	struct ckpt *c = ckpt_new("/ckpt");

	(void)state;
	memset(name, 'x', 237);
	for (int i = 0; i < 2; i++) {
		char *header;

		snprintf(tail, sizeof(tail), "%s", tails[i]);
		memcpy(name + 237, tail, sizeof(tail));
		header = wfs_asprintf(W1("%s"), name);
		ckpt_add_safetensors(c, i ? "b.safetensors" : "a.safetensors",
				     header, 1);
		free(header);
	}
	refuses(c, -EBADMSG, "names collide after escaping");
}

static void ranks_that_are_not_contiguous_are_refused(void **state)
{
	struct ckpt *c = with("model-rank-0-part-0.safetensors", "x");

	(void)state;
	ckpt_add_safetensors(c, "model-rank-2-part-0.safetensors", W1("x"), 1);
	refuses(c, -ENOENT, "'model-rank-1-part-0.safetensors' is missing");
	c = with("model-rank-0-part-0.safetensors", "x");
	ckpt_add_safetensors(c, "model-pp-0-tp-0-part-0.safetensors", W1("x"),
			     1);
	refuses(c, -EINVAL, "both patterns");
}

static void more_ranks_than_numbers_are_refused(void **state)
{
	struct ckpt *c = ckpt_new("/ckpt");
	char file[64];

	(void)state;
	for (unsigned i = 0; i <= WFS_MODEL_MAX_RANKS; i++) {
		snprintf(file, sizeof(file), "model-rank-%u-part-0.safetensors",
			 i);
		ckpt_add_safetensors(c, file, W1("x"), 1);
	}
	refuses(c, -E2BIG, "4097 ranks, at most 4096");
}

static void ranks_without_any_name_left_are_refused(void **state)
{
	struct ckpt *c = with("model.safetensors", "x");

	(void)state;
	ckpt_add_text(c, "0", "");
	ckpt_add_dir(c, ".ranks");
	refuses(c, -EEXIST, "no name is left for its ranks");
}

static void a_listing_that_is_no_tree_is_refused(void **state)
{
	static const char *const bad[] = { "",	 "/a",	 "a//b", "a/",
					   "..", "a/..", "./a",	 "a/../b" };
	struct ckpt *c;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		c = with("model.safetensors", "x");
		ckpt_add_odd(c, bad[i], S_IFREG | 0644, true);
		refuses(c, -EINVAL, "is no path of a file in a checkpoint");
	}
	c = with("model.safetensors", "x");
	ckpt_add_odd(c, "a/b", S_IFREG | 0644, true);
	refuses(c, -EINVAL, "'a/b' is listed, its directory is not");
	c = with("model.safetensors", "x");
	ckpt_add_odd(c, "model.safetensors", S_IFREG | 0644, true);
	refuses(c, -EINVAL, "'model.safetensors' is listed twice");
	c = with("model.safetensors", "x");
	ckpt_add_odd(c, "a", S_IFDIR | 0755, true);
	refuses(c, -EINVAL, "listed as a directory with bytes");
	c = with("model.safetensors", "x");
	ckpt_add_odd(c, "a", S_IFREG | 0644, false);
	refuses(c, -EINVAL, "listed as a file without bytes");
}

static void a_model_name_that_is_no_directory_name_is_refused(void **state)
{
	struct wfs_source *src = ckpt_source(with("model.safetensors", "x"));
	struct wfs_model *model = NULL;
	struct wfs_err err = { 0 };
	char name[257];

	(void)state;
	memset(name, 'x', sizeof(name));
	name[256] = '\0';
	assert_int_equal(wfs_model_load(src, name, 1, &model, &err),
			 -ENAMETOOLONG);
	assert_int_equal(wfs_model_load(src, "a/b", 1, &model, &err), -EINVAL);
	assert_non_null(strstr(err.text, "model name 'a/b' holds a '/'"));
	assert_int_equal(wfs_model_load(src, "", 1, &model, &err), -EINVAL);
	assert_int_equal(wfs_model_load(src, ".", 1, &model, &err), -EINVAL);
	assert_int_equal(wfs_model_load(src, "..", 1, &model, &err), -EINVAL);
	assert_int_equal(wfs_model_load(src, ".weightfs", 1, &model, &err),
			 -EINVAL);
	assert_null(model);
	wfs_source_put(src);
}

#define FILES	23
#define TENSORS 40

/* Tensors in no order, of sizes 0 … 7; named after file and place. */
static void random_file(struct chance *chance, struct ckpt *c, unsigned file)
{
	struct wfs_text t = { 0 };
	size_t at = 0;
	char path[32];

	for (unsigned i = 0; i < TENSORS; i++) {
		size_t size = chance_below(chance, 8);

		wfs_text_add(&t,
			     "%c\"t%u.%u.%zu\":{\"dtype\":\"U8\","
			     "\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}",
			     i ? ',' : '{',
			     (unsigned)chance_below(chance, 10000),
			     file * TENSORS + i, at, size, at, at + size);
		at += size;
	}
	wfs_text_add(&t, "}");
	snprintf(path, sizeof(path), "f%02u.safetensors", file);
	ckpt_add_safetensors(c, path, t.data, at);
	free(t.data);
}

static void random_files_give_sorted_tensors_with_their_bytes(void **state)
{
	struct chance chance = chance_new();
	struct ckpt *c = ckpt_new("/ckpt");
	struct wfs_model *m = NULL;
	struct wfs_source *src;
	const struct wfs_rank *r;
	bool seen[FILES * TENSORS] = { false };

	(void)state;
	for (unsigned i = 0; i < FILES; i++)
		random_file(&chance, c, i);
	src = ckpt_source(c);
	assert_int_equal(wfs_model_load(src, "m", 4, &m, NULL), 0);
	wfs_source_put(src);
	r = &m->ranks[0];
	assert_int_equal(r->count, FILES * TENSORS);
	for (uint32_t i = 0; i < r->count; i++) {
		const struct wfs_tensor *t = &r->tensors[i];
		struct wfs_recipe recipe;
		struct wfs_piece piece;
		unsigned long id, off;
		char buf[8], want[8];

		assert_true(!i || strcmp(t[-1].file_name, t->file_name) < 0);
		/* t<any>.<id>.<off> */
		id = strtoul(strchr(t->name, '.') + 1, NULL, 10);
		off = strtoul(strrchr(t->name, '.') + 1, NULL, 10);
		assert_true(id < FILES * TENSORS);
		assert_false(seen[id]);
		seen[id] = true;
		assert_int_equal(t->size, t->shape[0]);
		/* Data bytes count up from where the tensors begin. */
		for (unsigned b = 0; b < t->size; b++)
			want[b] = (char)(off + b);
		wfs_tensor_recipe(m, t, &piece, &recipe);
		assert_int_equal(wfs_recipe_read(&recipe, buf, 8, 0), t->size);
		assert_memory_equal(buf, want, t->size);
		assert_int_equal(wfs_rank_find(r, t->file_name), i);
	}
	memset(seen, 0, sizeof(seen));
	for (uint32_t i = 0; i < r->count; i++) {
		const struct wfs_tensor *t = &r->tensors[r->file_order[i]];
		const struct wfs_tensor *before =
			&r->tensors[r->file_order[i ? i - 1 : 0]];

		assert_false(seen[r->file_order[i]]);
		seen[r->file_order[i]] = true;
		assert_true(
			before->shard < t->shard ||
			(before->shard == t->shard && before->off <= t->off));
	}
	wfs_model_put(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_directory_without_weights_is_refused),
		T(a_broken_file_is_named),
		T(a_file_that_cannot_be_read_is_named),
		T(an_index_naming_a_missing_file_is_refused),
		T(an_index_naming_a_missing_tensor_is_refused),
		T(a_tensor_in_two_files_is_refused),
		T(names_that_collide_after_escaping_are_refused),
		T(ranks_that_are_not_contiguous_are_refused),
		T(more_ranks_than_numbers_are_refused),
		T(ranks_without_any_name_left_are_refused),
		T(a_listing_that_is_no_tree_is_refused),
		T(a_model_name_that_is_no_directory_name_is_refused),
		T(random_files_give_sorted_tensors_with_their_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
