/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A system call for each run of some KiB costs several times what copying it
 * does.  Out of a mapping of the file a run costs its copy, and sixteen pages
 * a fault.
 *
 * A window of the file is mapped for as long as it is copied from: what is
 * mapped is bounded by the threads that copy, and nothing of a file stays
 * mapped that somebody may cut short.  Asking for huge pages makes what is
 * not in memory yet come in large reads, ahead of the copy, and as pages that
 * are mapped by the dozen; what is in memory stays as it is.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/guard.h"
#include "core/plan/gather.h"
#include "core/plan/mapped.h"
#include "core/store/arena.h"

/* Longer runs are read one by one for less than the faults cost. */
#define RUN_MAX (16u * 1024)

/* A fault maps as many bytes: runs farther apart take one each. */
#define STRIDE_MAX (64u * 1024)

/* Fewer runs are not worth a mapping. */
#define RUNS_MIN 32

/* What is mapped at a time: some of the largest pages. */
#define WINDOW_BYTES (8ull * WFS_HUGE_PAGE)

/* Runs of the innermost loop that one window holds. */
struct window {
	const char *from;
	char *to;
	uint64_t run, stride, step, count;
};

static void copy_runs(void *ctx)
{
	const struct window *w = ctx;
	const char *from = w->from;
	char *to = w->to;

	for (uint64_t i = 0; i < w->count; i++) {
		memcpy(to, from, (size_t)w->run);
		from += w->stride;
		to += w->step;
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

/* The runs of a window, the first at `off`. */
static int copy_window(int fd, struct window *w, uint64_t off)
{
	uint64_t start = off / WFS_PAGE * WFS_PAGE;
	uint64_t len = off - start + (w->count - 1) * w->stride + w->run;
	char *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, (off_t)start);
	bool done;

	if (map == MAP_FAILED)
		return -ENOTSUP;
	/* Where there are none, small pages do as well. */
	(void)madvise(map, len, MADV_HUGEPAGE);
	w->from = map + (off - start);
	done = wfs_guarded(map, len, copy_runs, w);
	munmap(map, len);
	return done && reaches(fd, start + len) ? 0 : -EIO;
}

/* One time of the innermost loop. */
static int copy_loop(struct wfs_region *region, const struct wfs_loop *loop,
		     uint64_t run, uint64_t off, char *to)
{
	uint64_t most = (WINDOW_BYTES - run) / loop->stride + 1;
	int fd = wfs_region_descriptor(region);
	uint64_t count;
	int rc = 0;

	for (uint64_t i = 0; i < loop->count && !rc; i += count) {
		struct window w = { .run = run,
				    .stride = loop->stride,
				    .step = loop->step,
				    .to = to + i * loop->step };

		count = loop->count - i < most ? loop->count - i : most;
		w.count = count;
		rc = atomic_load(&region->stale) ?
			     -EIO :
			     copy_window(fd, &w, off + i * loop->stride);
	}
	if (!rc)
		wfs_region_count(region, loop->count * run);
	return rc;
}

int wfs_gather_mapped(struct wfs_region *region, const struct wfs_nest *nest,
		      char *to)
{
	const struct wfs_loop *last;
	struct wfs_odometer o = { 0 };
	int rc;

	if (!nest->n || nest->run > RUN_MAX)
		return -ENOTSUP;
	last = &nest->loops[nest->n - 1];
	if (last->stride > STRIDE_MAX || last->count < RUNS_MIN ||
	    wfs_region_descriptor(region) < 0)
		return -ENOTSUP;
	do
		rc = copy_loop(region, last, nest->run, nest->off + o.stride,
			       to + nest->at + o.step);
	while (!rc && wfs_odometer_next(&o, nest->loops, nest->n - 1));
	return rc;
}
