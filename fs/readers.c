/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See readers.h.  Threads are started when a read finds none idle, up to the
 * bound: most mounts answer all reads by passthrough and need none.
 */
#include "fs/readers.h"

#include <errno.h>
#include <pthread.h>

#include "core/base/text.h"
#include "fs/state.h"

struct job {
	struct job *next;
	fuse_req_t req;
	uint64_t id;
	size_t size;
	off_t off;
};

struct wfs_readers {
	struct wfs_fs *fs;
	wfs_answer_fn *answer;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct job *first, **last;
	pthread_t *threads;
	unsigned max, running, idle;
	unsigned queued; /* jobs; an idle thread may be on its way to one */
	bool stopping;
};

static struct job *take(struct wfs_readers *r)
{
	struct job *job;

	pthread_mutex_lock(&r->lock);
	r->idle++;
	while (!r->first && !r->stopping)
		pthread_cond_wait(&r->wake, &r->lock);
	r->idle--;
	job = r->first;
	if (job) {
		r->queued--;
		r->first = job->next;
		if (!r->first)
			r->last = &r->first;
	}
	pthread_mutex_unlock(&r->lock);
	return job;
}

static void *run(void *arg)
{
	struct wfs_readers *r = arg;
	void *buf = wfs_malloc(WFS_READ_MAX);
	struct job *job;

	while ((job = take(r))) {
		r->answer(r->fs, job->req, job->id, buf, job->size, job->off);
		free(job);
	}
	free(buf);
	return NULL;
}

int wfs_readers_start(struct wfs_fs *fs, unsigned threads,
		      wfs_answer_fn *answer, struct wfs_readers **ret_readers)
{
	struct wfs_readers *r = wfs_calloc(1, sizeof(*r));

	r->fs = fs;
	r->answer = answer;
	r->last = &r->first;
	r->max = threads ? threads : WFS_READERS_DEFAULT;
	r->threads = wfs_calloc(r->max, sizeof(*r->threads));
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->wake, NULL);
	/* The first here, so that there always is one. */
	if (pthread_create(&r->threads[0], NULL, run, r) != 0) {
		free(r->threads);
		free(r);
		return -EAGAIN;
	}
	r->running = 1;
	*ret_readers = r;
	return 0;
}

void wfs_readers_stop(struct wfs_readers *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stopping = true;
	pthread_cond_broadcast(&r->wake);
	pthread_mutex_unlock(&r->lock);
	for (unsigned i = 0; i < r->running; i++)
		pthread_join(r->threads[i], NULL);
	pthread_cond_destroy(&r->wake);
	pthread_mutex_destroy(&r->lock);
	free(r->threads);
	free(r);
}

void wfs_readers_queue(struct wfs_readers *r, fuse_req_t req, uint64_t id,
		       size_t size, off_t off)
{
	struct job *job = wfs_malloc(sizeof(*job));

	*job = (struct job){ .req = req, .id = id, .size = size, .off = off };
	pthread_mutex_lock(&r->lock);
	*r->last = job;
	r->last = &job->next;
	r->queued++;
	if (r->queued > r->idle && r->running < r->max && !r->stopping &&
	    pthread_create(&r->threads[r->running], NULL, run, r) == 0)
		r->running++;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}
