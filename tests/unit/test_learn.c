/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of learning a plan, each alone: finding elements, taking a tensor
 * apart, names; and all of them on a model of two layers.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/learn/inner.h"
#include "tests/unit/chance.h"
#include "tests/unit/ckpt.h"

#define CONFIG                                                                 \
	"{\"architectures\":[\"AForCausalLM\"],\"num_hidden_layers\":2,"       \
	"\"num_attention_heads\":4,\"num_key_value_heads\":2,"                 \
	"\"head_dim\":8,\"hidden_size\":16,\"vocab_size\":70}"

/* A safetensors file that grows. */
struct file {
	struct wfs_text header, data;
};

static void add(struct file *f, const char *name, const char *shape,
		const void *bytes, size_t len)
{
	wfs_text_add(&f->header,
		     "%c\"%s\":{\"dtype\":\"U8\",\"shape\":[%s],"
		     "\"data_offsets\":[%zu,%zu]}",
		     f->header.len ? ',' : '{', name, shape, f->data.len,
		     f->data.len + len);
	wfs_text_add_bytes(&f->data, bytes, len);
}

static void put(struct ckpt *m, const char *path, struct file *f)
{
	struct wfs_text all = { 0 };
	uint64_t len;

	wfs_text_add(&f->header, "}");
	len = f->header.len;
	wfs_text_add_bytes(&all, &len, sizeof(len));
	wfs_text_add_bytes(&all, f->header.data, f->header.len);
	wfs_text_add_bytes(&all, f->data.data, f->data.len);
	ckpt_add(m, path, all.data, all.len);
	free(all.data);
	free(f->header.data);
	free(f->data.data);
}

static struct wfs_model *load(struct ckpt *m)
{
	struct wfs_source *src = ckpt_source(m);
	struct wfs_model *model = NULL;
	struct wfs_err err = { 0 };

	if (wfs_model_load(src, "m", 1, &model, &err))
		fail_msg("%s", err.text);
	wfs_source_put(src);
	return model;
}

static void fill(struct chance *c, uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)chance_next(c);
}

/* a [32, 24], b and c [24], and an index of them. */
struct fixture {
	uint8_t a[32 * 24], b[24], c[24];
	struct wfs_learn learn;
	struct wfs_index *index;
	struct wfs_err err;
};

static void open_fixture(struct fixture *f)
{
	struct chance c = chance_new();
	struct ckpt *m = ckpt_new("m");
	struct file file = { 0 };

	memset(f, 0, sizeof(*f));
	fill(&c, f->a, sizeof(f->a));
	fill(&c, f->b, sizeof(f->b));
	fill(&c, f->c, sizeof(f->c));
	f->c[12] = f->b[12];
	/* Rows that say nothing. */
	memset(f->a + 20 * 24, 7, 24);
	add(&file, "a", "32,24", f->a, sizeof(f->a));
	add(&file, "b", "24", f->b, sizeof(f->b));
	add(&file, "c", "24", f->c, sizeof(f->c));
	put(m, "model.safetensors", &file);
	f->learn.base = load(m);
	f->learn.err = &f->err;
	assert_int_equal(wfs_index_get(&f->learn, WFS_U8, false, &f->index), 0);
}

static void close_fixture(struct fixture *f)
{
	wfs_index_free(f->index);
	wfs_model_put(f->learn.base);
}

static void elements_are_found_wherever_they_are(void **state)
{
	struct wfs_index_place place;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	for (uint64_t at = 0; at + WFS_LEARN_WINDOW <= sizeof(f.a); at++) {
		bool flat =
			!memcmp(f.a + at, f.a + at + 1, WFS_LEARN_WINDOW - 1);

		assert_int_equal(wfs_index_find(f.index, f.a + at, &place, 1),
				 !flat);
		if (flat)
			continue;
		assert_int_equal(place.source, 0);
		assert_int_equal(place.at, at);
	}
	assert_int_equal(wfs_index_find(f.index, f.b + 3, &place, 1), 1);
	assert_int_equal(place.source, 1);
	assert_int_equal(wfs_index_find(f.index, "nowhere!", &place, 1), 0);
	close_fixture(&f);
}

