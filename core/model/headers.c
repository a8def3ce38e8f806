/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers of many files, read and parsed by several threads at once.  Each
 * thread fills a pool of its own; the error that is told is that of the first
 * file in order, whichever thread met it first.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "core/base/text.h"
#include "core/model/load.h"

#define THREADS_MAX 64

struct work {
	struct wfs_load *load;
	atomic_uint *next;
	atomic_bool *failed;
	struct wfs_pool pool;
	pthread_t thread;
};

static void *read_headers(void *arg)
{
	struct work *w = arg;
	struct wfs_load *load = w->load;
	uint32_t i;

	/* After a failure nothing later matters, all earlier ones do. */
	while (!atomic_load(w->failed) &&
	       (i = atomic_fetch_add(w->next, 1)) < load->shard_count) {
		struct wfs_shard *s = &load->shards[i];
		struct wfs_region *region =
			load->model->entries[s->entry].region;

		if (wfs_safetensors_read(region, &w->pool, &s->header, &s->err))
			atomic_store(w->failed, true);
	}
	return NULL;
}

int wfs_load_headers(struct wfs_load *load, unsigned threads)
{
	struct work work[THREADS_MAX] = { 0 };
	atomic_uint next = 0;
	atomic_bool failed = false;
	unsigned started = 1;

	if (threads > THREADS_MAX)
		threads = THREADS_MAX;
	if (threads > load->shard_count)
		threads = load->shard_count;
	for (unsigned i = 0; i < THREADS_MAX; i++)
		work[i] = (struct work){ .load = load,
					 .next = &next,
					 .failed = &failed };
	/* This thread is one of them; fewer than asked for is slower only. */
	while (started < threads &&
	       !pthread_create(&work[started].thread, NULL, read_headers,
			       &work[started]))
		started++;
	read_headers(&work[0]);
	for (unsigned i = 0; i < started; i++) {
		if (i)
			pthread_join(work[i].thread, NULL);
		wfs_pool_join(&load->pool, &work[i].pool);
	}
	for (uint32_t i = 0; i < load->shard_count; i++) {
		if (!load->shards[i].err.code)
			continue;
		return wfs_err_set(load->err, load->shards[i].err.code, "%s",
				   load->shards[i].err.text);
	}
	return 0;
}
