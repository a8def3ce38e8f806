/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch's thread.  It alone touches the tracks, so the lock guards
 * nothing but the wish to stop.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "core/base/text.h"
#include "tools/watch_look.h"

#define NS_PER_S 1000000000ull
#define TICK_NS	 NS_PER_S

struct wfs_watch {
	struct wfs_watch_config config;
	struct wfs_tracks tracks;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards stop */
	pthread_cond_t wake;
	bool stop;
};

struct wfs_watch *wfs_watch_new(const struct wfs_watch_config *config)
{
	struct wfs_watch *watch = wfs_calloc(1, sizeof(*watch));
	pthread_condattr_t attr;

	watch->config = *config;
	watch->tracks.config = &watch->config;
	pthread_mutex_init(&watch->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&watch->wake, &attr);
	pthread_condattr_destroy(&attr);
	return watch;
}

void wfs_watch_free(struct wfs_watch *watch)
{
	if (!watch)
		return;
	wfs_tracks_clear(&watch->tracks);
	pthread_cond_destroy(&watch->wake);
	pthread_mutex_destroy(&watch->lock);
	free(watch);
}

void wfs_watch_look(struct wfs_watch *watch)
{
	wfs_tracks_look(&watch->tracks);
}

int wfs_watch_first(struct wfs_watch *watch, struct wfs_err *err)
{
	struct wfs_registry_row *rows;
	size_t n;

	watch->tracks.first = true;
	wfs_watch_look(watch);
	watch->tracks.first = false;
	n = wfs_registry_rows(watch->config.registry, &rows);
	wfs_registry_rows_free(rows, n);
	if (n || watch->tracks.dir_exists || watch->config.elsewhere)
		return 0;
	return wfs_err_set(err, -ENOENT,
			   "nothing is left to serve: no checkpoint could be "
			   "read");
}

/* Sleeps until `when` or the wish to stop; true for the latter. */
static bool sleep_until(struct wfs_watch *watch, uint64_t when)
{
	struct timespec ts = {
		.tv_sec = (time_t)(when / NS_PER_S),
		.tv_nsec = (long)(when % NS_PER_S),
	};
	bool stop;

	pthread_mutex_lock(&watch->lock);
	while (!watch->stop &&
	       pthread_cond_timedwait(&watch->wake, &watch->lock, &ts) !=
		       ETIMEDOUT)
		;
	stop = watch->stop;
	pthread_mutex_unlock(&watch->lock);
	return stop;
}

static void *run(void *arg)
{
	struct wfs_watch *watch = arg;
	uint64_t look = wfs_now_ns() + watch->config.rescan_ns;

	for (;;) {
		uint64_t now = wfs_now_ns();
		uint64_t tick = now + TICK_NS;

		if (sleep_until(watch, look < tick ? look : tick))
			return NULL;
		if (wfs_now_ns() < look) {
			wfs_registry_tick(watch->config.registry);
			continue;
		}
		wfs_watch_look(watch);
		look = wfs_now_ns() + watch->config.rescan_ns;
	}
}

int wfs_watch_start(struct wfs_watch *watch)
{
	int rc = pthread_create(&watch->thread, NULL, run, watch);

	watch->started = rc == 0;
	return -rc;
}

void wfs_watch_stop(struct wfs_watch *watch)
{
	if (!watch->started)
		return;
	pthread_mutex_lock(&watch->lock);
	watch->stop = true;
	pthread_cond_signal(&watch->wake);
	pthread_mutex_unlock(&watch->lock);
	pthread_join(watch->thread, NULL);
	watch->started = false;
}
