/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node says when it connects, and what a seed tells of its memory: the
 * bytes, and what is refused.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/mem.h"
#include "transport/rdma/hello.h"
#include "transport/rdma/peer.h"

static const uint8_t key[WFS_HELLO_KEY] = "a key of thirty-two bytes, no mo";

static void a_hello_survives_its_bytes_and_padding(void **state)
{
	struct wfs_hello said = { .rail = 2,
				  .flags = 1,
				  .session = 0x1122334455667788,
				  .expires = 99 },
			 heard = { 0 };
	uint8_t bytes[WFS_HELLO_BYTES + 140] = { 0 };

	(void)state;
	wfs_hello_sign(&said, key, 17);
	wfs_hello_put(&said, bytes);
	assert_memory_equal(bytes, "WFRD\1\0\2\1\x88\x77\x66\x55", 12);
	assert_int_equal(wfs_hello_get(bytes, sizeof(bytes), &heard), 0);
	assert_memory_equal(&heard, &said, sizeof(said));
	assert_true(wfs_hello_is_signed(&heard, key, 17));
}

static void a_token_is_of_one_session_queue_pair_expiry_and_key(void **state)
{
	struct wfs_hello hello = { .session = 1, .expires = 2 };
	uint8_t other[WFS_HELLO_KEY];

	(void)state;
	wfs_hello_sign(&hello, key, 3);
	assert_true(wfs_hello_is_signed(&hello, key, 3));
	assert_false(wfs_hello_is_signed(&hello, key, 4));
	memcpy(other, key, sizeof(other));
	other[31] ^= 1;
	assert_false(wfs_hello_is_signed(&hello, other, 3));
	hello.expires++;
	assert_false(wfs_hello_is_signed(&hello, key, 3));
	hello.expires--;
	hello.session++;
	assert_false(wfs_hello_is_signed(&hello, key, 3));
	hello.session--;
	hello.token[0] ^= 0x80;
	assert_false(wfs_hello_is_signed(&hello, key, 3));
}

static void what_is_no_hello_is_refused(void **state)
{
	struct wfs_hello hello = { .session = 1 };
	uint8_t bytes[WFS_HELLO_BYTES];

	(void)state;
	wfs_hello_put(&hello, bytes);
	assert_int_equal(wfs_hello_get(NULL, 0, &hello), -EBADMSG);
	assert_int_equal(wfs_hello_get(bytes, sizeof(bytes) - 1, &hello),
			 -EBADMSG);
	bytes[4]++;
	assert_int_equal(wfs_hello_get(bytes, sizeof(bytes), &hello), -EBADMSG);
	bytes[4]--;
	bytes[0] = 'w';
	assert_int_equal(wfs_hello_get(bytes, sizeof(bytes), &hello), -EBADMSG);
}

#define HEAD                                                                   \
	"{\"session\":5,\"expires\":6,\"lease_s\":7,\"key\":\""                \
	"000102030405060708090a0b0c0d0e0f"                                     \
	"101112131415161718191a1b1c1d1e1f\","
#define RAILS                                                                  \
	"\"rails\":[{\"address\":\"10.0.0.1\",\"port\":700},"                  \
	"{\"address\":\"fd00::1\",\"port\":701}],"
#define REGION(id, size, digests, keys)                                        \
	"{\"region\":\"" id "000102030405060708090a0b0c0d0e\",\"size\":" size  \
	",\"address\":4096,\"digests\":" digests ",\"rkeys\":[" keys "]}"

static int parse(const char *text, struct wfs_rdma_table *table)
{
	size_t len = strlen(text);
	char *copy wfs_autofree = wfs_calloc(1, len + WFS_JSON_PADDING);
	struct wfs_err err = { 0 };

	memcpy(copy, text, len + 1);
	return wfs_rdma_table_parse(copy, len, "seed 'x'", table, &err);
}

static void what_a_seed_tells_is_read(void **state)
{
	struct wfs_rdma_table table = { 0 };

	(void)state;
	assert_int_equal(
		parse(HEAD RAILS "\"regions\":[" REGION("ff", "100", "4224",
							"1,2") "," //
		      REGION("0f", "1048577", "1052736", "3,4294967295") "]}",
		      &table),
		0);
	assert_int_equal(table.session, 5);
	assert_int_equal(table.expires, 6);
	assert_int_equal(table.lease_ns, 7000000000);
	assert_int_equal(table.key[31], 0x1f);
	assert_int_equal(table.rail_count, 2);
	assert_string_equal(table.rails[1].address, "fd00::1");
	assert_int_equal(table.rails[1].port, 701);
	assert_int_equal(table.place_count, 2);
	assert_int_equal(table.places[0].id[0], 0x0f);
	assert_int_equal(table.places[0].rkeys[1], UINT32_MAX);
	assert_int_equal(table.places[1].address, 4096);
	assert_int_equal(table.places[1].digests, 4224);
	wfs_rdma_table_clear(&table);
}

static void what_cannot_be_true_is_refused(void **state)
{
	static const char *const bad[] = {
		"[]",
		"{}",
		"{\"session\":0}",
		HEAD "\"rails\":[],\"regions\":[]}",
		HEAD "\"rails\":[{\"address\":\"a\",\"port\":0}],"
		     "\"regions\":[]}",
		HEAD "\"rails\":[{\"address\":\"a\",\"port\":65536}],"
		     "\"regions\":[]}",
		HEAD "\"rails\":[{\"port\":1}],\"regions\":[]}",
		HEAD RAILS "\"regions\":{}}",
		HEAD RAILS "\"regions\":[7]}",
		/* of no bytes; a list within the bytes; wrapped round */
		HEAD RAILS
		"\"regions\":[" REGION("00", "0", "4224", "1,2") "]}",
		HEAD RAILS
		"\"regions\":[" REGION("00", "100", "4195", "1,2") "]}",
		HEAD RAILS "\"regions\":[" REGION("00", "18446744073709551615",
						  "4224", "1,2") "]}",
		HEAD RAILS "\"regions\":[" REGION(
			"00", "100", "18446744073709551615", "1,2") "]}",
		/* keys of another number of rails, or none */
		HEAD RAILS
		"\"regions\":[" REGION("00", "100", "4224", "1") "]}",
		HEAD RAILS "\"regions\":[" REGION("00", "100", "4224",
						  "1,4294967296") "]}",
		HEAD RAILS
		"\"regions\":[" REGION("0", "100", "4224", "1,2") "]}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct wfs_rdma_table table = { .session = 77 };

		if (parse(bad[i], &table) != -EBADMSG)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(table.session, 77);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hello_survives_its_bytes_and_padding),
		cmocka_unit_test(
			a_token_is_of_one_session_queue_pair_expiry_and_key),
		cmocka_unit_test(what_is_no_hello_is_refused),
		cmocka_unit_test(what_a_seed_tells_is_read),
		cmocka_unit_test(what_cannot_be_true_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
