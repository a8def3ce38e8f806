/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See places.h.  A node has tens of names, so they lie in a plain array.
 */
#include "tools/places.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "core/base/mem.h"

struct name {
	char *name;
	unsigned has; /* a bit for each place */
};

struct wfs_places {
	struct wfs_prefer prefer;
	pthread_mutex_t lock;
	struct name *names;
	size_t count;
};

static const char *const words[WFS_PLACES] = { "seed", "disk", "origin" };

const char *wfs_place_text(enum wfs_place place)
{
	return words[place];
}

/* The word that `*text` begins with, which is moved behind it; or -1. */
static int next_word(const char **text)
{
	size_t len = strcspn(*text, ",:");

	for (int i = 0; i < WFS_PLACES; i++) {
		if (strlen(words[i]) != len || strncmp(*text, words[i], len))
			continue;
		*text += len;
		return i;
	}
	return -1;
}

int wfs_prefer_parse(const char *text, struct wfs_prefer *ret)
{
	struct wfs_prefer prefer = { { 0 } };
	unsigned seen = 0, n = 0;

	for (;;) {
		int place = next_word(&text);

		if (place < 0 || seen >> place & 1)
			return -EINVAL;
		seen |= 1u << place;
		prefer.order[n++] = (enum wfs_place)place;
		if (!*text)
			break;
		text++;
	}
	for (unsigned i = 0; i < WFS_PLACES; i++)
		if (!(seen >> i & 1))
			prefer.order[n++] = (enum wfs_place)i;
	*ret = prefer;
	return 0;
}

unsigned wfs_prefer_rank(const struct wfs_prefer *prefer, enum wfs_place place)
{
	unsigned i = 0;

	while (i < WFS_PLACES && prefer->order[i] != place)
		i++;
	return i;
}

struct wfs_places *wfs_places_new(const struct wfs_prefer *prefer)
{
	struct wfs_places *places = wfs_calloc(1, sizeof(*places));

	places->prefer = *prefer;
	pthread_mutex_init(&places->lock, NULL);
	return places;
}

void wfs_places_free(struct wfs_places *places)
{
	if (!places)
		return;
	for (size_t i = 0; i < places->count; i++)
		free(places->names[i].name);
	free(places->names);
	pthread_mutex_destroy(&places->lock);
	free(places);
}

static struct name *find(struct wfs_places *places, const char *name)
{
	for (size_t i = 0; i < places->count; i++)
		if (!strcmp(places->names[i].name, name))
			return &places->names[i];
	return NULL;
}

static struct name *find_or_add(struct wfs_places *places, const char *name)
{
	struct name *n = find(places, name);

	if (n)
		return n;
	places->names =
		wfs_realloc(places->names, (places->count + 1) * sizeof(*n));
	n = &places->names[places->count++];
	*n = (struct name){ .name = wfs_strdup(name) };
	return n;
}

/* Does `a` go before `b`? */
static bool is_better(const struct wfs_places *places, enum wfs_place a,
		      enum wfs_place b)
{
	static const enum wfs_place first[] = { WFS_PLACE_FOUND,
						WFS_PLACE_SEED };

	for (unsigned i = 0; i < 2; i++)
		if (a == first[i] || b == first[i])
			return a == first[i] && b != first[i];
	return wfs_prefer_rank(&places->prefer, a) <
	       wfs_prefer_rank(&places->prefer, b);
}

static bool ask(struct wfs_places *places, const char *name,
		enum wfs_place place, bool has)
{
	struct name *n;
	bool best = true;

	if (!places)
		return true;
	pthread_mutex_lock(&places->lock);
	n = find_or_add(places, name);
	n->has |= (unsigned)has << place;
	for (unsigned i = 0; i <= WFS_PLACES; i++)
		if (n->has >> i & 1 &&
		    is_better(places, (enum wfs_place)i, place))
			best = false;
	pthread_mutex_unlock(&places->lock);
	return best;
}

bool wfs_places_may(struct wfs_places *places, const char *name,
		    enum wfs_place place)
{
	return ask(places, name, place, false);
}

bool wfs_places_claim(struct wfs_places *places, const char *name,
		      enum wfs_place place)
{
	return ask(places, name, place, true);
}

bool wfs_places_leave(struct wfs_places *places, const char *name,
		      enum wfs_place place)
{
	struct name *n;
	bool none;

	if (!places)
		return true;
	pthread_mutex_lock(&places->lock);
	n = find(places, name);
	if (n)
		n->has &= ~(1u << place);
	none = !n || !n->has;
	pthread_mutex_unlock(&places->lock);
	return none;
}
