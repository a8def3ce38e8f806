/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of a mount, over files of no mount: what is found, mapped and
 * copied.  tests/client has it over real ones.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weightfs/client.h>

#include "core/base/mem.h"
#include "tests/unit/scratch.h"

#define LARGE (5u << 20) /* bytes; more than one huge page */

/* A safetensors file of this header, its data counting up from `from`. */
static void write_file(const struct scratch *s, const char *path,
		       const char *header, size_t data, unsigned from)
{
	uint64_t len = strlen(header);
	char *bytes wfs_autofree = wfs_malloc(8 + len + data + 1);

	memcpy(bytes, &len, 8);
	memcpy(bytes + 8, header, len + 1);
	for (size_t i = 0; i < data; i++)
		bytes[8 + len + i] = (char)(from + i * 7);
	scratch_write(s, path, bytes, 8 + len + data);
}

static struct weightfs_set *open_set(const struct scratch *s, const char *path,
				     const char *rank)
{
	char *full wfs_autofree = scratch_path(s, path);
	struct weightfs_set *set = NULL;
	int rc = weightfs_open(full, rank, &set);

	if (rc)
		fail_msg("%s", weightfs_last_error());
	return set;
}

static void assert_refused(const struct scratch *s, const char *path,
			   const char *rank, int code, const char *word)
{
	char *full wfs_autofree = scratch_path(s, path);
	struct weightfs_set *set = NULL;

	assert_int_equal(weightfs_open(full, rank, &set), code);
	assert_null(set);
	if (!strstr(weightfs_last_error(), word))
		fail_msg("no '%s' in: %s", word, weightfs_last_error());
}

static void assert_counts(const void *bytes, size_t len, unsigned from)
{
	const unsigned char *b = bytes;

	for (size_t i = 0; i < len; i++)
		if (b[i] != (unsigned char)(from + i * 7))
			fail_msg("byte %zu is %u", i, b[i]);
}

#define TWO                                                                    \
	"{\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"  \
	"\"a\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[24,26]},"    \
	"\"none\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[26,26]}}"

static void tensors_of_a_file_are_in_its_order(void **state)
{
	struct scratch *s = *state;
	struct weightfs_set *set;
	struct weightfs_tensor t;

	write_file(s, "m.safetensors", TWO, 26, 0);
	set = open_set(s, "m.safetensors", NULL);
	assert_int_equal(weightfs_count(set), 3);
	weightfs_tensor(set, 0, &t);
	assert_string_equal(t.name, "b");
	assert_int_equal(t.name_len, 1);
	assert_string_equal(t.dtype, "F32");
	assert_int_equal(t.ndim, 2);
	assert_int_equal(t.shape[0], 2);
	assert_int_equal(t.shape[1], 3);
	assert_int_equal(t.size, 24);
	weightfs_tensor(set, 1, &t);
	assert_string_equal(t.dtype, "BF16");
	assert_int_equal(t.ndim, 0);
	assert_int_equal(weightfs_find(set, "a", 1), 1);
	assert_int_equal(weightfs_find(set, "b", 1), 0);
	assert_int_equal(weightfs_find(set, "bb", 2), -ENOENT);
	weightfs_close(set);
}

static void what_is_mapped_outlives_the_set(void **state)
{
	struct scratch *s = *state;
	struct weightfs_mapping *maps[3];
	struct weightfs_set *set;
	void *bytes[3];

	write_file(s, "m.safetensors", TWO, 26, 3);
	set = open_set(s, "m.safetensors", NULL);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(weightfs_map(set, i, &bytes[i], &maps[i]), 0);
	assert_int_equal(weightfs_map(set, 3, &bytes[0], &maps[0]), -EINVAL);
	weightfs_close(set);
	assert_counts(bytes[0], 24, 3);
	assert_counts(bytes[1], 2, 3 + 24 * 7);
	assert_null(bytes[2]);
	assert_null(maps[2]);
	for (size_t i = 0; i < 3; i++)
		weightfs_unmap(maps[i]);
}

