/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of places that a model may have, and which of them has its name.
 *
 * A name is one version of a model at a time, that of one place.  What a
 * directory of models holds is that alone.  Otherwise it is the version of the
 * seeds as long as they offer one, since it is their digests that bytes of
 * other places can be held against; without them that of the disk or of the
 * origin, whichever is preferred.  Which place the bytes are taken from is
 * another matter.
 */
#ifndef WFS_TOOLS_PLACES_H
#define WFS_TOOLS_PLACES_H

#include <stdbool.h>

enum wfs_place {
	WFS_PLACE_SEED,
	WFS_PLACE_DISK,
	WFS_PLACE_ORIGIN,
	WFS_PLACE_FOUND, /* in a directory of models; nobody gives it by hand */
};

#define WFS_PLACES 3 /* that can be preferred */

/* Those whose bytes are taken first, first. */
struct wfs_prefer {
	enum wfs_place order[WFS_PLACES];
};

#define WFS_PREFER_USUAL                                                       \
	{                                                                      \
		{                                                              \
			WFS_PLACE_SEED, WFS_PLACE_DISK, WFS_PLACE_ORIGIN       \
		}                                                              \
	}

/* "seed", "disk", "origin" */
const char *wfs_place_text(enum wfs_place place);

/*
 * Reads words between commas or colons; what is not named comes behind, in
 * the usual order.  -EINVAL.
 */
int wfs_prefer_parse(const char *text, struct wfs_prefer *ret);
/* 0 is the first. */
unsigned wfs_prefer_rank(const struct wfs_prefer *prefer, enum wfs_place place);

struct wfs_places;

struct wfs_places *wfs_places_new(const struct wfs_prefer *prefer);
void wfs_places_free(struct wfs_places *places); /* NULL is fine */

/* Without places (NULL) every name is whoever's who asks. */

/* Has no better place a model of that name?  From any thread. */
bool wfs_places_may(struct wfs_places *places, const char *name,
		    enum wfs_place place);
/* The same of a place that has one, as is remembered; at each look. */
bool wfs_places_claim(struct wfs_places *places, const char *name,
		      enum wfs_place place);
/* It has none any more: true when nobody else has one either. */
bool wfs_places_leave(struct wfs_places *places, const char *name,
		      enum wfs_place place);

#endif
