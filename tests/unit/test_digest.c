/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests of files.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/base/text.h"
#include "core/store/digest.h"

static int file_of(const void *bytes, size_t len)
{
	int fd = memfd_create("digest", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	return fd;
}

static void digest_of(int fd, char *text)
{
	struct wfs_digester *digester = wfs_digester_new();
	uint8_t digest[WFS_DIGEST_BYTES];
	uint64_t off = 0;
	int64_t n;

	wfs_digester_start(digester);
	while ((n = wfs_digester_step(digester, fd, off)) > 0)
		off += (uint64_t)n;
	assert_int_equal(n, 0);
	wfs_digester_finish(digester, digest);
	wfs_digest_format(digest, text);
	wfs_digester_free(digester);
}

static void an_empty_file_has_the_published_digest(void **state)
{
	char text[48];
	int fd = file_of("", 0);

	(void)state;
	digest_of(fd, text);
	assert_string_equal(text, "xxh3-128:99aa06d3014798d86001c324468d497f");
	close(fd);
}

static void steps_give_what_one_pass_gives(void **state)
{
	static const size_t sizes[] = { 1,
					4096,
					WFS_DIGEST_STEP - 1,
					WFS_DIGEST_STEP,
					WFS_DIGEST_STEP + 1,
					3 * WFS_DIGEST_STEP + 77 };
	uint8_t *bytes = wfs_malloc(4 * WFS_DIGEST_STEP);

	(void)state;
	for (size_t i = 0; i < 4 * WFS_DIGEST_STEP; i++)
		bytes[i] = (uint8_t)(i * i >> 7);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		XXH128_hash_t want = XXH3_128bits(bytes, sizes[i]);
		int fd = file_of(bytes, sizes[i]);
		char text[48], expected[48];

		digest_of(fd, text);
		snprintf(expected, sizeof(expected), "xxh3-128:%016llx%016llx",
			 (unsigned long long)want.high64,
			 (unsigned long long)want.low64);
		assert_string_equal(text, expected);
		close(fd);
	}
	free(bytes);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
	struct wfs_digester *digester = wfs_digester_new();

	(void)state;
	wfs_digester_start(digester);
	assert_int_equal(wfs_digester_step(digester, -1, 0), -EBADF);
	wfs_digester_free(digester);
	wfs_digester_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_empty_file_has_the_published_digest),
		T(steps_give_what_one_pass_gives),
		T(a_file_that_cannot_be_read_is_an_error),
	};

	return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
