/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of a seed, which share a table with those of a mount.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tests/unit/scratch.h"
#include "tools/config.h"
#include "tools/options.h"

static void set(struct wfs_options *o, const char *list)
{
	struct wfs_err err = { 0 };

	if (wfs_options_set_list(o, list, false, &err))
		fail_msg("'%s' was refused: %s", list, err.text);
}

static void refused(struct wfs_options *o, const char *list, const char *word)
{
	struct wfs_err err = { 0 };

	assert_int_equal(wfs_options_set_list(o, list, false, &err), -EINVAL);
	if (!strstr(err.text, word))
		fail_msg("no '%s' in: %s", word, err.text);
}

static void an_option_of_another_command_is_refused(void **state)
{
	struct wfs_options o;

	(void)state;
	wfs_options_init(&o);
	refused(&o, "listen=:1", "'listen' is not one of a mount");
	o.command = WFS_FOR_SEED;
	refused(&o, "arena_size=1G", "'arena_size' is not one of a seed");
	refused(&o, "serve=:1", "'serve' is not one of a seed");
	wfs_options_clear(&o);
}

static void a_mount_and_a_seed_listen_alike(void **state)
{
	struct wfs_options o;

	(void)state;
	wfs_options_init(&o);
	set(&o, "serve=127.0.0.1:0,rate=5M,connections=7,token_file=/t,"
		"tls_cert=/c,tls_key=/k,tls_client_ca=/a,client_timeout=2,"
		"connections_per_client=3,digest_cache=/d,insecure,"
		"same_host=off");
	assert_string_equal("127.0.0.1:0", o.listen);
	assert_int_equal(5 << 20, o.rate);
	assert_int_equal(7, o.connections);
	assert_int_equal(3, o.per_client);
	assert_int_equal(2000000000, o.client_timeout_ns);
	assert_string_equal("/t", o.token_file);
	assert_string_equal("/c", o.tls_cert);
	assert_string_equal("/k", o.tls_key);
	assert_string_equal("/a", o.tls_client_ca);
	assert_string_equal("/d", o.digest_cache);
	assert_true(o.insecure);
	assert_false(o.same_host);
	o.command = WFS_FOR_SEED;
	set(&o, "listen=[::1]:99");
	assert_string_equal("[::1]:99", o.listen);
	wfs_options_clear(&o);
}

static void an_address_to_listen_at_is_checked(void **state)
{
	static const char *const bad[] = { "serve=",	  "serve=a:b",
					   "serve=a:",	  "serve=a:65536",
					   "serve=::1",	  "serve=[::1",
					   "serve=a:1:2", "serve=[::1]7" };
	static const char *const good[] = { "serve=:7420", "serve=host",
					    "serve=[::1]", "serve=1.2.3.4:0" };
	struct wfs_options o;

	(void)state;
	wfs_options_init(&o);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused(&o, bad[i], "ADDR:PORT");
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		set(&o, good[i]);
	wfs_options_clear(&o);
}

static void one_config_file_may_be_for_both(void **state)
{
	struct wfs_err err = { 0 };
	struct wfs_options o;
	char *path;

	scratch_write(*state, "weightfs.conf",
		      "[mount]\narena_size = 1G\n[seed]\nlisten = :9\n", 0);
	path = scratch_path(*state, "weightfs.conf");
	wfs_options_init(&o);
	assert_int_equal(wfs_config_read(path, &o, &err), 0);
	assert_int_equal(o.arena_size, 1ull << 30);
	assert_null(o.listen);
	wfs_options_clear(&o);
	wfs_options_init(&o);
	o.command = WFS_FOR_SEED;
	assert_int_equal(wfs_config_read(path, &o, &err), 0);
	assert_int_equal(o.arena_size, 0);
	assert_string_equal(o.listen, ":9");
	wfs_options_clear(&o);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_option_of_another_command_is_refused),
		T(a_mount_and_a_seed_listen_alike),
		T(an_address_to_listen_at_is_checked),
		cmocka_unit_test_setup_teardown(one_config_file_may_be_for_both,
						scratch_setup,
						scratch_teardown),
	};

	return cmocka_run_group_tests_name("seed_options", tests, NULL, NULL);
}
