/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See notifier.h.
 */
#include "fs/notifier.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "core/base/cond.h"
#include "core/base/text.h"
#include "fs/state.h"

struct job {
	struct job *next;
	uint64_t parent; /* 0: nothing to expire */
	void (*then)(void *arg);
	void *arg;
	char name[];
};

struct wfs_notifier {
	struct fuse_session *session;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct job *first, **last;
	struct wfs_deadline *deadlines; /* unordered: a few dozen at most */
	bool stopping;
};

static void run_job(struct wfs_notifier *n, struct job *job)
{
	/* -ENOENT: the kernel does not know the entry; just as well. */
	if (job->parent)
		fuse_lowlevel_notify_expire_entry(n->session, job->parent,
						  job->name, strlen(job->name));
	if (job->then)
		job->then(job->arg);
	free(job);
}

static void unlink_deadline(struct wfs_notifier *n, struct wfs_deadline *d)
{
	if (d->prev)
		d->prev->next = d->next;
	else
		n->deadlines = d->next;
	if (d->next)
		d->next->prev = d->prev;
	d->queued = false;
}

/* A deadline that is due, taken out; else *ret_next is the earliest one. */
static struct wfs_deadline *take_due(struct wfs_notifier *n, uint64_t *ret_next)
{
	uint64_t now = wfs_now_ns(), next = UINT64_MAX;

	for (struct wfs_deadline *d = n->deadlines; d; d = d->next) {
		if (d->at_ns <= now || n->stopping) {
			unlink_deadline(n, d);
			return d;
		}
		if (d->at_ns < next)
			next = d->at_ns;
	}
	*ret_next = next;
	return NULL;
}

static void *run(void *arg)
{
	struct wfs_notifier *n = arg;

	pthread_mutex_lock(&n->lock);
	for (;;) {
		struct wfs_deadline *due;
		struct job *job = n->first;
		uint64_t next;

		if (job) {
			n->first = job->next;
			if (!n->first)
				n->last = &n->first;
			pthread_mutex_unlock(&n->lock);
			run_job(n, job);
			pthread_mutex_lock(&n->lock);
			continue;
		}
		due = take_due(n, &next);
		if (due) {
			pthread_mutex_unlock(&n->lock);
			due->fire(due);
			pthread_mutex_lock(&n->lock);
			continue;
		}
		if (n->stopping)
			break;
		wfs_cond_wait_until(&n->wake, &n->lock, next);
	}
	pthread_mutex_unlock(&n->lock);
	return NULL;
}

int wfs_notifier_start(struct fuse_session *session,
		       struct wfs_notifier **ret_notifier)
{
	struct wfs_notifier *n = wfs_calloc(1, sizeof(*n));
	int r;

	n->session = session;
	n->last = &n->first;
	pthread_mutex_init(&n->lock, NULL);
	wfs_cond_init(&n->wake);
	r = pthread_create(&n->thread, NULL, run, n);
	if (r) {
		free(n);
		return -r;
	}
	*ret_notifier = n;
	return 0;
}

void wfs_notifier_stop(struct wfs_notifier *n)
{
	if (!n)
		return;
	pthread_mutex_lock(&n->lock);
	n->stopping = true;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
	pthread_join(n->thread, NULL);
	pthread_cond_destroy(&n->wake);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

void wfs_notifier_expire(struct wfs_notifier *n, uint64_t parent,
			 const char *name, void (*then)(void *arg), void *arg)
{
	struct job *job = wfs_malloc(sizeof(*job) + strlen(name) + 1);

	*job = (struct job){ .parent = parent, .then = then, .arg = arg };
	memcpy(job->name, name, strlen(name) + 1);
	pthread_mutex_lock(&n->lock);
	*n->last = job;
	n->last = &job->next;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
}

void wfs_notifier_call(struct wfs_notifier *n, void (*then)(void *arg),
		       void *arg)
{
	wfs_notifier_expire(n, 0, "", then, arg);
}

void wfs_notifier_add(struct wfs_notifier *n, struct wfs_deadline *deadline)
{
	pthread_mutex_lock(&n->lock);
	deadline->prev = NULL;
	deadline->next = n->deadlines;
	if (deadline->next)
		deadline->next->prev = deadline;
	n->deadlines = deadline;
	deadline->queued = true;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
}

void wfs_notifier_hurry(struct wfs_notifier *n, struct wfs_deadline *deadline)
{
	pthread_mutex_lock(&n->lock);
	deadline->at_ns = 0;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
}

bool wfs_notifier_drop(struct wfs_notifier *n, struct wfs_deadline *deadline)
{
	bool dropped;

	pthread_mutex_lock(&n->lock);
	dropped = deadline->queued;
	if (dropped)
		unlink_deadline(n, deadline);
	pthread_mutex_unlock(&n->lock);
	return dropped;
}