static void what_is_written_never_reaches_the_file(void **state)
{
	struct scratch *s = *state;
	struct weightfs_mapping *map, *again;
	struct weightfs_set *set;
	void *bytes, *same;

	write_file(s, "m.safetensors", TWO, 26, 0);
	set = open_set(s, "m.safetensors", NULL);
	assert_int_equal(weightfs_map(set, 0, &bytes, &map), 0);
	memset(bytes, 0xee, 24);
	assert_int_equal(weightfs_load(set, NULL), 0);
	assert_int_equal(weightfs_map(set, 0, &same, &again), 0);
	assert_ptr_equal(bytes, same);
	assert_int_equal(*(unsigned char *)same, 0xee);
	weightfs_unmap(again);
	weightfs_close(set);
	weightfs_unmap(map);
	set = open_set(s, "m.safetensors", NULL);
	assert_int_equal(weightfs_map(set, 0, &bytes, &map), 0);
	assert_counts(bytes, 24, 0);
	weightfs_unmap(map);
	weightfs_close(set);
}

static void write_large(const struct scratch *s, const char *path,
			const char *name, unsigned from)
{
	char *header wfs_autofree = wfs_asprintf(
		"{\"%s\":{\"dtype\":\"U8\",\"shape\":[%u],"
		"\"data_offsets\":[0,%u]},\"%s.2\":{\"dtype\":\"U8\","
		"\"shape\":[%u],\"data_offsets\":[%u,%u]}}",
		name, 2 * LARGE, 2 * LARGE, name, LARGE, 2 * LARGE, 3 * LARGE);

	write_file(s, path, header, 3 * LARGE, from);
}

struct told {
	uint64_t done, total, end_at;
	unsigned calls;
};

static int tell(void *ctx, uint64_t done, uint64_t total)
{
	struct told *told = ctx;

	assert_true(done >= told->done);
	told->done = done;
	told->total = total;
	told->calls++;
	return told->end_at && done >= told->end_at;
}

static void a_load_copies_to_each_place(void **state)
{
	struct scratch *s = *state;
	struct told told = { 0 };
	void *to[4];
	struct weightfs_load load = { .size = sizeof(load),
				      .to = to,
				      .threads = 3,
				      .progress = tell,
				      .ctx = &told };
	struct weightfs_set *set;

	write_large(s, "d/model-1.safetensors", "x", 0);
	write_large(s, "d/model-2.safetensors", "y", 9);
	set = open_set(s, "d", NULL);
	assert_int_equal(weightfs_count(set), 4);
	to[0] = wfs_malloc(2 * LARGE);
	to[1] = NULL;
	to[2] = wfs_malloc(2 * LARGE);
	to[3] = wfs_malloc(LARGE);
	assert_int_equal(weightfs_load(set, &load), 0);
	assert_counts(to[0], 2 * LARGE, 0);
	assert_counts(to[2], 2 * LARGE, 9);
	assert_counts(to[3], LARGE, 9 + 2 * LARGE * 7);
	assert_true(told.calls > 0);
	assert_int_equal(told.done, 5 * LARGE);
	assert_int_equal(told.total, 5 * LARGE);
	for (size_t i = 0; i < 4; i++)
		free(to[i]);
	weightfs_close(set);
}

static void a_load_without_places_maps_all(void **state)
{
	struct scratch *s = *state;
	struct weightfs_mapping *map;
	struct weightfs_set *set;
	void *bytes;

	write_large(s, "d/model-1.safetensors", "x", 1);
	set = open_set(s, "d", NULL);
	weightfs_prefetch(set, 0, 100);
	assert_int_equal(weightfs_load(set, NULL), 0);
	assert_int_equal(weightfs_map(set, 0, &bytes, &map), 0);
	assert_counts(bytes, 2 * LARGE, 1);
	weightfs_unmap(map);
	weightfs_close(set);
}

