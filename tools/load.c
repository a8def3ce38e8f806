/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handful of threads take checkpoints off one list.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/digest/digest_tree.h"
#include "tools/load.h"
#include "transport/file/file_source.h"

/* Reading headers waits for disks, so there may be more than CPUs. */
#define THREADS_MIN 4
#define THREADS_MAX 16
/* Over a network nearly all of it is waiting. */
#define THREADS_FAR 32

#define CONFIG	 "config.json"
#define INDEX	 ".index.json"
#define KEPT_MAX (16u << 20)

struct pool {
	const struct wfs_load_config *config;
	struct wfs_load_job *jobs;
	size_t count;
	atomic_size_t next;
	unsigned threads_each; /* for the headers of one model */
};

/*
 * What says how layouts are cut: a look-up of one must not wait for a network.
 * For those whom this node passes the model on to also what they need before
 * they have a model, and believe it.  Failing is no matter, who needs it reads
 * it again.
 */
static bool is_kept(const char *path, bool passes_on)
{
	if (!strcmp(path, CONFIG))
		return true;
	return passes_on &&
	       (wfs_digest_tree_leaves_out(path) || wfs_ends_with(path, INDEX));
}

static void keep_small(struct wfs_source *source, bool passes_on)
{
	size_t n;
	const struct wfs_source_entry *list = wfs_source_list(source, &n);

	for (size_t i = 0; i < n; i++) {
		struct wfs_region *region = list[i].region;
		char *bytes wfs_autofree = NULL;

		if (!region || region->head ||
		    !is_kept(list[i].path, passes_on) || !region->size ||
		    region->size > KEPT_MAX || !wfs_region_is_far(region))
			continue;
		bytes = wfs_malloc(region->size);
		if (!wfs_region_read_exactly(region, bytes, region->size, 0))
			wfs_region_keep(region, bytes, region->size);
	}
}

static void load(const struct pool *pool, struct wfs_load_job *job)
{
	const struct wfs_load_config *config = pool->config;
	struct wfs_file_source_config file = {
		.follow_links = config->follow_links,
		.beneath = job->beneath,
	};
	unsigned threads = pool->threads_each;
	struct wfs_source *source;
	int rc = 0;

	if (job->source) {
		source = wfs_source_get(job->source);
	} else if (job->remote) {
		rc = wfs_remote_source(job->remote, job->path, &source,
				       &job->err);
	} else {
		rc = wfs_file_source_open(job->path, &file, &source, &job->err);
	}
	if (rc == 0) {
		if (source->ops->far)
			threads = THREADS_FAR;
		if (config->wrap_source)
			source = config->wrap_source(source);
		source->chunks = config->chunks;
		rc = wfs_source_check_trust(source, config->trust, &job->err);
		if (rc == 0 && source->ops->far)
			keep_small(source, config->passes_on);
		if (rc == 0)
			rc = wfs_model_load(source, job->name, threads,
					    &job->model, &job->err);
		wfs_source_put(source);
	}
	if (rc && !job->err.code)
		wfs_err_set(&job->err, rc, "cannot read checkpoint '%s': %s",
			    job->path, strerror(-rc));
}

static void *work(void *arg)
{
	struct pool *pool = arg;
	size_t i;

	while ((i = atomic_fetch_add(&pool->next, 1)) < pool->count)
		load(pool, &pool->jobs[i]);
	return NULL;
}

/*
 * One checkpoint with more files than there are descriptors starves those
 * that are opened beside it: they are tried again, alone.
 */
static void retry_starved(struct pool *pool)
{
	for (size_t i = 0; i < pool->count; i++) {
		struct wfs_load_job *job = &pool->jobs[i];

		if (job->err.code != -EMFILE)
			continue;
		job->err = (struct wfs_err){ 0 };
		load(pool, job);
	}
}

void wfs_load_models(const struct wfs_load_config *config,
		     struct wfs_load_job *jobs, size_t count)
{
	struct pool pool = { .config = config, .jobs = jobs, .count = count };
	pthread_t threads[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t total = cpus > 0 ? (size_t)cpus * 2 : THREADS_MIN;
	size_t started = 0;

	if (!count)
		return;
	if (total < THREADS_MIN)
		total = THREADS_MIN;
	if (total > THREADS_MAX)
		total = THREADS_MAX;
	pool.threads_each = count < total ? (unsigned)(total / count) : 1;
	/* This thread is one of them, and does it all if no other can be. */
	while (started + 1 < total && started + 1 < count &&
	       pthread_create(&threads[started], NULL, work, &pool) == 0)
		started++;
	work(&pool);
	for (size_t i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	retry_starved(&pool);
}
