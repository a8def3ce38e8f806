/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and checking the two patterns.  The pattern of a directory is
 * decided by its files, and a set with a hole in it is refused: an engine
 * would load what is there and miss the rest late.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/sharded_state.h"

static bool take_word(const char **at, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*at, word, len))
		return false;
	*at += len;
	return true;
}

static bool take_number(const char **at, uint32_t *ret)
{
	const char *s = *at;
	uint64_t n = 0;

	if (*s < '0' || *s > '9')
		return false;
	if (*s == '0' && s[1] >= '0' && s[1] <= '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++) {
		n = n * 10 + (uint64_t)(*s - '0');
		if (n > UINT32_MAX)
			return false;
	}
	*at = s;
	*ret = (uint32_t)n;
	return true;
}

int wfs_sharded_parse(const char *file, struct wfs_sharded_name *ret)
{
	struct wfs_sharded_name name = { .tag = ret->tag };
	const char *at = file;
	bool ok;

	if (!take_word(&at, "model-"))
		return -EINVAL;
	if (take_word(&at, "rank-")) {
		ok = take_number(&at, &name.tp);
	} else {
		name.pipeline = true;
		ok = take_word(&at, "pp-") && take_number(&at, &name.pp) &&
		     take_word(&at, "-tp-") && take_number(&at, &name.tp);
	}
	ok = ok && take_word(&at, "-part-") && take_number(&at, &name.part);
	if (!ok || strcmp(at, ".safetensors"))
		return -EINVAL;
	*ret = name;
	return 0;
}

void wfs_sharded_file_name(const struct wfs_sharded_name *n, char *buf,
			   size_t size)
{
	if (n->pipeline)
		snprintf(buf, size,
			 "model-pp-%" PRIu32 "-tp-%" PRIu32 "-part-%" PRIu32
			 ".safetensors",
			 n->pp, n->tp, n->part);
	else
		snprintf(buf, size,
			 "model-rank-%" PRIu32 "-part-%" PRIu32 ".safetensors",
			 n->tp, n->part);
}

void wfs_sharded_rank_name(const struct wfs_sharded_name *name, char *buf,
			   size_t size)
{
	if (name->pipeline)
		snprintf(buf, size, "pp-%" PRIu32 "-tp-%" PRIu32, name->pp,
			 name->tp);
	else
		snprintf(buf, size, "%" PRIu32, name->tp);
}

static int by_place(const void *a, const void *b)
{
	const struct wfs_sharded_name *x = a, *y = b;

	if (x->pp != y->pp)
		return x->pp < y->pp ? -1 : 1;
	if (x->tp != y->tp)
		return x->tp < y->tp ? -1 : 1;
	return x->part < y->part ? -1 : x->part > y->part;
}

static int missing(const struct wfs_sharded_name *next,
		   const struct wfs_sharded_name *seen, const char *dir,
		   struct wfs_err *err)
{
	char gone[WFS_SHARDED_FILE_BYTES], there[WFS_SHARDED_FILE_BYTES];

	wfs_sharded_file_name(next, gone, sizeof(gone));
	wfs_sharded_file_name(seen, there, sizeof(there));
	return wfs_err_set(err, -ENOENT,
			   "'%s': ranks and parts are not contiguous: '%s' is "
			   "missing although '%s' is there",
			   dir, gone, there);
}

/* The first part of the rank after this one's. */
static struct wfs_sharded_name next_rank(const struct wfs_sharded_name *n,
					 uint32_t last_tp)
{
	struct wfs_sharded_name next = { .pipeline = n->pipeline };

	next.pp = n->tp < last_tp ? n->pp : n->pp + 1;
	next.tp = n->tp < last_tp ? n->tp + 1 : 0;
	return next;
}

int wfs_sharded_arrange(struct wfs_sharded_name *names, size_t count, bool some,
			const char *dir, uint32_t *ret_ranks,
			struct wfs_err *err)
{
	struct wfs_sharded_name next = { .pipeline = names[0].pipeline };
	uint32_t last_tp = 0, last_pp = 0, rank = 0;

	for (size_t i = 0; i < count; i++) {
		if (names[i].pipeline != names[0].pipeline)
			return wfs_err_set(err, -EINVAL,
					   "'%s': files of both patterns "
					   "model-rank-… and model-pp-…-tp-…: "
					   "keep those of one",
					   dir);
		last_tp = names[i].tp > last_tp ? names[i].tp : last_tp;
		last_pp = names[i].pp > last_pp ? names[i].pp : last_pp;
	}
	qsort(names, count, sizeof(*names), by_place);
	for (size_t i = 0; i < count; i++) {
		struct wfs_sharded_name *n = &names[i];
		bool same = i && n->pp == n[-1].pp && n->tp == n[-1].tp;

		if (same) {
			next = n[-1];
			next.part++;
		} else if (some) {
			next = *n;
			next.part = 0;
		} else if (i) {
			next = next_rank(&n[-1], last_tp);
		}
		rank += i && !same;
		if (by_place(n, &next))
			return missing(&next, n, dir, err);
		n->rank = rank;
	}
	if (!some && (names[count - 1].pp != last_pp ||
		      names[count - 1].tp != last_tp)) {
		next = next_rank(&names[count - 1], last_tp);
		return missing(&next, &names[0], dir, err);
	}
	*ret_ranks = rank + 1;
	return 0;
}
