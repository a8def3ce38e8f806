/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A version that was put together of the seeds of an engine's ranks: what
 * makes it this one, who has it still, whom it came by.
 */
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "transport/remote/inner.h"

const struct remote_model *wfs_remote_live_of(const struct wfs_choice *choice,
					      const struct remote_seed *seed)
{
	const struct remote_model *m =
		wfs_remote_model_locked(seed, choice->remote_name);

	if (!m || !m->manifest || !m->manifest->workers || choice->pinned)
		return NULL;
	return wfs_remote_may_offer(choice, seed) ? m : NULL;
}

static uint64_t hash_text(const char *text, uint64_t hash)
{
	return text ? wfs_hash(text, strlen(text) + 1, hash) :
		      wfs_hash("", 1, hash + 1);
}

void wfs_whole_set_version(struct wfs_manifest *m)
{
	const struct wfs_live *live = &m->workers->live;
	uint64_t hash = hash_text(live->engine, WFS_HASH_SEED);
	uint32_t rank;

	hash = hash_text(live->engine_version, hash);
	hash = hash_text(live->layout, hash);
	hash = hash_text(live->declared, hash);
	hash = hash_text(live->state, hash);
	for (size_t i = 0; i < live->rank_count && !live->declared; i++) {
		hash = hash_text(live->origins[i].version, hash);
		hash = hash_text(live->origins[i].node, hash);
	}
	for (size_t i = 0; i < m->count; i++) {
		const struct wfs_manifest_file *file = &m->files[i];

		hash = hash_text(file->path, hash);
		hash = wfs_hash(&file->size, sizeof(file->size), hash);
		if (live->declared ||
		    wfs_workers_rank_of(m->workers, file->path, &rank))
			hash = wfs_hash(file->head, sizeof(file->head), hash);
	}
	snprintf(m->version, sizeof(m->version), "%016llx",
		 (unsigned long long)hash);
}

/* Which ranks of the version that manifest has, into has[world]. */
static void find_ranks(const struct wfs_manifest *whole,
		       const struct wfs_manifest *manifest, bool *has)
{
	for (uint32_t i = 0; i < whole->workers->world; i++)
		has[i] = wfs_workers_origin(manifest->workers, i) &&
			 wfs_live_same_rank(whole, manifest, i);
}

enum wfs_standing wfs_whole_standing_locked(const struct wfs_remote *remote,
					    const struct wfs_choice *choice)
{
	uint32_t world = choice->whole->workers->world;
	bool *has wfs_autofree = wfs_calloc(world, sizeof(*has));
	uint8_t *best wfs_autofree = wfs_calloc(world, sizeof(*best));
	enum wfs_standing standing = WFS_FIRST_HAND;

	for (size_t i = 0; i < remote->seed_count; i++) {
		const struct remote_seed *seed = remote->seeds[i];
		const struct remote_model *m = wfs_remote_live_of(choice, seed);
		enum wfs_standing here = WFS_FIRST_HAND;

		if (!m)
			continue;
		if (m->via || seed->away || wfs_remote_is_gone_locked(seed))
			here = WFS_PASSED_ON;
		find_ranks(choice->whole, m->manifest, has);
		for (uint32_t r = 0; r < world; r++)
			if (has[r] && best[r] < here)
				best[r] = here;
	}
	for (uint32_t r = 0; r < world; r++)
		if (best[r] < standing)
			standing = best[r];
	return standing;
}

bool wfs_whole_is_gone_locked(const struct wfs_remote *remote,
			      const struct wfs_choice *choice)
{
	for (size_t i = 0; i < remote->seed_count; i++)
		if (wfs_remote_live_of(choice, remote->seeds[i]) &&
		    !wfs_remote_is_gone_locked(remote->seeds[i]))
			return false;
	return true;
}

/* Each node once, and no more than a list may have. */
static void add_via(struct wfs_text *via, const char *nodes, unsigned *count)
{
	while (nodes && *nodes && *count < WFS_VIA_MAX) {
		size_t len = strcspn(nodes, " ");
		char *node wfs_autofree = wfs_asprintf("%.*s", (int)len, nodes);

		if (!via->data || !strstr(via->data, node)) {
			wfs_text_add(via, *count ? " %s" : "%s", node);
			++*count;
		}
		nodes += len + (nodes[len] == ' ');
	}
}

char *wfs_whole_via_locked(const struct wfs_remote *remote,
			   const struct wfs_choice *choice)
{
	uint32_t world = choice->whole->workers->world;
	bool *has wfs_autofree = wfs_calloc(world, sizeof(*has));
	struct wfs_text via = { 0 };
	unsigned count = 0;

	for (int further = 0; further < 2; further++)
		for (size_t i = 0; i < remote->seed_count; i++) {
			const struct remote_seed *seed = remote->seeds[i];
			const struct remote_model *m =
				wfs_remote_live_of(choice, seed);

			if (!m)
				continue;
			find_ranks(choice->whole, m->manifest, has);
			if (memchr(has, true, world))
				add_via(&via, further ? m->via : seed->node,
					&count);
		}
	return via.data;
}
