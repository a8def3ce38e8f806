/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What strangers write in a request, taken apart.  Nothing here does I/O,
 * allocates or trusts its input; all texts are NUL-terminated.
 */
#ifndef WFS_TRANSPORT_SEED_PARSE_H
#define WFS_TRANSPORT_SEED_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WFS_WAIT_MAX_S 30

struct wfs_range {
	uint64_t off, len; /* bytes; len is never 0 */
};

/*
 * A Range header about `size` bytes, cut at its end.  -ENOENT: of another
 * unit than bytes, to be passed over; -EINVAL: malformed; -E2BIG: more than
 * one range; -ERANGE: nothing of it lies within.
 */
int wfs_range_parse(const char *text, uint64_t size,
		    struct wfs_range *ret_range);

/* What follows "Bearer " in an Authorization header, or NULL. */
const char *wfs_bearer_parse(const char *text);

/* Seconds, 0 to WFS_WAIT_MAX_S, fractions are fine: nanoseconds.  -EINVAL. */
int wfs_wait_parse(const char *text, uint64_t *ret_ns);

/* Digits alone, up to 2^31 - 1.  -EINVAL. */
int wfs_number_parse(const char *text, unsigned *ret_number);

/*
 * Is `tag` (without quotes) one of a list of entity tags, or the list "*"?
 * A weak tag is only taken where `weak`.
 */
bool wfs_etag_listed(const char *list, const char *tag, bool weak);

/* Is `word` one of those between commas, in whatever case? */
bool wfs_word_listed(const char *list, const char *word);

#endif
