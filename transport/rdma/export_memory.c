/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings regions into registered memory, and takes them out of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/cond.h"
#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/text.h"
#include "core/digest/digests.h"
#include "transport/rdma/export_inner.h"

#define NS_PER_S 1000000000ull
#define LOOK_NS	 NS_PER_S
#define ALIGN	 4096ull
#define HUGE	 (2ull << 20)

static uint64_t round_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

static uint64_t digests_at(uint64_t size)
{
	return round_up(size, 64);
}

static uint64_t memory_of(uint64_t size)
{
	return round_up(digests_at(size) +
				wfs_chunk_count(size) * WFS_WIRE_HASH_SIZE,
			ALIGN);
}

/* No device reads it. */
static void unmap(struct wfs_exporter *exporter,
		  const struct export_region *region)
{
	if (!region->map)
		return;
	munmap(region->map, region->map_len);
	exporter->used -= region->map_len;
}

/*
 * First nobody is told of it.  What a device does not let go of stays where it
 * is, for good.  Under one lock: until its keys end no domain comes or goes.
 */
static void drop_at(struct wfs_exporter *exporter, size_t at)
{
	struct export_region region;
	bool gone;

	pthread_mutex_lock(&exporter->domains_lock);
	pthread_mutex_lock(&exporter->lock);
	region = exporter->regions[at];
	exporter->regions[at] = exporter->regions[--exporter->region_count];
	pthread_mutex_unlock(&exporter->lock);
	gone = wfs_export_deregister(exporter, &region);
	pthread_mutex_unlock(&exporter->domains_lock);
	if (gone)
		unmap(exporter, &region);
}

static int fill(struct wfs_exporter *exporter, struct export_region *region)
{
	uint8_t *digests = region->map + digests_at(region->size);

	for (uint64_t i = 0; i < wfs_chunk_count(region->size); i++) {
		int rc;

		if (atomic_load(&exporter->stop))
			return -ESHUTDOWN;
		rc = exporter->stock.read(exporter->stock.ctx, region->id,
					  i * WFS_CHUNK,
					  wfs_chunk_len(region->size, i),
					  region->map + i * WFS_CHUNK,
					  digests + i * WFS_WIRE_HASH_SIZE);
		if (rc)
			return rc;
	}
	return 0;
}

/*
 * It has nothing to do with where it is, but for where in a page: a device may
 * use one table of pages for both.
 */
uint64_t wfs_export_place_locked(struct wfs_exporter *exporter, const void *map,
				 uint64_t len)
{
	uint64_t at = exporter->next_at + (uintptr_t)map % HUGE;

	exporter->next_at = round_up(at + len + 1, HUGE);
	return at;
}

static void place(struct wfs_exporter *exporter, struct export_region *region)
{
	pthread_mutex_lock(&exporter->lock);
	region->address =
		wfs_export_place_locked(exporter, region->map, region->map_len);
	pthread_mutex_unlock(&exporter->lock);
	region->digests = region->address + digests_at(region->size);
}

static bool fits(struct wfs_exporter *exporter, uint64_t len)
{
	bool fits = len <= exporter->memory - exporter->used;

	pthread_mutex_lock(&exporter->lock);
	for (size_t i = 0; i < exporter->rail_count; i++)
		fits &= len <= exporter->rails[i].region_max;
	pthread_mutex_unlock(&exporter->lock);
	return fits;
}

/* What could not be taken in is remembered, and served over TCP. */
static void take_in(struct wfs_exporter *exporter,
		    const struct wfs_wire_region *item,
		    struct export_region *ret_region)
{
	struct export_region region = { .size = item->size };
	uint64_t len = memory_of(item->size);
	void *map;

	memcpy(region.id, item->id, sizeof(region.id));
	*ret_region = region;
	if (!fits(exporter, len))
		return;
	map = mmap(NULL, len, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return;
	madvise(map, len, MADV_HUGEPAGE);
	madvise(map, len, MADV_DONTFORK);
	region.map = map;
	region.map_len = len;
	exporter->used += len;
	if (fill(exporter, &region)) {
		unmap(exporter, &region);
		return;
	}
	place(exporter, &region);
	*ret_region = region;
}

static const struct wfs_wire_region *
find_item(const struct wfs_wire_region *items, size_t n, const uint8_t *id)
{
	for (size_t i = 0; i < n; i++)
		if (!memcmp(items[i].id, id, WFS_WIRE_ID_BYTES))
			return &items[i];
	return NULL;
}

static bool is_known(const struct wfs_exporter *exporter, const uint8_t *id)
{
	for (size_t i = 0; i < exporter->region_count; i++)
		if (!memcmp(exporter->regions[i].id, id, WFS_WIRE_ID_BYTES))
			return true;
	return false;
}

/* Regions that are listed no more; what was left out has its chance then. */
static void drop_old(struct wfs_exporter *exporter,
		     const struct wfs_wire_region *items, size_t n)
{
	bool freed = false;

	for (size_t i = 0; i < exporter->region_count; i++)
		freed |= exporter->regions[i].map &&
			 !find_item(items, n, exporter->regions[i].id);
	for (size_t i = exporter->region_count; i-- > 0;) {
		const struct export_region *region = &exporter->regions[i];

		if (!find_item(items, n, region->id) || (!region->map && freed))
			drop_at(exporter, i);
	}
}

static void add(struct wfs_exporter *exporter,
		const struct wfs_wire_region *item)
{
	struct export_region region;

	take_in(exporter, item, &region);
	pthread_mutex_lock(&exporter->domains_lock);
	wfs_export_register(exporter, &region);
	pthread_mutex_lock(&exporter->lock);
	exporter->regions =
		wfs_realloc(exporter->regions,
			    (exporter->region_count + 1) * sizeof(region));
	exporter->regions[exporter->region_count++] = region;
	pthread_mutex_unlock(&exporter->lock);
	pthread_mutex_unlock(&exporter->domains_lock);
}

static void say(struct wfs_exporter *exporter)
{
	struct wfs_export_stats stats;
	char size[32];

	wfs_exporter_stats(exporter, &stats);
	wfs_info("RDMA: %llu files in %s of registered memory, %llu left out",
		 (unsigned long long)stats.regions,
		 wfs_size_format(stats.bytes, size, sizeof(size)),
		 (unsigned long long)stats.left_out);
}

static void look(struct wfs_exporter *exporter)
{
	struct wfs_wire_region *items wfs_autofree = NULL;
	size_t n = exporter->stock.list(exporter->stock.ctx, &items);
	bool news = false;

	drop_old(exporter, items, n);
	for (size_t i = 0; i < n && !atomic_load(&exporter->stop); i++) {
		if (!items[i].size || is_known(exporter, items[i].id))
			continue;
		add(exporter, &items[i]);
		news = true;
	}
	if (news)
		say(exporter);
}

void *wfs_export_fill(void *arg)
{
	struct wfs_exporter *exporter = arg;

	while (!atomic_load(&exporter->stop)) {
		look(exporter);
		pthread_mutex_lock(&exporter->lock);
		if (!atomic_load(&exporter->stop))
			wfs_cond_wait_until(&exporter->stopped, &exporter->lock,
					    wfs_now_ns() + LOOK_NS);
		pthread_mutex_unlock(&exporter->lock);
	}
	return NULL;
}

void wfs_export_clear_regions(struct wfs_exporter *exporter)
{
	while (exporter->region_count)
		drop_at(exporter, exporter->region_count - 1);
	free(exporter->regions);
	exporter->regions = NULL;
}
