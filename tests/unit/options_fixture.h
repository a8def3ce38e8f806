/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options as they are before anything was said, for one test.
 */
#ifndef WFS_TESTS_UNIT_OPTIONS_FIXTURE_H
#define WFS_TESTS_UNIT_OPTIONS_FIXTURE_H

#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/options.h"

static inline int options_make(void **state)
{
	struct wfs_options *o = wfs_calloc(1, sizeof(*o));

	wfs_options_init(o);
	*state = o;
	return 0;
}

static inline int options_drop(void **state)
{
	wfs_options_clear(*state);
	free(*state);
	return 0;
}

#define TO(name)                                                               \
	cmocka_unit_test_setup_teardown(name, options_make, options_drop)

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

static inline void set(struct wfs_options *o, const char *list)
{
	struct wfs_err err = { 0 };

	if (wfs_options_set_list(o, list, false, &err))
		fail_msg("'%s' was refused: %s", list, err.text);
}

#endif