static void a_file_that_was_cut_short_is_an_error(void **state)
{
	struct scratch *s = *state;
	char *path wfs_autofree = scratch_path(s, "d/model-1.safetensors");
	void *to[2] = { wfs_malloc(2 * LARGE), wfs_malloc(LARGE) };
	struct weightfs_load load = { .size = sizeof(load), .to = to };
	struct weightfs_set *set;

	write_large(s, "d/model-1.safetensors", "x", 1);
	set = open_set(s, "d", NULL);
	assert_int_equal(truncate(path, 4096), 0);
	assert_int_equal(weightfs_load(set, &load), -EIO);
	assert_non_null(strstr(weightfs_last_error(), "shorter than it was"));
	assert_int_equal(weightfs_load(set, NULL), -EIO);
	weightfs_close(set);
	free(to[0]);
	free(to[1]);
}

static void a_load_ends_when_its_progress_says_so(void **state)
{
	struct scratch *s = *state;
	struct weightfs_load load = { .size = sizeof(load) + 1 };
	struct weightfs_set *set;

	write_large(s, "d/model-1.safetensors", "x", 1);
	set = open_set(s, "d", NULL);
	assert_int_equal(weightfs_load(set, &load), -EINVAL);
	load.size = 3;
	assert_int_equal(weightfs_load(set, &load), -EINVAL);
	weightfs_close(set);
}

static void the_index_says_which_files(void **state)
{
	struct scratch *s = *state;
	struct weightfs_set *set;

	write_large(s, "d/model-1.safetensors", "x", 1);
	write_large(s, "d/other.safetensors", "x", 1);
	assert_refused(s, "d", NULL, -EEXIST, "rank");
	scratch_write(s, "d/model.safetensors.index.json",
		      "{\"weight_map\":{\"x\":\"model-1.safetensors\","
		      "\"x.2\":\"model-1.safetensors\"}}",
		      0);
	set = open_set(s, "d", NULL);
	assert_int_equal(weightfs_count(set), 2);
	weightfs_close(set);
	scratch_write(s, "d/model.safetensors.index.json",
		      "{\"weight_map\":{\"x\":\"../other.safetensors\"}}", 0);
	assert_refused(s, "d", NULL, -EBADMSG, "no file of it");
}

static void a_rank_has_its_own_parts(void **state)
{
	struct scratch *s = *state;
	struct weightfs_set *set;
	struct weightfs_tensor t;

	write_large(s, "d/model-rank-0-part-0.safetensors", "x", 1);
	write_large(s, "d/model-rank-1-part-1.safetensors", "b", 1);
	write_large(s, "d/model-rank-1-part-0.safetensors", "z", 1);
	set = open_set(s, "d", "1");
	assert_int_equal(weightfs_count(set), 4);
	weightfs_tensor(set, 0, &t);
	assert_string_equal(t.name, "z");
	weightfs_tensor(set, 2, &t);
	assert_string_equal(t.name, "b");
	weightfs_close(set);
	assert_refused(s, "d", "2", -ENOENT, "no rank '2'");
	assert_refused(s, "d", "../d", -EINVAL, "is no rank");
	assert_refused(s, "d/model-rank-0-part-0.safetensors", "0", -EINVAL,
		       "no ranks");
}

static void what_holds_no_tensors_is_refused(void **state)
{
	struct scratch *s = *state;

	scratch_write(s, "empty/note.txt", "hello", 0);
	scratch_write(s, "bad.safetensors", "short", 0);
	scratch_mkdir(s, "void");
	assert_refused(s, "gone", NULL, -ENOENT, "gone");
	assert_refused(s, "void", NULL, -EINVAL, "no tensor files");
	assert_refused(s, "empty", NULL, -EINVAL, "note.txt");
	assert_refused(s, "empty/note.txt", NULL, -EINVAL, "note.txt");
	assert_refused(s, "bad.safetensors", NULL, -EBADMSG, "bad.safetensors");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define S(name)                                                                \
	cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
		S(tensors_of_a_file_are_in_its_order),
		S(what_is_mapped_outlives_the_set),
		S(what_is_written_never_reaches_the_file),
		S(a_load_copies_to_each_place),
		S(a_load_without_places_maps_all),
		S(a_file_that_was_cut_short_is_an_error),
		S(a_load_ends_when_its_progress_says_so),
		S(the_index_says_which_files),
		S(a_rank_has_its_own_parts),
		S(what_holds_no_tensors_is_refused),
	};

	return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
