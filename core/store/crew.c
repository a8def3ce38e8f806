/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crews: the threads that hydrate, those for what is near and those for what
 * is far away.
 */
#include <stdlib.h>

#include "core/base/cpus.h"
#include "core/base/mem.h"
#include "core/store/inner.h"

#define CHUNK	   (1ull << 20)
#define FIRST_RATE (1000ull * 1000 * 1000) /* bytes/s, before it is measured */

static unsigned cpus(void)
{
	unsigned n = wfs_cpus();

	return n < 2 ? 2 : n > 16 ? 16 : n;
}

static int start_crew(struct wfs_crew *crew, unsigned n)
{
	int rc = 0;

	crew->threads = wfs_calloc(n + 1, sizeof(*crew->threads));
	while (!rc && crew->count < n) {
		rc = pthread_create(&crew->threads[crew->count], NULL,
				    wfs_hydrate_thread, crew);
		crew->count += !rc;
	}
	return -rc;
}

int wfs_crews_start_locked(struct wfs_store *store,
			   const struct wfs_store_config *config)
{
	struct wfs_crew *near = &store->crews[WFS_CREW_NEAR];
	struct wfs_crew *far = &store->crews[WFS_CREW_FAR];
	int rc;

	for (int i = 0; i < WFS_CREWS; i++) {
		struct wfs_crew *crew = &store->crews[i];

		crew->store = store;
		pthread_cond_init(&crew->work, NULL);
		crew->rate.value = FIRST_RATE;
		crew->chunk = config->chunk ? config->chunk : CHUNK;
	}
	/* A window of many chunks, which come over many connections. */
	if (!config->chunk)
		far->chunk = WFS_SPAN;
	rc = start_crew(near, config->hydrators ? config->hydrators : cpus());
	return rc ? rc : start_crew(far, config->far_hydrators);
}

void wfs_crews_stop(struct wfs_store *store)
{
	for (int i = 0; i < WFS_CREWS; i++) {
		struct wfs_crew *crew = &store->crews[i];

		pthread_mutex_lock(&store->lock);
		pthread_cond_broadcast(&crew->work);
		pthread_mutex_unlock(&store->lock);
		for (unsigned k = 0; k < crew->count; k++)
			pthread_join(crew->threads[k], NULL);
		pthread_cond_destroy(&crew->work);
		free(crew->threads);
	}
}

struct wfs_crew *wfs_crew_of(struct wfs_store *store,
			     const struct wfs_recipe *recipe)
{
	struct wfs_crew *near = &store->crews[WFS_CREW_NEAR];
	struct wfs_crew *far = &store->crews[WFS_CREW_FAR];

	/* All pieces are of one model, and so of one source. */
	for (uint32_t i = 0; far->count && i < recipe->n; i++)
		if (recipe->pieces[i].kind == WFS_PIECE_REGION &&
		    wfs_region_is_far(recipe->pieces[i].region))
			return far;
	return near;
}

struct wfs_job *wfs_crews_queued_locked(const struct wfs_store *store)
{
	for (int i = 0; i < WFS_CREWS; i++) {
		const struct wfs_crew *crew = &store->crews[i];

		if (crew->wanted.head || crew->prefetch.head)
			return crew->wanted.head ? crew->wanted.head :
						   crew->prefetch.head;
	}
	return NULL;
}