/* What `bytes` of a shape are made of. */
static int explain(struct fixture *f, const void *bytes, const uint64_t *shape,
		   unsigned ndim, struct wfs_found *ret)
{
	struct wfs_look look = { .learn = &f->learn,
				 .index = f->index,
				 .name = "x",
				 .dtype = WFS_U8,
				 .tp = 2 };
	struct wfs_pool pool = { 0 };
	struct ckpt *m = ckpt_new("d");
	struct wfs_elements e = { 0 };
	size_t len = 1;
	struct wfs_source *src;
	size_t count;
	int rc;

	for (unsigned d = 0; d < ndim; d++)
		len *= shape[d];
	ckpt_add(m, "bytes", bytes, len);
	src = ckpt_source(m);
	for (const struct wfs_source_entry *entry =
		     wfs_source_list(src, &count);
	     count; entry++, count--)
		if (entry->region)
			assert_int_equal(
				wfs_elements_open(
					wfs_view_source(&pool, entry->region, 0,
							WFS_U8, ndim, shape),
					&e, NULL),
				0);
	rc = wfs_learn_explain(&look, &e, ret);
	wfs_elements_close(&e);
	wfs_pool_clear(&pool);
	wfs_source_put(src);
	return rc;
}

static void a_tensor_is_taken_apart_into_slices(void **state)
{
	const uint64_t shape[2] = { 12, 12 };
	struct wfs_found found;
	uint8_t x[12 * 12] = { 0 };
	struct fixture f;

	(void)state;
	open_fixture(&f);
	/* Columns 12 … 23 of rows 16 … 19, then of rows 4 … 9; zeros. */
	for (unsigned r = 0; r < 10; r++)
		memcpy(x + r * 12, f.a + (r < 4 ? 16 + r : r) * 24 + 12, 12);
	assert_int_equal(explain(&f, x, shape, 2, &found), 1);
	assert_int_equal(found.dim, 0);
	assert_int_equal(found.count, 3);
	assert_int_equal(found.pieces[0].source, 0);
	assert_int_equal(found.pieces[0].start[0], 16);
	assert_int_equal(found.pieces[0].start[1], 12);
	assert_int_equal(found.pieces[0].len[0], 4);
	assert_int_equal(found.pieces[0].len[1], 12);
	assert_int_equal(found.pieces[1].at, 4);
	assert_int_equal(found.pieces[1].start[0], 4);
	assert_int_equal(found.pieces[1].len[0], 6);
	assert_int_equal(found.pieces[2].source, -1);
	assert_int_equal(found.pieces[2].at, 10);
	close_fixture(&f);
}

static void pieces_end_where_the_next_one_can_begin(void **state)
{
	const uint64_t shape[1] = { 24 };
	struct wfs_found found;
	struct fixture f;
	uint8_t x[24];

	(void)state;
	open_fixture(&f);
	/* b goes on as c does, by chance. */
	memcpy(x, f.b, 12);
	memcpy(x + 12, f.c + 12, 12);
	assert_int_equal(explain(&f, x, shape, 1, &found), 1);
	assert_int_equal(found.count, 2);
	assert_int_equal(found.pieces[0].source, 1);
	assert_int_equal(found.pieces[0].len[0], 12);
	assert_int_equal(found.pieces[1].source, 2);
	assert_int_equal(found.pieces[1].start[0], 12);
	assert_int_equal(found.pieces[1].at, 12);
	close_fixture(&f);
}

static void what_is_nowhere_is_not_explained(void **state)
{
	const uint64_t shape[2] = { 8, 12 };
	struct chance c = chance_new();
	struct wfs_found found;
	struct fixture f;
	uint8_t x[96];

	(void)state;
	open_fixture(&f);
	fill(&c, x, sizeof(x));
	assert_int_equal(explain(&f, x, shape, 2, &found), 0);
	close_fixture(&f);
}

static void numbers_in_names_are_whole_words(void **state)
{
	const char *end = NULL;
	int64_t value = -1;

	(void)state;
	assert_null(wfs_learn_digits("a1.b2c.w13_weight", &value, &end));
	assert_null(wfs_learn_digits("a.01.b", &value, &end));
	assert_string_equal(wfs_learn_digits("a.12.b.3", &value, &end),
			    "12.b.3");
	assert_int_equal(value, 12);
	assert_string_equal(wfs_learn_digits(end, &value, &end), "3");
	assert_int_equal(value, 3);
	assert_null(wfs_learn_digits(end, &value, &end));
	assert_true(wfs_learn_likeness("a.k_proj.weight", "b.k_proj.weight") >
		    wfs_learn_likeness("a.v_proj.weight", "b.k_proj.weight"));
	assert_true(wfs_learn_likeness("post_norm", "post_layernorm") >
		    wfs_learn_likeness("post_norm", "input_layernorm"));
}

/* Of each layer q [32, 16], k and v [16, 16]; e [70, 16]. */
struct llama {
	uint8_t q[2][512], k[2][256], v[2][256], e[70 * 16];
};

static struct wfs_model *checkpoint(struct llama *l)
{
	struct chance c = chance_new();
	struct ckpt *m = ckpt_new("m");
	struct file f = { 0 };

