/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the bytes of models come from, told when that changed: by what came of
 * each rank since the last look, so that a chunk here or there is no news.
 */
#include "core/base/events.h"
#include "core/base/log.h"
#include "transport/remote/inner.h"

/* The rank that brought most since the last look; -1: none brought any. */
static int rank_now(struct wfs_remote_source *s)
{
	uint64_t most = 0;
	int rank = -1;

	for (int i = 0; i < WFS_RANKS_MAX; i++) {
		uint64_t bytes = atomic_load(&s->group.bytes[i]);

		if (bytes - s->told[i] > most) {
			most = bytes - s->told[i];
			rank = i;
		}
		s->told[i] = bytes;
	}
	return rank;
}

static const char *label_of(const struct wfs_remote_source *s, unsigned rank)
{
	for (unsigned i = 0; i < s->match_count; i++)
		if (s->matches[i].copy->rank == rank)
			return s->matches[i].copy->label;
	return NULL; /* the seeds */
}

static void tell(struct wfs_remote_source *s, unsigned rank)
{
	const char *label = label_of(s, rank);
	const char *quote = label ? "'" : "";

	if (!label)
		label = "seeds";
	if (rank < s->rank_told)
		wfs_info("model '%s': bytes come from %s%s%s again", s->name,
			 quote, label, quote);
	else
		wfs_warn("model '%s': bytes come from %s%s%s, nothing better "
			 "brings them",
			 s->name, quote, label, quote);
	wfs_event("place", s->name, "bytes come from %s%s%s", quote, label,
		  quote);
	s->rank_told = rank;
}

void wfs_remote_copies_tell(struct wfs_remote *remote)
{
	pthread_mutex_lock(&remote->lock);
	for (struct wfs_remote_source *s = remote->sources; s; s = s->next) {
		int rank = s->match_count ? rank_now(s) : -1;

		if (rank >= 0 && (unsigned)rank != s->rank_told)
			tell(s, (unsigned)rank);
	}
	pthread_mutex_unlock(&remote->lock);
}
