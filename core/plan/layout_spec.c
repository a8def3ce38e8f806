/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a layout and its ranks are written: tp4, tp2pp2, with +hf, or hf; and an
 * engine: vllm-0.32.
 */
#include <errno.h>
#include <string.h>

#include "core/plan/inner.h"

static bool take_number(const char **at, const char *word, unsigned *ret)
{
	const char *s = *at;
	unsigned n = 0;

	if (strncmp(s, word, 2))
		return false;
	s += 2;
	if (*s < '1' || *s > '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++) {
		n = n * 10 + (unsigned)(*s - '0');
		if (n > WFS_LAYOUT_MAX)
			return false;
	}
	*at = s;
	*ret = n;
	return true;
}

static bool take_rank(const char **at, unsigned *ret)
{
	const char *s = *at;
	unsigned n = 0;

	for (; *s >= '0' && *s <= '9' && n < WFS_LAYOUT_MAX; s++)
		n = n * 10 + (unsigned)(*s - '0');
	if (s == *at || n >= WFS_LAYOUT_MAX)
		return false;
	*at = s;
	*ret = n;
	return true;
}

int wfs_rank_set_add(struct wfs_rank_set *set, const char *text)
{
	unsigned first, last;

	if (!take_rank(&text, &first))
		return -EINVAL;
	last = first;
	if (*text == '-') {
		text++;
		if (!take_rank(&text, &last))
			return -EINVAL;
	}
	if (*text || last < first)
		return -EINVAL;
	set->named = true;
	for (unsigned i = first; i <= last; i++)
		set->bits[i / 64] |= 1ull << i % 64;
	return 0;
}

int wfs_layout_parse(const char *text, struct wfs_layout_spec *ret_spec)
{
	struct wfs_layout_spec spec = { .tp = 1, .pp = 1 };

	if (!strcmp(text, "hf")) {
		spec.hf = spec.whole = true;
		*ret_spec = spec;
		return 0;
	}
	if (!take_number(&text, "tp", &spec.tp))
		return -EINVAL;
	if (*text == 'p' && !take_number(&text, "pp", &spec.pp))
		return -EINVAL;
	if (!strcmp(text, "+hf"))
		spec.hf = true;
	else if (*text)
		return -EINVAL;
	if (spec.tp * spec.pp > WFS_LAYOUT_MAX)
		return -EINVAL;
	*ret_spec = spec;
	return 0;
}

int wfs_engine_parse(const char *text, struct wfs_engine *ret_engine,
		     struct wfs_err *err)
{
	size_t len = strcspn(text, "-");
	const char *version = text[len] ? &text[len + 1] : NULL;

	if (!len || (version && (*version < '0' || *version > '9')))
		return wfs_err_set(err, -EINVAL,
				   "'%s' is no engine: write NAME or "
				   "NAME-VERSION, such as vllm-0.32",
				   text);
	*ret_engine = (struct wfs_engine){ text, len, version };
	return 0;
}
