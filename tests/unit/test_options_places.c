/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options that are more than a value: the places of a model, their order, and
 * the config file, which takes them all.
 */
#include "tests/unit/options_fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "tools/config.h"

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
		TO(a_url_may_have_the_root_of_its_bytes),
		TO(a_model_has_a_place_of_each_kind),
		TO(a_digest_is_that_of_the_name_wherever_it_is),
		TO(what_the_order_leaves_out_comes_last),
		TO(a_config_file_takes_the_same_keys),
		TO(a_mistake_in_a_config_file_is_named_with_its_line),
		TO(a_long_line_of_a_config_file_is_refused_not_cut),
		TO(a_config_file_that_is_missing_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
