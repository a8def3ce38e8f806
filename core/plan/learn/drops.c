/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors of the checkpoint that no example has: dropped, by patterns that
 * no tensor in use fits.
 */
#include <string.h>

#include "core/plan/learn/write.h"

static bool is_free(const struct wfs_learn *k, const char *pattern)
{
	const struct wfs_rank *base = &k->base->ranks[0];

	for (uint32_t i = 0; i < base->count; i++)
		if (k->used[i] && wfs_glob(base->tensors[i].name, pattern))
			return false;
	return true;
}

/* Numbers as any number, or all after the first number as any text. */
static char *widen(struct wfs_pool *pool, const char *name, bool tail)
{
	char *pattern = wfs_pool_alloc(pool, strlen(name) + 3, 0), *to;
	const char *from = name, *at, *end;
	int64_t value;

	to = pattern;
	while ((at = wfs_learn_digits(from, &value, &end))) {
		if (tail) {
			memcpy(pattern, name, (size_t)(end - name));
			strcpy(pattern + (end - name), ".*");
			return pattern;
		}
		memcpy(to, from, (size_t)(at - from));
		to += at - from;
		*to++ = WFS_GLOB_DIGITS;
		from = end;
	}
	strcpy(to, from);
	return pattern;
}

static void add_drop(const struct wfs_learn *k, const char *pattern,
		     struct wfs_text *text)
{
	const char *index = "l";

	for (uint32_t i = 0; i < k->domain_count; i++)
		if (k->domains[i].pipeline || !strcmp(k->domains[i].name, "l"))
			index = k->domains[i].name;
	wfs_text_add(text, "drop \"");
	for (; *pattern; pattern++) {
		if (*pattern == WFS_GLOB_DIGITS)
			wfs_text_add(text, "{%s}", index);
		else
			wfs_text_add_bytes(text, pattern, 1);
	}
	wfs_text_add(text, "\" optional\n");
}

void wfs_learn_drops(struct wfs_learn *k, struct wfs_text *text)
{
	const struct wfs_rank *base = &k->base->ranks[0];

	for (uint32_t i = 0; i < base->count; i++) {
		const char *name = base->tensors[i].name;
		struct wfs_pool pool = { 0 };
		const char *pattern;

		/* One that cannot be written is left, and found uncovered. */
		if (k->used[i] || !wfs_write_possible(name))
			continue;
		pattern = k->domain_count ? widen(&pool, name, false) : name;
		if (!is_free(k, pattern))
			pattern = widen(&pool, name, true);
		if (!is_free(k, pattern))
			pattern = name;
		add_drop(k, pattern, text);
		wfs_learn_note(k,
			       k->out->unexplained_count ?
				       "'%s' of the checkpoint is in nothing "
				       "that is explained: dropped" :
				       "'%s' of the checkpoint is in no "
				       "example: dropped",
			       name);
		for (uint32_t j = i; j < base->count; j++)
			if (wfs_glob(base->tensors[j].name, pattern))
				k->used[j] = true;
		wfs_pool_clear(&pool);
	}
}
