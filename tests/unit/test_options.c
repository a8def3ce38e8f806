/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table: what each spelling sets, and what every mistake is told.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tools/config.h"
#include "tools/options.h"

#define S 1000000000ull

static int make(void **state)
{
	struct wfs_options *o = wfs_calloc(1, sizeof(*o));

	wfs_options_init(o);
	*state = o;
	return 0;
}

static int drop(void **state)
{
	wfs_options_clear(*state);
	free(*state);
	return 0;
}

#define TO(name) cmocka_unit_test_setup_teardown(name, make, drop)

/* Sets a list and expects it to be refused with all the words given. */
#define assert_refused(o, list, ...)                                           \
	do {                                                                   \
		const char *words_[] = { __VA_ARGS__ };                        \
		struct wfs_err err_ = { 0 };                                   \
                                                                               \
		assert_int_equal(-EINVAL,                                      \
				 wfs_options_set_list(o, list, false, &err_)); \
		for (size_t i_ = 0; i_ < sizeof(words_) / sizeof(words_[0]);   \
		     i_++)                                                     \
			if (!strstr(err_.text, words_[i_]))                    \
				fail_msg("no '%s' in: %s", words_[i_],         \
					 err_.text);                           \
	} while (0)

static void set(struct wfs_options *o, const char *list)
{
	struct wfs_err err = { 0 };

	if (wfs_options_set_list(o, list, false, &err))
		fail_msg("'%s' was refused: %s", list, err.text);
}

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

static void a_url_may_have_the_root_of_its_bytes(void **state)
{
	struct wfs_options *o = *state;

	set(o, "model=a=http://h/v1/models/x#sha256:"
	       "00112233445566778899aabbccddeeff"
	       "00112233445566778899AABBCCDDEEFF,model=b=http://h");
	assert_string_equal("http://h/v1/models/x", o->models[0].dir);
	assert_true(o->models[0].pinned);
	assert_int_equal(0x11, o->models[0].root[1]);
	assert_int_equal(0xff, o->models[0].root[31]);
	assert_false(o->models[1].pinned);
	assert_refused(o, "model=a=http://h#sha256:0011", "64 hex digits");
	assert_refused(o, "model=c=http://h#", "64 hex digits");
	assert_string_equal("http://h/v1/models/x", o->models[0].dir);
	assert_int_equal(2, o->model_count);
	/* Of a directory it is part of the name. */
	set(o, "model=c=/x#sha256:1");
	assert_string_equal("/x#sha256:1", o->models[2].dir);
	assert_false(o->models[2].pinned);
}

static void a_model_has_a_place_of_each_kind(void **state)
{
	struct wfs_options *o = *state;

	set(o, "model=a=http://h,model=a=/x,model=a=https://h/a/,"
	       "model=a=/y,model=a=s3://bucket/p,model=a=http://g:1");
	assert_int_equal(3, o->model_count);
	assert_string_equal("http://g:1", o->models[0].dir);
	assert_int_equal(WFS_PLACE_SEED, o->models[0].place);
	assert_string_equal("/y", o->models[1].dir);
	assert_int_equal(WFS_PLACE_DISK, o->models[1].place);
	assert_string_equal("s3://bucket/p", o->models[2].dir);
	assert_int_equal(WFS_PLACE_ORIGIN, o->models[2].place);
}

static void a_digest_is_that_of_the_name_wherever_it_is(void **state)
{
#define ROOT "0011223344556677889900112233445500112233445566778899001122334455"
	struct wfs_options *o = *state;

	set(o, "model=a=http://h,model=a=/x,model=a=https://h/a/#sha256:" ROOT);
	assert_int_equal(0x11,
			 wfs_option_root(o->models, o->model_count, "a")[1]);
	assert_null(wfs_option_root(o->models, o->model_count, "b"));
	set(o, "model=a=http://h#sha256:" ROOT);
	assert_refused(o, "model=a=http://h#sha256:ff" ROOT, "64 hex digits");
	assert_refused(o,
		       "model=a=http://h#sha256:"
		       "ff112233445566778899001122334455"
		       "00112233445566778899001122334455",
		       "'a'", "another digest");
	assert_int_equal(3, o->model_count);
#undef ROOT
}

