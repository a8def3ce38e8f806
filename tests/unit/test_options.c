/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table: what each spelling sets, and what every mistake is told.
 */
#include "tests/unit/options_fixture.h"

#include <stdio.h>
#include <unistd.h>

#define S 1000000000ull

static void every_row_can_be_set_from_a_list(void **state)
{
	struct wfs_options *o = *state;

	set(o, "models=/m,model=a=/x,config=/c,arena_size=3G,passthrough=off,"
	       "open_wait=0.25,prefetch=1M,switch_after=7,rescan=0.5,"
	       "follow_links,noallow_other,nonempty,digests=off,hydrators=3,"
	       "readers=9,readahead=128K,trust=signed,log_level=debug,"
	       "layout=a@tp4,"
	       "layout=b@v1@tp2pp2+hf,plans=/p,engine=vllm-0.32,"
	       "part_size=1M,chunk_cache=7M,ranks=0-1,ranks=9");
	assert_string_equal("/m", o->models_dir);
	assert_int_equal(1, o->model_count);
	assert_string_equal("a", o->models[0].name);
	assert_string_equal("/x", o->models[0].dir);
	assert_string_equal("/c", o->config);
	assert_int_equal(3ull << 30, o->arena_size);
	assert_int_equal(WFS_WANT_OFF, o->passthrough);
	assert_int_equal(S / 4, o->open_wait_ns);
	assert_int_equal(1 << 20, o->prefetch);
	assert_int_equal(7 * S, o->switch_after_ns);
	assert_int_equal(S / 2, o->rescan_ns);
	assert_true(o->follow_links);
	assert_false(o->allow_other);
	assert_true(o->nonempty);
	assert_false(o->digests);
	assert_int_equal(3, o->hydrators);
	assert_int_equal(9, o->readers);
	assert_int_equal(128 << 10, o->readahead);
	assert_int_equal(WFS_TRUST_SIGNED, o->trust);
	assert_int_equal(WFS_LOG_DEBUG, o->log_level);
	assert_int_equal(2, o->layout_count);
	assert_string_equal("a@tp4", o->layouts[0]);
	assert_string_equal("b@v1@tp2pp2+hf", o->layouts[1]);
	assert_string_equal("/p", o->plans_dir);
	assert_string_equal("vllm-0.32", o->engine);
	assert_int_equal(1 << 20, o->part_size);
	assert_int_equal(7 << 20, o->chunk_cache);
	assert_true(o->ranks.named);
	assert_int_equal(0x203, o->ranks.bits[0]);
}

static void layouts_and_engines_are_well_formed(void **state)
{
	static const char *const bad[] = {
		"layout=a",	"layout=a@",	 "layout=@tp2",
		"layout=a@tp0", "layout=a@x2",	 "engine=",
		"engine=-0.32", "engine=vllm-x", "part_size=big",
	};
	struct wfs_err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(wfs_options_set_list(*state, bad[i], false,
						      &err),
				 -EINVAL);
}

static void every_row_has_a_key_and_a_help_of_its_own(void **state)
{
	(void)state;
	for (size_t i = 0; i < wfs_option_count; i++) {
		const struct wfs_option *row = &wfs_option_table[i];

		assert_ptr_equal(row, wfs_option_find(row->key));
		assert_true(row->help[0] != '\0');
		assert_true((row->kind == WFS_OPTION_SWITCH) == !row->arg);
	}
}

static void defaults_are_those_that_are_documented(void **state)
{
	struct wfs_options *o = *state;

	assert_null(o->models_dir);
	assert_int_equal(0, o->model_count);
	assert_int_equal(0, o->arena_size);
	assert_int_equal(0, o->chunk_cache);
	assert_true(wfs_rank_set_has(&o->ranks, 4095));
	assert_int_equal(WFS_WANT_AUTO, o->passthrough);
	assert_int_equal(2 * S, o->open_wait_ns);
	assert_int_equal(256ull << 20, o->prefetch);
	assert_int_equal(60 * S, o->switch_after_ns);
	assert_int_equal(512 << 20, o->part_size);
	assert_int_equal(0, o->layout_count);
	assert_null(o->engine);
	assert_int_equal(2 * S, o->rescan_ns);
	assert_int_equal(4ull << 20, o->readahead);
	assert_false(o->follow_links);
	assert_false(o->nonempty);
	assert_true(o->digests);
	assert_int_equal(geteuid() == 0, o->allow_other);
	assert_int_equal(WFS_TRUST_SEED, o->trust);
	assert_int_equal(WFS_LOG_INFO, o->log_level);
}

static void words_of_fstab_are_accepted_and_change_nothing(void **state)
{
	struct wfs_options *o = *state;
	struct wfs_options before = *o;

	set(o, "defaults,ro,rw,auto,noauto,user,users,nouser,nofail,_netdev,"
	       "x-systemd.automount,comment=some words,nosuid,nodev,noexec,"
	       "noatime,relatime,dev,suid,exec,fsname=x,subtype=y,");
	assert_memory_equal(&before, o, sizeof(before));
}

