/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All tensors of a set, by several threads.
 *
 * The threads take pieces off the tensors in their order; whoever takes one
 * first starts the files that are wanted soon.  To host memory a thread copies
 * its piece; to that of a GPU it sends it off and takes the next.  The thread
 * that asked for the load waits and tells how far it is: it calls nothing of
 * CUDA, so its current device stays what it was.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "core/base/cond.h"
#include "core/base/cpus.h"
#include "core/base/least.h"
#include "core/base/mem.h"
#include "tools/lib/client.h"
#include "tools/lib/client_gpu.h"
#include "tools/lib/face.h"

#define PIECE	    (8u << 20)	 /* bytes */
#define AHEAD	    (1ull << 30) /* bytes */
#define MAX_THREADS 8u
#define TELL_NS	    200000000ull

struct job {
	struct weightfs_set *set;
	struct weightfs_load want;
	struct wfs_weights_gpu gpu;
	uint64_t total; /* bytes */
	atomic_bool stop;
	pthread_mutex_t lock; /* for what is below */
	pthread_cond_t step;
	uint32_t tensor; /* the next piece */
	uint64_t off;
	uint32_t file;	  /* the next one to start */
	uint64_t started; /* wanted bytes of those that were */
	uint64_t done;
	uint64_t *left; /* bytes of each file that are still to be loaded */
	unsigned running;
	struct wfs_err err; /* the first failure */
};

static uint64_t wanted_of(const struct job *job, uint32_t tensor)
{
	if (job->want.to && !job->want.to[tensor])
		return 0;
	return job->set->tensors[tensor].size;
}

/* Bytes from there on that are registered with a device together. */
static uint64_t to_window(uint64_t off)
{
	return WFS_WEIGHTS_WINDOW - off % WFS_WEIGHTS_WINDOW;
}

/* Under the lock.  False when there is none left. */
static bool take(struct job *job, struct wfs_weights_piece *ret)
{
	const struct wfs_weights_tensor *t;

	while (job->tensor < job->set->count &&
	       job->off >= wanted_of(job, job->tensor)) {
		job->tensor++;
		job->off = 0;
	}
	if (job->tensor == job->set->count || atomic_load(&job->stop))
		return false;
	t = &job->set->tensors[job->tensor];
	*ret = (struct wfs_weights_piece){ job->tensor, job->off,
					   t->size - job->off };
	ret->len = wfs_least(
		ret->len, job->gpu.cuda ? to_window(t->off + job->off) : PIECE);
	job->off += ret->len;
	return true;
}

/* Under the lock, which it gives up meanwhile. */
static void start_ahead(struct job *job)
{
	while (job->file < job->set->file_count &&
	       job->started < job->done + job->want.ahead) {
		struct wfs_weights_file *file = &job->set->files[job->file];

		job->started += job->left[job->file];
		if (job->left[job->file++] == 0)
			continue;
		pthread_mutex_unlock(&job->lock);
		wfs_weights_file_start(job->set, file);
		pthread_mutex_lock(&job->lock);
	}
}

/* With a lane it is not loaded yet, but on its way. */
static int load_piece(struct job *job, struct wfs_weights_lane *lane,
		      const struct wfs_weights_piece *piece,
		      struct wfs_err *err)
{
	struct weightfs_set *set = job->set;
	struct wfs_weights_file *file =
		&set->files[set->tensors[piece->tensor].file];
	struct weightfs_mapping *mapping;
	char *to = NULL;
	int rc = wfs_weights_file_open(set, file, &job->stop, err);

	if (rc)
		return rc;
	if (job->want.to)
		to = (char *)job->want.to[piece->tensor] + piece->off;
	if (lane)
		return wfs_weights_lane_send(lane, piece, to, err);
	if (job->want.to)
		return wfs_weights_piece_read(set, piece, to, err);
	rc = wfs_weights_file_map(set, file, &mapping, err);
	return rc ? rc : wfs_weights_piece_fill(set, piece, err);
}

/* All of a file is loaded: it stays mapped, or is not needed any more. */
static void end_file(struct job *job, struct wfs_weights_file *file)
{
	if (job->gpu.cuda)
		wfs_weights_file_unregister(&job->gpu, file);
	if (!job->want.to && file->mapping->anonymous)
		memset(file->mapping->filled, 1, file->count);
	else if (job->want.to && !file->mapping)
		wfs_weights_file_drop(file);
}

/* A piece, or a part of one, is where it is to be. */
static void landed(void *ctx, const struct wfs_weights_piece *piece)
{
	struct job *job = ctx;
	uint32_t file = job->set->tensors[piece->tensor].file;
	bool is_last;

	pthread_mutex_lock(&job->lock);
	job->done += piece->len;
	job->left[file] -= piece->len;
	is_last = !job->left[file];
	pthread_mutex_unlock(&job->lock);
	if (is_last)
		end_file(job, &job->set->files[file]);
	pthread_cond_signal(&job->step);
}

