/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns of names.  One place to go back to is enough for '*'; numbers are
 * taken whole, so that no text can ask for exponential work.
 */
#include "core/plan/evaluate.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool wfs_glob(const char *s, const char *pattern)
{
	const char *star = NULL, *back = NULL;

	while (*s) {
		if (*pattern == '*') {
			star = pattern++;
			back = s;
		} else if (*pattern == WFS_GLOB_DIGITS && is_digit(*s)) {
			while (is_digit(*s))
				s++;
			pattern++;
		} else if (*pattern == *s) {
			pattern++;
			s++;
		} else if (star) {
			pattern = star + 1;
			s = ++back;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}
