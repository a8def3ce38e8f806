/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A system call for each run of some KiB costs several times what copying it
 * does.  Out of a mapping of the file a run costs its copy, and sixteen pages
 * a fault.
 *
 * With a chunk cache the windows that are copied from stay mapped for a while
 * (core/store/windows.h), for the other ranks; without one, as long as it
 * takes.  Asking for huge pages makes what is not in memory yet come in large
 * reads, ahead of the copy, and as pages that are mapped by the dozen; what is
 * in memory stays as it is.
 */
#include <errno.h>
#include <string.h>

#include "core/base/guard.h"
#include "core/plan/mapped.h"
#include "core/store/chunks.h"
#include "core/store/windows.h"

/* Longer runs are read one by one for less than the faults cost. */
#define RUN_MAX WFS_WINDOW_TAIL

/* A fault maps as many bytes: runs farther apart take one each. */
#define STRIDE_MAX (64u * 1024)

/* Fewer runs are not worth a mapping. */
#define RUNS_MIN 32

/* Runs of the innermost loop. */
struct runs {
	const char *from;
	char *to;
	uint64_t run, stride, step, count;
};

static void copy_runs(void *ctx)
{
	const struct runs *r = ctx;
	const char *from = r->from;
	char *to = r->to;

	for (uint64_t i = 0; i < r->count; i++) {
		memcpy(to, from, (size_t)r->run);
		from += r->stride;
		to += r->step;
	}
}

/*
 * The rest of a file's last page reads as zeros: one that was cut short in
 * the middle of a page that was copied is not told by a fault.
 */
static bool reaches(int fd, uint64_t end)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (uint64_t)st.st_size >= end;
}

/* Runs of which the first, at `off`, begins in `w`; as many as begin there. */
static int copy_window(int fd, const struct wfs_window *w, struct runs *runs,
		       uint64_t off)
{
	uint64_t left = w->off + WFS_WINDOW_BYTES - off;
	uint64_t most = (left - 1) / runs->stride + 1, end;

	if (runs->count > most)
		runs->count = most;
	end = off + (runs->count - 1) * runs->stride + runs->run;
	if (end > w->off + w->len)
		return -EIO;
	runs->from = w->map + (off - w->off);
	if (!wfs_guarded(w->map, w->len, copy_runs, runs) || !reaches(fd, end))
		return -EIO;
	return 0;
}

/* One time of the innermost loop. */
static int copy_loop(struct wfs_windows *windows, struct wfs_region *region,
		     const struct runs *loop, uint64_t off)
{
	struct runs runs = *loop;
	uint64_t left = loop->count;
	int rc = 0;

	while (left && !rc) {
		struct wfs_window *w;

		if (atomic_load(&region->stale))
			return -EIO;
		rc = wfs_window_get(windows, region, off, &w);
		if (rc)
			return rc;
		runs.count = left;
		rc = copy_window(wfs_region_descriptor(region), w, &runs, off);
		wfs_window_put(windows, w);
		left -= runs.count;
		off += runs.count * runs.stride;
		runs.to += runs.count * runs.step;
	}
	if (!rc)
		wfs_region_count(region, loop->count * loop->run);
	return rc;
}

static int copy_loops(struct wfs_windows *windows, struct wfs_region *region,
		      const struct wfs_nest *nest, char *to)
{
	const struct wfs_loop *last = &nest->loops[nest->n - 1];
	struct wfs_odometer o = { 0 };
	int rc;

	do {
		struct runs runs = { .run = nest->run,
				     .stride = last->stride,
				     .step = last->step,
				     .count = last->count,
				     .to = to + nest->at + o.step };

		rc = copy_loop(windows, region, &runs, nest->off + o.stride);
	} while (!rc && wfs_odometer_next(&o, nest->loops, nest->n - 1));
	return rc;
}

int wfs_gather_mapped(struct wfs_region *region, const struct wfs_nest *nest,
		      char *to)
{
	struct wfs_chunks *chunks = region->source->chunks;
	struct wfs_windows *own = NULL;
	const struct wfs_loop *last;
	int rc;

	if (!nest->n || nest->run > RUN_MAX)
		return -ENOTSUP;
	last = &nest->loops[nest->n - 1];
	if (last->stride > STRIDE_MAX || last->count < RUNS_MIN ||
	    wfs_region_descriptor(region) < 0)
		return -ENOTSUP;
	if (!chunks)
		own = wfs_windows_new(0, NULL, NULL);
	rc = copy_loops(chunks ? wfs_chunks_windows(chunks) : own, region, nest,
			to);
	wfs_windows_free(own);
	return rc;
}
