/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See workers.h.  Threads are started when work finds none idle, up to the
 * bound: most mounts answer all reads by passthrough and need none.
 */
#include "fs/workers.h"

#include <errno.h>
#include <pthread.h>

#include "core/base/mem.h"

struct wfs_workers {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct wfs_work *first, **last;
	pthread_t *threads;
	unsigned max, running, idle;
	unsigned queued; /* works; an idle thread may be on its way to one */
	bool stopping;
};

static struct wfs_work *take(struct wfs_workers *w)
{
	struct wfs_work *work;

	pthread_mutex_lock(&w->lock);
	w->idle++;
	while (!w->first && !w->stopping)
		pthread_cond_wait(&w->wake, &w->lock);
	w->idle--;
	work = w->first;
	if (work) {
		w->queued--;
		w->first = work->next;
		if (!w->first)
			w->last = &w->first;
	}
	pthread_mutex_unlock(&w->lock);
	return work;
}

static void *run(void *arg)
{
	struct wfs_workers *w = arg;
	void *room = wfs_malloc(WFS_WORK_ROOM);
	struct wfs_work *work;

	while ((work = take(w)))
		work->run(work, room);
	free(room);
	return NULL;
}

int wfs_workers_start(unsigned threads, struct wfs_workers **ret_workers)
{
	struct wfs_workers *w = wfs_calloc(1, sizeof(*w));

	w->last = &w->first;
	w->max = threads ? threads : WFS_WORKERS_DEFAULT;
	w->threads = wfs_calloc(w->max, sizeof(*w->threads));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	/* The first here, so that there always is one. */
	if (pthread_create(&w->threads[0], NULL, run, w) != 0) {
		free(w->threads);
		free(w);
		return -EAGAIN;
	}
	w->running = 1;
	*ret_workers = w;
	return 0;
}

void wfs_workers_stop(struct wfs_workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->running; i++)
		pthread_join(w->threads[i], NULL);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w->threads);
	free(w);
}

void wfs_workers_queue(struct wfs_workers *w, struct wfs_work *work)
{
	work->next = NULL;
	pthread_mutex_lock(&w->lock);
	*w->last = work;
	w->last = &work->next;
	w->queued++;
	if (w->queued > w->idle && w->running < w->max && !w->stopping &&
	    pthread_create(&w->threads[w->running], NULL, run, w) == 0)
		w->running++;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}
