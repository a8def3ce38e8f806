/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See workers.h.  Threads are started when work finds none idle, up to the
 * bound: most mounts answer all reads by passthrough and need none.
 */
#include "fs/workers.h"

#include <errno.h>
#include <pthread.h>

#include "core/base/cpus.h"
#include "core/base/least.h"
#include "core/base/mem.h"

struct wfs_workers {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct wfs_work *first, **last;
	pthread_t *threads;
	unsigned max, running, idle;
	unsigned cpus;
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
	w->cpus = wfs_cpus();
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

/* Parts that are taken one by one, by who shares them and who helps. */
struct share {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	void (*part)(void *ctx, unsigned i);
	void *ctx;
	unsigned parts, taken, done;
	unsigned refs;
};

struct help {
	struct wfs_work work;
	struct share *share;
};

static void share_put(struct share *s)
{
	bool last;

	pthread_mutex_lock(&s->lock);
	last = --s->refs == 0;
	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	pthread_cond_destroy(&s->ended);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void do_parts(struct share *s)
{
	unsigned i;

	pthread_mutex_lock(&s->lock);
	while (s->taken < s->parts) {
		i = s->taken++;
		pthread_mutex_unlock(&s->lock);
		s->part(s->ctx, i);
		pthread_mutex_lock(&s->lock);
		if (++s->done == s->parts)
			pthread_cond_signal(&s->ended);
	}
	pthread_mutex_unlock(&s->lock);
}

/* Whoever comes late finds nothing left. */
static void run_help(struct wfs_work *work, void *room)
{
	struct help *help = (struct help *)work;

	(void)room;
	do_parts(help->share);
	share_put(help->share);
	free(help);
}

/* Threads that could begin at once. */
static unsigned free_hands(struct wfs_workers *w)
{
	unsigned n;

	pthread_mutex_lock(&w->lock);
	n = w->idle + w->max - w->running;
	n = n > w->queued ? n - w->queued : 0;
	pthread_mutex_unlock(&w->lock);
	return (unsigned)wfs_least(n, w->cpus - 1);
}

void wfs_workers_share(struct wfs_workers *w, unsigned parts,
		       void (*part)(void *ctx, unsigned i), void *ctx)
{
	struct share *s = wfs_calloc(1, sizeof(*s));
	unsigned helpers = w && parts > 1 ? free_hands(w) : 0;

	helpers = (unsigned)wfs_least(helpers, parts - 1);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->ended, NULL);
	s->part = part;
	s->ctx = ctx;
	s->parts = parts;
	s->refs = 1 + helpers;
	for (unsigned i = 0; i < helpers; i++) {
		struct help *help = wfs_calloc(1, sizeof(*help));

		help->work.run = run_help;
		help->share = s;
		wfs_workers_queue(w, &help->work);
	}
	do_parts(s);
	pthread_mutex_lock(&s->lock);
	while (s->done < s->parts)
		pthread_cond_wait(&s->ended, &s->lock);
	pthread_mutex_unlock(&s->lock);
	share_put(s);
}
