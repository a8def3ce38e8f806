/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of the stream: the bytes of the tables, and what is refused.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/digest/digests.h"
#include "transport/wire/frame.h"

static const struct wfs_wire_request a_request = {
	.op = WFS_WIRE_READ,
	.tag = 0x01020304,
	.len = 4096,
	.region = { 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9,
		    0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf },
	.off = 0x50600000ull << 12,
};

static const uint8_t request_bytes[WFS_REQUEST_BYTES] = {
	'W',  'F',  'R',  '1',	1,    0,    0,	  0,	4,    3,    2,	  1,
	0,    16,   0,	  0,	0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
	0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0,    0,    0,	  0,
	6,    5,    0,	  0,	0,    0,    0,	  0,	0,    0,    0,	  0,
};

static const uint8_t answer_bytes[WFS_ANSWER_BYTES] = {
	'W',  'F',  'A',  '1',	4,    3,    2,	  1,	0,    0,    0,
	0,    0,    16,	  0,	0,    0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5,
	0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf,
};

static void a_request_has_the_bytes_of_the_table(void **state)
{
	uint8_t bytes[WFS_REQUEST_BYTES];

	(void)state;
	memset(bytes, 0xee, sizeof(bytes));
	wfs_wire_put_request(&a_request, bytes);
	assert_memory_equal(bytes, request_bytes, sizeof(bytes));
}

static void a_request_is_read_back(void **state)
{
	struct wfs_wire_request got = { 0 };

	(void)state;
	assert_int_equal(wfs_wire_get_request(request_bytes, &got), 0);
	assert_int_equal(got.op, WFS_WIRE_READ);
	assert_int_equal(got.tag, a_request.tag);
	assert_int_equal(got.len, a_request.len);
	assert_true(got.off == a_request.off);
	assert_memory_equal(got.region, a_request.region, WFS_WIRE_ID_BYTES);
}

static void an_answer_has_the_bytes_of_the_table(void **state)
{
	struct wfs_wire_answer answer = { .tag = 0x01020304, .len = 4096 };
	struct wfs_wire_answer got = { 0 };
	uint8_t bytes[WFS_ANSWER_BYTES];

	(void)state;
	for (unsigned i = 0; i < WFS_WIRE_HASH_SIZE; i++)
		answer.digest[i] = (uint8_t)(0xd0 + i);
	wfs_wire_put_answer(&answer, bytes);
	assert_memory_equal(bytes, answer_bytes, sizeof(bytes));
	assert_int_equal(wfs_wire_get_answer(bytes, &got), 0);
	assert_int_equal(got.tag, answer.tag);
	assert_int_equal(got.status, WFS_WIRE_OK);
	assert_int_equal(got.len, 4096);
	assert_memory_equal(got.digest, answer.digest, WFS_WIRE_HASH_SIZE);
}

/* With byte `at` of a good request set to `value`. */
static int request_with(unsigned at, uint8_t value)
{
	struct wfs_wire_request got = { .tag = 77 };
	uint8_t bytes[WFS_REQUEST_BYTES];
	int rc;

	memcpy(bytes, request_bytes, sizeof(bytes));
	bytes[at] = value;
	rc = wfs_wire_get_request(bytes, &got);
	if (rc)
		assert_int_equal(got.tag, 77);
	return rc;
}

static void a_request_that_is_not_one_is_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(request_with(i, 'x'), -EBADMSG);
	assert_int_equal(request_with(4, 2), -EBADMSG);
	assert_int_equal(request_with(5, 1), -EBADMSG);
	assert_int_equal(request_with(6, 1), -EBADMSG);
	assert_int_equal(request_with(7, 1), -EBADMSG);
	for (unsigned i = 40; i < WFS_REQUEST_BYTES; i++)
		assert_int_equal(request_with(i, 1), -EBADMSG);
}

static void a_request_may_want_one_chunk_from_its_start(void **state)
{
	(void)state;
	assert_int_equal(request_with(13, 0), -EBADMSG); /* 0 bytes */
	assert_int_equal(request_with(14, 15), 0);
	assert_int_equal(request_with(14, 16), -EBADMSG); /* over 1 MiB */
	assert_int_equal(request_with(15, 0xff), -EBADMSG);
	assert_int_equal(request_with(32, 1), -EBADMSG);
	assert_int_equal(request_with(34, 0x0f), -EBADMSG);
	assert_int_equal(request_with(34, 0x10), 0);
	assert_int_equal(request_with(39, 0xff), 0);
}

static int answer_with(uint32_t status, uint32_t len)
{
	struct wfs_wire_answer answer = { .status = status, .len = len };
	struct wfs_wire_answer got;
	uint8_t bytes[WFS_ANSWER_BYTES];

	wfs_wire_put_answer(&answer, bytes);
	return wfs_wire_get_answer(bytes, &got);
}

static void an_answer_announces_no_more_than_its_status_allows(void **state)
{
	uint8_t bytes[WFS_ANSWER_BYTES];
	struct wfs_wire_answer got;

	(void)state;
	assert_int_equal(answer_with(WFS_WIRE_OK, 1), 0);
	assert_int_equal(answer_with(WFS_WIRE_OK, WFS_CHUNK), 0);
	assert_int_equal(answer_with(WFS_WIRE_OK, 0), -EBADMSG);
	assert_int_equal(answer_with(WFS_WIRE_OK, WFS_CHUNK + 1), -EBADMSG);
	assert_int_equal(answer_with(WFS_WIRE_BUSY, 0), 0);
	assert_int_equal(answer_with(WFS_WIRE_BUSY, WFS_WIRE_TEXT_MAX), 0);
	assert_int_equal(answer_with(WFS_WIRE_BUSY, WFS_WIRE_TEXT_MAX + 1),
			 -EBADMSG);
	assert_int_equal(answer_with(4711, 10), 0);
	memcpy(bytes, answer_bytes, sizeof(bytes));
	bytes[2] = 'R';
	assert_int_equal(wfs_wire_get_answer(bytes, &got), -EBADMSG);
}

static void every_status_has_a_text(void **state)
{
	(void)state;
	for (uint32_t i = WFS_WIRE_OK; i <= WFS_WIRE_BUSY; i++) {
		assert_non_null(wfs_wire_status_text(i));
		assert_string_not_equal(wfs_wire_status_text(i),
					wfs_wire_status_text(4711));
	}
	assert_non_null(wfs_wire_status_text(UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_request_has_the_bytes_of_the_table),
		T(a_request_is_read_back),
		T(an_answer_has_the_bytes_of_the_table),
		T(a_request_that_is_not_one_is_refused),
		T(a_request_may_want_one_chunk_from_its_start),
		T(an_answer_announces_no_more_than_its_status_allows),
		T(every_status_has_a_text),
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