/* Takes pieces until there are none. */
static int load_pieces(struct job *job, struct wfs_weights_lane *lane,
		       struct wfs_err *err)
{
	struct wfs_weights_piece piece;
	bool is_more;
	int rc = 0;

	for (;;) {
		pthread_mutex_lock(&job->lock);
		is_more = take(job, &piece);
		if (is_more)
			start_ahead(job);
		pthread_mutex_unlock(&job->lock);
		if (!is_more)
			return lane ? wfs_weights_lane_drain(lane, err) : 0;
		rc = load_piece(job, lane, &piece, err);
		if (rc)
			return rc;
		if (!lane)
			landed(job, &piece);
	}
}

/* By the last thread of a load that may have been given up. */
static void end_all_files(struct job *job)
{
	for (uint32_t i = 0; i < job->set->file_count; i++)
		wfs_weights_file_unregister(&job->gpu, &job->set->files[i]);
}

static void *work(void *arg)
{
	struct job *job = arg;
	struct wfs_weights_lane *lane = NULL;
	struct wfs_err err;
	int rc = 0;

	if (job->gpu.cuda)
		rc = wfs_weights_lane_new(&job->gpu, job->set, &lane, &err);
	if (!rc)
		rc = load_pieces(job, lane, &err);
	if (rc)
		atomic_store(&job->stop, true);
	wfs_weights_lane_free(lane);
	pthread_mutex_lock(&job->lock);
	if (rc && !job->err.code)
		job->err = err;
	if (job->running == 1 && job->gpu.cuda)
		end_all_files(job);
	job->running--;
	pthread_cond_signal(&job->step);
	pthread_mutex_unlock(&job->lock);
	return NULL;
}

/* Until all threads have ended, under the lock. */
static void watch(struct job *job)
{
	uint64_t next = wfs_now_ns() + TELL_NS;

	while (job->running) {
		uint64_t done;

		wfs_cond_wait_until(&job->step, &job->lock,
				    job->want.progress ? next : UINT64_MAX);
		if (!job->want.progress || wfs_now_ns() < next ||
		    atomic_load(&job->stop))
			continue;
		next = wfs_now_ns() + TELL_NS;
		done = job->done;
		pthread_mutex_unlock(&job->lock);
		if (job->want.progress(job->want.ctx, done, job->total))
			atomic_store(&job->stop, true);
		pthread_mutex_lock(&job->lock);
	}
}

static unsigned threads_of(const struct weightfs_load *want)
{
	if (want->threads)
		return want->threads < 64 ? want->threads : 64;
	return (unsigned)wfs_least(wfs_cpus(), MAX_THREADS);
}

static int run(struct job *job)
{
	unsigned count = threads_of(&job->want), made = 0;
	pthread_t threads[64];
	sigset_t all, old;

	/* The program's signals are for its own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_mutex_lock(&job->lock);
	while (made < count &&
	       pthread_create(&threads[made], NULL, work, job) == 0)
		made++;
	job->running = made;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	watch(job);
	pthread_mutex_unlock(&job->lock);
	for (unsigned i = 0; i < made; i++)
		pthread_join(threads[i], NULL);
	if (!made)
		wfs_err_set(&job->err, -EAGAIN, "cannot start a thread");
	else if (!job->err.code && atomic_load(&job->stop))
		wfs_err_set(&job->err, -ECANCELED, "loading '%s' was given up",
			    job->set->path);
	return job->err.code;
}

int weightfs_load(struct weightfs_set *set, const struct weightfs_load *load)
{
	struct wfs_err *err = wfs_face_err();
	struct job job = { .set = set };
	int rc = load ? wfs_face_take(load, "a load", &job.want,
				      sizeof(job.want), err) :
			0;

	if (!rc)
		rc = wfs_weights_gpu_find(job.want.device, job.want.staged,
					  &job.gpu, err);
	if (!rc && job.gpu.cuda && !job.want.to)
		rc = wfs_err_set(err, -EINVAL,
				 "a load to '%s' needs places there: set 'to'",
				 job.want.device);
	if (rc)
		return rc;
	job.gpu.landed = landed;
	job.gpu.ctx = &job;
	if (!job.want.ahead)
		job.want.ahead = AHEAD;
	job.left = wfs_calloc(set->file_count + 1, sizeof(*job.left));
	for (uint32_t i = 0; i < set->count; i++) {
		job.total += wanted_of(&job, i);
		job.left[set->tensors[i].file] += wanted_of(&job, i);
	}
	pthread_mutex_init(&job.lock, NULL);
	wfs_cond_init(&job.step);
	rc = run(&job);
	if (!rc && job.want.progress)
		job.want.progress(job.want.ctx, job.done, job.total);
	pthread_cond_destroy(&job.step);
	pthread_mutex_destroy(&job.lock);
	free(job.left);
	if (rc)
		*err = job.err;
	return rc;
}
