/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two file patterns of sharded_state, and sets of files with holes.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/model/sharded_state.h"

static void both_patterns_are_read(void **state)
{
	struct wfs_sharded_name n = { .tag = 7 };
	char rank[64];

	(void)state;
	assert_int_equal(
		wfs_sharded_parse("model-rank-12-part-3.safetensors", &n), 0);
	assert_false(n.pipeline);
	assert_int_equal(n.tp, 12);
	assert_int_equal(n.part, 3);
	assert_int_equal(n.tag, 7);
	wfs_sharded_rank_name(&n, rank, sizeof(rank));
	assert_string_equal(rank, "12");
	assert_int_equal(
		wfs_sharded_parse("model-pp-1-tp-20-part-0.safetensors", &n),
		0);
	assert_true(n.pipeline);
	assert_int_equal(n.pp, 1);
	assert_int_equal(n.tp, 20);
	assert_int_equal(n.part, 0);
	wfs_sharded_rank_name(&n, rank, sizeof(rank));
	assert_string_equal(rank, "pp-1-tp-20");
	assert_int_equal(
		wfs_sharded_parse("model-rank-4294967295-part-0.safetensors",
				  &n),
		0);
	assert_int_equal(n.tp, UINT32_MAX);
}

static void other_names_follow_neither_pattern(void **state)
{
	static const char *const bad[] = {
		"",
		"model.safetensors",
		"model-00001-of-00002.safetensors",
		"model-rank-0-part-0.safetensors.tmp",
		"xmodel-rank-0-part-0.safetensors",
		"model-rank-00-part-0.safetensors",
		"model-rank-0-part-01.safetensors",
		"model-rank--part-0.safetensors",
		"model-rank-+1-part-0.safetensors",
		"model-rank--1-part-0.safetensors",
		"model-rank-0x1-part-0.safetensors",
		"model-rank-4294967296-part-0.safetensors",
		"model-rank-18446744073709551616-part-0.safetensors",
		"model-rank-0-part-0.bin",
		"model-pp-0-part-0.safetensors",
		"model-pp-0-tp-0.safetensors",
		"model-pp-0-tp-00-part-0.safetensors",
	};
	struct wfs_sharded_name n = { .tp = 99 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(wfs_sharded_parse(bad[i], &n), -EINVAL);
	assert_int_equal(n.tp, 99);
}

/* Arranges files given as words; the rank of each, or an error's sentence. */
static int arrange(const char *const *files, size_t count,
		   struct wfs_sharded_name *names, uint32_t *ret_ranks,
		   struct wfs_err *err)
{
	for (size_t i = 0; i < count; i++) {
		names[i].tag = (uint32_t)i;
		assert_int_equal(wfs_sharded_parse(files[i], &names[i]), 0);
	}
	return wfs_sharded_arrange(names, count, false, "/ckpt", ret_ranks,
				   err);
}

#define COUNT(a)       (sizeof(a) / sizeof(*(a)))
#define RANK(r, p)     "model-rank-" #r "-part-" #p ".safetensors"
#define STAGE(s, r, p) "model-pp-" #s "-tp-" #r "-part-" #p ".safetensors"

static void ranks_come_in_the_order_of_numbers(void **state)
{
	static const char *const files[] = {
		RANK(10, 0), RANK(9, 0), RANK(8, 0), RANK(7, 0),
		RANK(6, 0),  RANK(5, 0), RANK(4, 0), RANK(3, 0),
		RANK(2, 1),  RANK(2, 0), RANK(1, 0), RANK(0, 0),
	};
	struct wfs_sharded_name names[COUNT(files)];
	uint32_t ranks = 0;

	(void)state;
	assert_int_equal(arrange(files, COUNT(files), names, &ranks, NULL), 0);
	assert_int_equal(ranks, 11);
	assert_int_equal(names[0].tag, 11);
	assert_int_equal(names[2].tag, 9);
	assert_int_equal(names[2].rank, 2);
	assert_int_equal(names[3].tag, 8);
	assert_int_equal(names[3].rank, 2);
	assert_int_equal(names[3].part, 1);
	assert_int_equal(names[11].rank, 10);
}

static void stages_come_before_ranks(void **state)
{
	static const char *const files[] = {
		STAGE(1, 0, 0),
		STAGE(0, 1, 0),
		STAGE(1, 1, 0),
		STAGE(0, 0, 0),
	};
	struct wfs_sharded_name names[COUNT(files)];
	uint32_t ranks = 0;
	char name[64];

	(void)state;
	assert_int_equal(arrange(files, COUNT(files), names, &ranks, NULL), 0);
	assert_int_equal(ranks, 4);
	wfs_sharded_rank_name(&names[1], name, sizeof(name));
	assert_string_equal(name, "pp-0-tp-1");
	wfs_sharded_rank_name(&names[2], name, sizeof(name));
	assert_string_equal(name, "pp-1-tp-0");
}

static void some_ranks_alone_are_numbered_as_they_come(void **state)
{
	static const char *const files[] = { RANK(6, 0), RANK(2, 0),
					     RANK(6, 1) };
	struct wfs_sharded_name names[COUNT(files)];
	struct wfs_err err = { 0 };
	uint32_t ranks = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(files); i++)
		assert_int_equal(wfs_sharded_parse(files[i], &names[i]), 0);
	assert_int_equal(
		wfs_sharded_arrange(names, 3, true, "/ckpt", &ranks, &err), 0);
	assert_int_equal(ranks, 2);
	assert_int_equal(names[0].tp, 2);
	assert_int_equal(names[2].rank, 1);
	/* A rank without its first part is no rank. */
	assert_int_equal(wfs_sharded_arrange(&names[2], 1, true, "/ckpt",
					     &ranks, &err),
			 -ENOENT);
	assert_non_null(strstr(err.text, "'model-rank-6-part-0.safetensors'"));
}