static void an_unknown_key_is_named(void **state)
{
	assert_refused(*state, "allow_other,arena_sice=3G", "'arena_sice'");
	assert_refused(*state, "nomodels", "'nomodels'");
	assert_refused(*state, "=3", "''");
}

static void sloppy_leaves_out_unknown_keys_only(void **state)
{
	struct wfs_options *o = *state;
	struct wfs_err err = { 0 };

	assert_int_equal(0,
			 wfs_options_set_list(o, "speed=9,nospeed,prefetch=1",
					      true, &err));
	assert_int_equal(1, o->prefetch);
	assert_int_equal(-EINVAL,
			 wfs_options_set_list(o, "prefetch=x", true, &err));
}

static void a_value_that_is_none_is_named_with_its_key(void **state)
{
	assert_refused(*state, "arena_size=much", "'arena_size'", "'much'");
	assert_refused(*state, "open_wait=-1", "'open_wait'", "'-1'");
	assert_refused(*state, "open_wait=.", "'open_wait'");
	assert_refused(*state, "open_wait=99999999999", "'open_wait'");
	assert_refused(*state, "rescan=0", "'rescan'", "0.01");
	assert_refused(*state, "hydrators=0", "'hydrators'", "1 to 1024");
	assert_refused(*state, "readers=4294967297", "'readers'");
	assert_refused(*state, "passthrough=maybe", "auto, on, off");
	assert_refused(*state, "trust=blind", "none, seed, origin, signed");
	assert_refused(*state, "log_level=loud", "error, warn, info, debug");
	assert_refused(*state, "digests=perhaps", "'perhaps'", "on nor off");
	assert_refused(*state, "ranks=3-1", "'ranks'", "0-3");
	assert_refused(*state, "ranks=4096", "'ranks'");
	assert_refused(*state, "ranks=1x", "'ranks'");
	assert_refused(*state, "models=", "'models'", "path");
	assert_refused(*state, "models", "'models'", "models=DIR");
}

static void a_refused_value_leaves_the_option_alone(void **state)
{
	struct wfs_options *o = *state;

	set(o, "prefetch=5,models=/a");
	assert_refused(o, "prefetch=x", "'x'");
	assert_refused(o, "models=", "path");
	assert_int_equal(5, o->prefetch);
	assert_string_equal("/a", o->models_dir);
}

static void a_comma_in_a_value_can_be_escaped(void **state)
{
	struct wfs_options *o = *state;

	set(o, "models=/a\\,b\\\\c,prefetch=7");
	assert_string_equal("/a,b\\c", o->models_dir);
	assert_int_equal(7, o->prefetch);
}

static void a_model_is_split_at_its_first_equals(void **state)
{
	struct wfs_options *o = *state;

	set(o, "model=a=/x=y,model=b=/z");
	assert_int_equal(2, o->model_count);
	assert_string_equal("/x=y", o->models[0].dir);
	set(o, "model=a=/w");
	assert_int_equal(2, o->model_count);
	assert_string_equal("/w", o->models[0].dir);
	assert_refused(o, "model=a", "NAME=DIR");
	assert_refused(o, "model=a=", "NAME=DIR");
}

static void a_model_name_keeps_the_rules_of_a_file_name(void **state)
{
	char list[300];

	assert_refused(*state, "model==/x", "model");
	assert_refused(*state, "model=a/b=/x", "'a/b'", "'/'");
	assert_refused(*state, "model=..=/x", "name");
	assert_refused(*state, "model=.weightfs=/x", "name");
	assert_refused(*state, "model=a@tp2=/x", "'@'");
	snprintf(list, sizeof(list), "model=%0256d=/x", 0);
	assert_refused(*state, list, "255 bytes");
	snprintf(list, sizeof(list), "model=%0255d=/x", 0);
	set(*state, list);
}

static void a_relative_directory_is_made_absolute(void **state)
{
	struct wfs_options *o = *state;
	char *cwd wfs_autofree = getcwd(NULL, 0);
	char *want wfs_autofree = wfs_asprintf("%s/a/b", cwd);

	set(o, "models=./a//b/");
	assert_string_equal(want, o->models_dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TO(every_row_can_be_set_from_a_list),
		T(every_row_has_a_key_and_a_help_of_its_own),
		TO(layouts_and_engines_are_well_formed),
		TO(defaults_are_those_that_are_documented),
		TO(words_of_fstab_are_accepted_and_change_nothing),
		TO(an_unknown_key_is_named),
		TO(sloppy_leaves_out_unknown_keys_only),
		TO(a_value_that_is_none_is_named_with_its_key),
		TO(a_refused_value_leaves_the_option_alone),
		TO(a_comma_in_a_value_can_be_escaped),
		TO(a_model_is_split_at_its_first_equals),
		TO(a_model_name_keeps_the_rules_of_a_file_name),
		TO(a_relative_directory_is_made_absolute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