	fill(&c, (uint8_t *)l, sizeof(*l));
	add(&f, "e", "70,16", l->e, sizeof(l->e));
	for (unsigned i = 0; i < 2; i++) {
		char name[16];

		snprintf(name, sizeof(name), "h.%u.k", i);
		add(&f, name, "16,16", l->k[i], 256);
		snprintf(name, sizeof(name), "h.%u.q", i);
		add(&f, name, "32,16", l->q[i], 512);
		snprintf(name, sizeof(name), "h.%u.v", i);
		add(&f, name, "16,16", l->v[i], 256);
	}
	put(m, "model.safetensors", &f);
	ckpt_add_text(m, "config.json", CONFIG);
	return load(m);
}

static struct wfs_model *dump(const struct llama *l, unsigned tp)
{
	struct ckpt *m = ckpt_new("d");

	for (unsigned r = 0; r < tp; r++) {
		uint8_t e[128 * 16] = { 0 }, x[1024];
		char name[64], shape[16];
		struct file f = { 0 };

		memcpy(e, l->e, sizeof(l->e));
		snprintf(shape, sizeof(shape), "%u,16", 128 / tp);
		add(&f, "E", shape, e + r * (128 / tp) * 16, 128 / tp * 16);
		for (unsigned i = 0; i < 2; i++) {
			uint8_t *to = x;

			to = mempcpy(to, l->q[i] + r * (512 / tp), 512 / tp);
			to = mempcpy(to, l->k[i] + r * (256 / tp), 256 / tp);
			mempcpy(to, l->v[i] + r * (256 / tp), 256 / tp);
			snprintf(name, sizeof(name), "h.%u.QKV", i);
			snprintf(shape, sizeof(shape), "%u,16", 64 / tp);
			add(&f, name, shape, x, 1024 / tp);
		}
		snprintf(name, sizeof(name), "model-rank-%u-part-0.safetensors",
			 r);
		put(m, name, &f);
	}
	return load(m);
}

static bool is_noted(const struct wfs_learnt *learnt, const char *words)
{
	for (size_t i = 0; i < learnt->note_count; i++)
		if (strstr(learnt->notes[i], words))
			return true;
	return false;
}

static void two_examples_make_a_plan_for_more(void **state)
{
	struct wfs_learn_options options = { .engine = "other-1.2.3" };
	struct wfs_learnt learnt = { 0 };
	struct wfs_model *base, *dumps[2];
	struct wfs_plans plans = { 0 };
	struct wfs_err err = { 0 };
	struct llama l;

	(void)state;
	base = checkpoint(&l);
	dumps[0] = dump(&l, 1);
	dumps[1] = dump(&l, 2);
	if (wfs_plan_learn(base, dumps, 2, &options, &learnt, &err))
		fail_msg("%s", err.text);
	assert_int_equal(learnt.unexplained_count, 0);
	assert_int_equal(learnt.rules, 2);
	assert_int_equal(learnt.tensors, 3);
	assert_non_null(strstr(learnt.plan.data, "engine other >=1.2 <1.3\n"));
	assert_non_null(
		strstr(learnt.plan.data, "split(0, pad(0, 64, \"e\"))"));
	assert_non_null(strstr(learnt.plan.data,
			       "concat(0,\n        split(0, \"h.{l}.q\"),\n"
			       "        share(0, \"h.{l}.k\", "
			       "config.num_key_value_heads),\n"
			       "        share(0, \"h.{l}.v\", "
			       "config.num_key_value_heads))\n"));
	assert_true(is_noted(&learnt, "a multiple of 64"));
	assert_true(is_noted(&learnt, "key/value heads"));
	if (wfs_plans_parse(learnt.plan.data, "f", &plans, &err))
		fail_msg("%s", err.text);
	wfs_plans_clear(&plans);
	wfs_learnt_clear(&learnt);
	for (unsigned i = 0; i < 2; i++)
		wfs_model_put(dumps[i]);
	wfs_model_put(base);
}

static void a_dump_says_which_layout_it_is_of(void **state)
{
	struct wfs_layout_spec spec = { 0 };
	struct wfs_err err = { 0 };
	struct wfs_model *model;
	struct llama l;

	(void)state;
	model = checkpoint(&l);
	assert_int_equal(wfs_learn_spec(model, &spec, &err), -EINVAL);
	wfs_model_put(model);
	model = dump(&l, 4);
	assert_int_equal(wfs_learn_spec(model, &spec, &err), 0);
	assert_int_equal(spec.tp, 4);
	assert_int_equal(spec.pp, 1);
	wfs_model_put(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(elements_are_found_wherever_they_are),
		T(a_tensor_is_taken_apart_into_slices),
		T(pieces_end_where_the_next_one_can_begin),
		T(what_is_nowhere_is_not_explained),
		T(numbers_in_names_are_whole_words),
		T(two_examples_make_a_plan_for_more),
		T(a_dump_says_which_layout_it_is_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