static void what_the_order_leaves_out_comes_last(void **state)
{
	struct wfs_options *o = *state;

	assert_int_equal(0, wfs_prefer_rank(&o->prefer, WFS_PLACE_SEED));
	assert_int_equal(1, wfs_prefer_rank(&o->prefer, WFS_PLACE_DISK));
	assert_int_equal(2, wfs_prefer_rank(&o->prefer, WFS_PLACE_ORIGIN));
	set(o, "prefer=origin");
	assert_int_equal(0, wfs_prefer_rank(&o->prefer, WFS_PLACE_ORIGIN));
	assert_int_equal(1, wfs_prefer_rank(&o->prefer, WFS_PLACE_SEED));
	/* A list after -o may do without backslashes. */
	set(o, "prefer=disk:origin");
	assert_int_equal(0, wfs_prefer_rank(&o->prefer, WFS_PLACE_DISK));
	assert_int_equal(1, wfs_prefer_rank(&o->prefer, WFS_PLACE_ORIGIN));
	assert_int_equal(2, wfs_prefer_rank(&o->prefer, WFS_PLACE_SEED));
	set(o, "prefer=disk\\,seed\\,origin");
	assert_int_equal(1, wfs_prefer_rank(&o->prefer, WFS_PLACE_SEED));
	assert_refused(o, "prefer=disk:disk", "each once");
	assert_refused(o, "prefer=tape", "'tape'", "seed, disk and origin");
	assert_refused(o, "prefer=disk:", "'disk:'");
	assert_refused(o, "prefer=", "''");
	assert_int_equal(0, wfs_prefer_rank(&o->prefer, WFS_PLACE_DISK));
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

/* Reads `text` as a config file; the message is put into `err`. */
static int read_config(struct wfs_options *o, const char *text,
		       struct wfs_err *err)
{
	char path[] = "/tmp/weightfs-test-XXXXXX";
	int fd = mkstemp(path);
	int rc;

	assert_true(fd >= 0);
	assert_int_equal(strlen(text), write(fd, text, strlen(text)));
	close(fd);
	rc = wfs_config_read(path, o, err);
	unlink(path);
	return rc;
}

static void a_config_file_takes_the_same_keys(void **state)
{
	struct wfs_options *o = *state;
	struct wfs_err err = { 0 };

	assert_int_equal(0, read_config(o,
					"# comment\n\n[mount]\n"
					"models = /m\nmodel = a=/x\n"
					"  model = b=/y ; why\n"
					"follow_links = yes\n"
					"allow_other = no\nprefetch=3K\n",
					&err));
	assert_string_equal("/m", o->models_dir);
	assert_int_equal(2, o->model_count);
	assert_string_equal("/y", o->models[1].dir);
	assert_true(o->follow_links);
	assert_false(o->allow_other);
	assert_int_equal(3072, o->prefetch);
}

static void a_mistake_in_a_config_file_is_named_with_its_line(void **state)
{
	static const struct {
		const char *text, *word, *line;
	} cases[] = {
		{ "[mount]\nmodells=/m\n", "'modells'", "line 2:" },
		{ "[mount]\n\nprefetch=x\n", "'x'", "line 3:" },
		{ "[mount]\nwhat is this\n", "key = value", "line 2:" },
		{ "[mounts]\nmodels=/m\n", "'mounts'", "line 2:" },
		{ "models=/m\n", "[mount]", "line 1:" },
		{ "[mount]\nconfig=/c\n", "another", "line 2:" },
		{ "[mount]\nrw\n", "line 2", "line 2:" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wfs_err err = { 0 };

		assert_int_equal(-EINVAL,
				 read_config(*state, cases[i].text, &err));
		if (!strstr(err.text, cases[i].word) ||
		    !strstr(err.text, cases[i].line))
			fail_msg("no %s or %s in: %s", cases[i].word,
				 cases[i].line, err.text);
	}
}

static void a_long_line_of_a_config_file_is_refused_not_cut(void **state)
{
	struct wfs_options *o = *state;
	struct wfs_err err = { 0 };
	char text[9000];

	memset(text, 'x', sizeof(text));
	memcpy(text, "[mount]\nmodels=/", 16);
	text[sizeof(text) - 2] = '\n';
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(-EINVAL, read_config(o, text, &err));
	assert_non_null(strstr(err.text, "line 2: longer than"));
	assert_null(o->models_dir);
}

static void a_config_file_that_is_missing_is_named(void **state)
{
	struct wfs_err err = { 0 };

	assert_int_equal(-ENOENT,
			 wfs_config_read("/nonexistent/x", *state, &err));
	assert_non_null(strstr(err.text, "'/nonexistent/x'"));
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
		TO(a_url_may_have_the_root_of_its_bytes),
		TO(a_refused_value_leaves_the_option_alone),
		TO(a_model_has_a_place_of_each_kind),
		TO(a_digest_is_that_of_the_name_wherever_it_is),
		TO(what_the_order_leaves_out_comes_last),
		TO(a_comma_in_a_value_can_be_escaped),
		TO(a_model_is_split_at_its_first_equals),
		TO(a_model_name_keeps_the_rules_of_a_file_name),
		TO(a_relative_directory_is_made_absolute),
		TO(a_config_file_takes_the_same_keys),
		TO(a_mistake_in_a_config_file_is_named_with_its_line),
		TO(a_long_line_of_a_config_file_is_refused_not_cut),
		TO(a_config_file_that_is_missing_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
