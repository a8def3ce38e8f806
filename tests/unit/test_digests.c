/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of chunk digests, and what is not one.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/base/text.h"
#include "core/digest/digests.h"
#include "tests/unit/chance.h"

static const enum wfs_digest_algorithm kinds[] = { WFS_XXH3_128, WFS_SHA256 };

static const uint64_t sizes[] = { 0,
				  1,
				  WFS_CHUNK - 1,
				  WFS_CHUNK,
				  WFS_CHUNK + 1,
				  3 * (uint64_t)WFS_CHUNK + 77 };

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static uint8_t *random_bytes(struct chance *chance, size_t len)
{
	uint8_t *bytes = wfs_malloc(len);

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)chance_next(chance);
	return bytes;
}

static struct wfs_digests *list_of(enum wfs_digest_algorithm algorithm,
				   const uint8_t *bytes, uint64_t size)
{
	struct wfs_digests *list = wfs_digests_new(algorithm, size);

	for (uint64_t i = 0; i < list->count; i++)
		wfs_digest_bytes(algorithm, bytes + i * WFS_CHUNK,
				 wfs_chunk_len(size, i),
				 wfs_digests_at(list, i));
	return list;
}

static uint8_t *encoded(const struct wfs_digests *list, size_t *ret_len)
{
	size_t body = list->count * wfs_digest_size(list->algorithm);
	uint8_t *text = wfs_malloc(WFS_DIGESTS_HEAD + body);

	wfs_digests_head(list, text);
	memcpy(text + WFS_DIGESTS_HEAD, list->bytes, body);
	*ret_len = WFS_DIGESTS_HEAD + body;
	return text;
}

static void of_nothing_and_of_abc_they_are_the_published_ones(void **state)
{
	uint8_t digest[WFS_DIGEST_MAX];
	char text[2 * WFS_DIGEST_MAX + 1];

	(void)state;
	wfs_digest_bytes(WFS_XXH3_128, "", 0, digest);
	assert_string_equal(wfs_hex_format(digest, 16, text),
			    "99aa06d3014798d86001c324468d497f");
	wfs_digest_bytes(WFS_SHA256, "abc", 3, digest);
	assert_string_equal(wfs_hex_format(digest, 32, text),
			    "ba7816bf8f01cfea414140de5dae2223"
			    "b00361a396177a9cb410ff61f20015ad");
	assert_string_equal(wfs_digest_name(WFS_XXH3_128), "xxh3-128");
	assert_string_equal(wfs_digest_name(WFS_SHA256), "sha256");
}

static void
a_region_is_cut_in_chunks_of_which_the_last_may_be_short(void **state)
{
	(void)state;
	assert_int_equal(wfs_chunk_count(0), 0);
	assert_int_equal(wfs_chunk_count(1), 1);
	assert_int_equal(wfs_chunk_count(WFS_CHUNK), 1);
	assert_int_equal(wfs_chunk_count(WFS_CHUNK + 1ull), 2);
	assert_int_equal(wfs_chunk_count(UINT64_MAX), 1ull << 44);
	assert_int_equal(wfs_chunk_len(WFS_CHUNK + 1ull, 0), WFS_CHUNK);
	assert_int_equal(wfs_chunk_len(WFS_CHUNK + 1ull, 1), 1);
}

static void the_root_is_the_hash_of_the_digests(void **state)
{
	struct chance chance = chance_new();
	uint8_t *bytes = random_bytes(&chance, WFS_CHUNK + 5);

	(void)state;
	for (size_t k = 0; k < COUNT(kinds); k++) {
		struct wfs_digests *list =
			list_of(kinds[k], bytes, WFS_CHUNK + 5);
		size_t width = wfs_digest_size(kinds[k]);
		uint8_t two[2 * WFS_DIGEST_MAX], want[WFS_DIGEST_MAX];
		uint8_t root[WFS_DIGEST_MAX];

		wfs_digest_bytes(kinds[k], bytes, WFS_CHUNK, two);
		wfs_digest_bytes(kinds[k], bytes + WFS_CHUNK, 5, two + width);
		wfs_digest_bytes(kinds[k], two, 2 * width, want);
		wfs_digests_root(list, root);
		assert_memory_equal(root, want, width);
		free(list);
	}
	free(bytes);
}

static void what_is_sent_is_what_is_read(void **state)
{
	struct chance chance = chance_new();
	uint8_t *bytes = random_bytes(&chance, 4 * WFS_CHUNK);

	(void)state;
	for (size_t s = 0; s < COUNT(sizes); s++)
		for (size_t k = 0; k < COUNT(kinds); k++) {
			struct wfs_digests *list =
				list_of(kinds[k], bytes, sizes[s]);
			struct wfs_digests *back = NULL;
			uint8_t root[WFS_DIGEST_MAX];
			size_t len;
			uint8_t *text = encoded(list, &len);

			wfs_digests_root(list, root);
			assert_int_equal(wfs_digests_parse(text, len, kinds[k],
							   sizes[s], root,
							   &back, NULL),
					 0);
			assert_int_equal(back->algorithm, kinds[k]);
			assert_int_equal(back->size, sizes[s]);
			assert_int_equal(back->count, list->count);
			assert_memory_equal(back->bytes, list->bytes,
					    len - WFS_DIGESTS_HEAD);
			free(text);
			free(list);
			free(back);
		}
	free(bytes);
}

