/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch's routine, which alone touches the tracks.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/routine.h"
#include "tools/watch_look.h"

#define TICK_NS 1000000000ull

struct wfs_watch {
	struct wfs_watch_config config;
	struct wfs_tracks tracks;
	uint64_t look_at; /* ns */
	struct wfs_routine routine;
};

static uint64_t turn(void *ctx);

struct wfs_watch *wfs_watch_new(const struct wfs_watch_config *config)
{
	struct wfs_watch *watch = wfs_calloc(1, sizeof(*watch));

	watch->config = *config;
	watch->tracks.config = &watch->config;
	wfs_routine_init(&watch->routine, turn, watch);
	return watch;
}

void wfs_watch_free(struct wfs_watch *watch)
{
	if (!watch)
		return;
	wfs_tracks_clear(&watch->tracks);
	wfs_routine_clear(&watch->routine);
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

/* A look when it is time for one, else a tick. */
static uint64_t turn(void *ctx)
{
	struct wfs_watch *watch = ctx;
	uint64_t now = wfs_now_ns();

	if (now < watch->look_at) {
		wfs_registry_tick(watch->config.registry);
	} else {
		wfs_watch_look(watch);
		now = wfs_now_ns();
		watch->look_at = now + watch->config.rescan_ns;
	}
	return watch->look_at - now < TICK_NS ? watch->look_at - now : TICK_NS;
}

int wfs_watch_start(struct wfs_watch *watch)
{
	watch->look_at = wfs_now_ns() + watch->config.rescan_ns;
	return wfs_routine_start(&watch->routine, 0);
}

void wfs_watch_stop(struct wfs_watch *watch)
{
	wfs_routine_stop(&watch->routine);
}