static void refuses(const char *const *files, size_t count, int code,
		    const char *rule)
{
	struct wfs_sharded_name names[16];
	struct wfs_err err = { 0 };
	uint32_t ranks = 77;

	assert_int_equal(arrange(files, count, names, &ranks, &err), code);
	assert_non_null(strstr(err.text, "'/ckpt'"));
	if (!strstr(err.text, rule))
		fail_msg("'%s' does not say '%s'", err.text, rule);
	assert_int_equal(ranks, 77);
}

#define REFUSES(code, rule, ...)                                               \
	do {                                                                   \
		static const char *const files_[] = { __VA_ARGS__ };           \
		refuses(files_, COUNT(files_), code, rule);                    \
	} while (0)

static void ranks_that_are_not_contiguous_are_refused(void **state)
{
	(void)state;
	REFUSES(-ENOENT, "'" RANK(0, 0) "' is missing", RANK(1, 0));
	REFUSES(-ENOENT, "'" RANK(1, 0) "' is missing", RANK(0, 0), RANK(2, 0));
	REFUSES(-ENOENT, "'" RANK(1, 0) "' is missing", RANK(0, 0),
		RANK(4294967295, 0));
}

static void parts_that_are_not_contiguous_are_refused(void **state)
{
	(void)state;
	REFUSES(-ENOENT, "'" RANK(0, 0) "' is missing", RANK(0, 1));
	REFUSES(-ENOENT, "'" RANK(0, 1) "' is missing", RANK(0, 0), RANK(0, 2));
	REFUSES(-ENOENT, "'" RANK(1, 0) "' is missing", RANK(0, 0), RANK(1, 1));
}

static void stages_with_unequal_ranks_are_refused(void **state)
{
	(void)state;
	REFUSES(-ENOENT, "'" STAGE(1, 1, 0) "' is missing", STAGE(0, 0, 0),
		STAGE(0, 1, 0), STAGE(1, 0, 0));
	REFUSES(-ENOENT, "'" STAGE(0, 1, 0) "' is missing", STAGE(0, 0, 0),
		STAGE(1, 0, 0), STAGE(1, 1, 0));
	REFUSES(-ENOENT, "'" STAGE(1, 0, 0) "' is missing", STAGE(0, 0, 0),
		STAGE(2, 0, 0));
	REFUSES(-ENOENT, "'" STAGE(0, 0, 0) "' is missing",
		STAGE(4294967295, 4294967295, 4294967295));
}

static void files_of_both_patterns_are_refused(void **state)
{
	(void)state;
	REFUSES(-EINVAL, "both patterns", RANK(0, 0), STAGE(0, 0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(both_patterns_are_read),
		T(other_names_follow_neither_pattern),
		T(ranks_come_in_the_order_of_numbers),
		T(stages_come_before_ranks),
		T(some_ranks_alone_are_numbered_as_they_come),
		T(ranks_that_are_not_contiguous_are_refused),
		T(parts_that_are_not_contiguous_are_refused),
		T(stages_with_unequal_ranks_are_refused),
		T(files_of_both_patterns_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