static void refused(const uint8_t *text, size_t len,
		    enum wfs_digest_algorithm algorithm, uint64_t size,
		    const uint8_t *root, const char *why)
{
	/* Its own allocation, so that a byte too far is seen. */
	uint8_t *copy = wfs_malloc(len);
	struct wfs_digests *back = NULL;
	struct wfs_err err = { 0 };

	memcpy(copy, text, len);
	assert_int_equal(wfs_digests_parse(copy, len, algorithm, size, root,
					   &back, &err),
			 -EBADMSG);
	assert_null(back);
	assert_non_null(strstr(err.text, why));
	free(copy);
}

static void no_other_list_is_taken(void **state)
{
	struct chance chance = chance_new();
	uint64_t size = 2 * (uint64_t)WFS_CHUNK + 9;
	uint8_t *bytes = random_bytes(&chance, size);
	struct wfs_digests *list = list_of(WFS_SHA256, bytes, size);
	uint8_t root[WFS_DIGEST_MAX];
	size_t len;
	uint8_t *text = encoded(list, &len);

	(void)state;
	wfs_digests_root(list, root);
	for (size_t cut = 0; cut < WFS_DIGESTS_HEAD; cut++)
		refused(text, cut, WFS_SHA256, size, root, "not a list");
	refused(text, len - 1, WFS_SHA256, size, root, "95 bytes of digests");
	refused(text, WFS_DIGESTS_HEAD, WFS_SHA256, size, root, "0 bytes of");
	refused(text, len, WFS_XXH3_128, size, root, "another kind than xxh3");
	refused(text, len, WFS_SHA256, size + 1, root, "instead of 2097162");
	refused(text, len, WFS_SHA256, UINT64_MAX, root, "instead of");
	text[16] ^= 1; /* bytes of a chunk */
	refused(text, len, WFS_SHA256, size, root, "chunks of 1048577");
	text[16] ^= 1;
	text[12] ^= 1; /* bytes of a digest */
	refused(text, len, WFS_SHA256, size, root, "another kind");
	text[12] ^= 1;
	text[0] ^= 1;
	refused(text, len, WFS_SHA256, size, root, "not a list");
	text[0] ^= 1;
	text[len - 1 - chance_below(&chance, 96)] ^= 0x40;
	refused(text, len, WFS_SHA256, size, root, "another root");
	free(text);
	free(list);
	free(bytes);
}

static void a_chunk_is_right_only_whole_and_in_its_place(void **state)
{
	struct chance chance = chance_new();
	uint64_t size = 2 * (uint64_t)WFS_CHUNK + 9;
	uint8_t *bytes = random_bytes(&chance, size);

	(void)state;
	for (size_t k = 0; k < COUNT(kinds); k++) {
		struct wfs_digests *list = list_of(kinds[k], bytes, size);
		size_t at = chance_below(&chance, WFS_CHUNK);

		assert_int_equal(wfs_digests_verify(list, 0, bytes, WFS_CHUNK),
				 0);
		assert_int_equal(wfs_digests_verify(list, 2,
						    bytes + 2 * WFS_CHUNK, 9),
				 0);
		assert_int_equal(wfs_digests_verify(list, 1, bytes, WFS_CHUNK),
				 -EBADMSG);
		assert_int_equal(wfs_digests_verify(list, 2,
						    bytes + 2 * WFS_CHUNK, 8),
				 -EBADMSG);
		assert_int_equal(wfs_digests_verify(list, 3, bytes, 0),
				 -EBADMSG);
		assert_int_equal(wfs_digests_verify(list, UINT64_MAX, bytes, 0),
				 -EBADMSG);
		bytes[at] ^= 0x10;
		assert_int_equal(wfs_digests_verify(list, 0, bytes, WFS_CHUNK),
				 -EBADMSG);
		bytes[at] ^= 0x10;
		free(list);
	}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(of_nothing_and_of_abc_they_are_the_published_ones),
		T(a_region_is_cut_in_chunks_of_which_the_last_may_be_short),
		T(the_root_is_the_hash_of_the_digests),
		T(what_is_sent_is_what_is_read),
		T(no_other_list_is_taken),
		T(a_chunk_is_right_only_whole_and_in_its_place),
	};

	return cmocka_run_group_tests_name("digests", tests, NULL, NULL);
}
