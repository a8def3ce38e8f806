/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file's bytes for a device, past this host's memory: where a source lands
 * them (core/landing.h) and they lie there as the file has them.
 */
#include <errno.h>
#include <sys/eventfd.h>

#include "core/base/least.h"
#include "core/base/mem.h"
#include "fs/fill_inner.h"
#include "fs/residence.h"

/* Bytes that are on their way, held by who lands and who waits for them. */
struct flight {
	struct wfs_work work;
	struct wfs_filling *filling;
	struct wfs_landing landing;
	uint64_t off, len;
	atomic_uint refs;
	atomic_bool begun; /* by whoever comes first: the other lets it be */
	atomic_int rc;
	int bell; /* an eventfd, rung when it has landed */
};

static void put(struct flight *f)
{
	if (atomic_fetch_sub(&f->refs, 1) != 1)
		return;
	wfs_landing_ring_put(f->landing.ring);
	wfs_filling_put(f->filling);
	close(f->bell);
	free(f);
}

static int land(struct flight *f)
{
	const struct wfs_recipe *recipe = f->filling->recipe.recipe;
	int rc = 0;

	while (f->len && !rc) {
		struct wfs_region *region = NULL;
		uint64_t off;
		uint64_t len = wfs_recipe_plain(recipe, f->off, &region, &off);

		if (!len)
			return -ENOTSUP;
		len = wfs_least(len, f->len);
		rc = wfs_region_land(region, &f->landing, len, off);
		f->landing.at += len;
		f->off += len;
		f->len -= len;
	}
	return rc;
}

static void run(struct wfs_work *work, void *room)
{
	struct flight *f = (struct flight *)work;

	(void)room;
	if (!atomic_exchange(&f->begun, true))
		atomic_store(&f->rc, land(f));
	eventfd_write(f->bell, 1);
	put(f);
}

/* Nothing is written any more when it returns: a landing stops soon. */
static int await(struct flight *f, const struct wfs_device_patience *patience)
{
	const int fds[] = { f->bell, patience->ends[0], patience->ends[1] };
	int rc = wfs_await_readable(fds, 3, patience->until_ns);

	if (rc == 0)
		return atomic_load(&f->rc);
	rc = rc < 0 ? rc : -EINTR;
	wfs_landing_stop(&f->landing, rc);
	if (atomic_exchange(&f->begun, true))
		wfs_await_readable(fds, 1, UINT64_MAX);
	return rc;
}

int wfs_fill_land(void *ctx, struct wfs_landing_ring *ring, uint64_t at,
		  uint64_t off, uint64_t len,
		  const struct wfs_device_patience *patience)
{
	struct wfs_filling *filling = ctx;
	int bell = eventfd(0, EFD_CLOEXEC);
	struct flight *f;
	int rc;

	if (bell < 0)
		return -EIO;
	f = wfs_calloc(1, sizeof(*f));
	wfs_filling_get(filling);
	f->work.run = run;
	f->filling = filling;
	f->landing.ring = wfs_landing_ring_get(ring);
	f->landing.at = at;
	f->landing.deadline_ns = patience->until_ns;
	f->off = off;
	f->len = len;
	f->bell = bell;
	atomic_store(&f->refs, 2);
	wfs_workers_queue(filling->fs->feeders, &f->work);
	rc = await(f, patience);
	put(f);
	if (!rc || rc == -ENOTSUP || rc == -ECANCELED || rc == -EINTR)
		return rc;
	return wfs_fill_source_error(rc);
}

/*
 * Is it an engine's memory, all that is wanted of it?  The rest is verified on
 * this host, and to ask a device for its ring first would be for nothing.
 */
bool wfs_fill_may_land(const struct wfs_filling *f)
{
	for (uint32_t i = 0; i < f->fill.count; i++) {
		struct wfs_region *region = NULL;
		uint64_t off;

		if (!wfs_recipe_plain(f->recipe.recipe,
				      f->fill.segment[i].file_off, &region,
				      &off) ||
		    !region->source->live || !region->source->ops->land ||
		    wfs_region_descriptor(region) >= 0)
			return false;
	}
	return true;
}
