/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trust classes, and what a source is worth.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/digest/trust.h"
#include "tests/unit/memory_source.h"

static void every_class_is_its_word_and_in_order(void **state)
{
	static const char *const words[] = { "none", "seed", "origin",
					     "signed" };
	enum wfs_trust trust;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(wfs_trust_parse(words[i], &trust), 0);
		assert_int_equal(trust, i);
		assert_string_equal(wfs_trust_name(trust), words[i]);
	}
	assert_true(WFS_TRUST_NONE < WFS_TRUST_SEED);
	assert_true(WFS_TRUST_SEED < WFS_TRUST_ORIGIN);
	assert_true(WFS_TRUST_ORIGIN < WFS_TRUST_SIGNED);
}

static void no_other_word_is_a_class(void **state)
{
	static const char *const words[] = { "", "Seed", "seed ", "sig", "0" };
	enum wfs_trust trust = WFS_TRUST_ORIGIN;

	(void)state;
	for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++)
		assert_int_equal(wfs_trust_parse(words[i], &trust), -EINVAL);
	assert_int_equal(trust, WFS_TRUST_ORIGIN);
}

static void a_source_is_refused_that_is_worth_less(void **state)
{
	static const unsigned char bytes[] = "x";
	struct memory_source *m = memory_source_new(bytes, 1);
	struct wfs_err err = { 0 };

	(void)state;
	for (int class = WFS_TRUST_NONE; class <= WFS_TRUST_SIGNED; class ++) {
		m->trust = (enum wfs_trust) class;
		assert_int_equal(wfs_region_trust(&m->region), class);
		assert_int_equal(wfs_source_trust(&m->base), class);
		for (int least = WFS_TRUST_NONE; least <= WFS_TRUST_SIGNED;
		     least++)
			assert_int_equal(wfs_source_check_trust(
						 &m->base,
						 (enum wfs_trust)least, &err),
					 class < least ? -EPERM : 0);
	}
	m->trust = WFS_TRUST_SEED;
	wfs_source_check_trust(&m->base, WFS_TRUST_ORIGIN, &err);
	assert_non_null(strstr(err.text, "trust class is 'seed'"));
	assert_non_null(strstr(err.text, "trust=origin"));
	wfs_source_put(&m->base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_class_is_its_word_and_in_order),
		T(no_other_word_is_a_class),
		T(a_source_is_refused_that_is_worth_less),
	};

	return cmocka_run_group_tests_name("trust", tests, NULL, NULL);
}
