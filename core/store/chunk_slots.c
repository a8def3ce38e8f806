/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of chunks: one mapping, used and given back in huge pages, so
 * that filling a chunk does not cost 256 faults and an old one leaves no
 * holes.  What is free stays warm, the one freed last is taken first, until
 * nothing was wanted for as long as chunks are kept.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/text.h"
#include "core/store/chunks_inner.h"

#define NONE UINT32_MAX

int wfs_slots_open(struct wfs_chunks *chunks, uint64_t bytes)
{
	uint64_t slabs = bytes / WFS_HUGE_PAGE;
	uintptr_t start;

	if (slabs > UINT32_MAX / (2 * WFS_SLAB_CHUNKS))
		slabs = UINT32_MAX / (2 * WFS_SLAB_CHUNKS);
	chunks->slots = (uint32_t)(slabs * WFS_SLAB_CHUNKS);
	chunks->warm = wfs_calloc(chunks->slots, sizeof(*chunks->warm));
	chunks->cold = wfs_calloc(slabs, sizeof(*chunks->cold));
	if (!slabs)
		return 0;
	chunks->span = (slabs + 1) * WFS_HUGE_PAGE;
	chunks->mapping = mmap(NULL, chunks->span, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			       0);
	if (chunks->mapping == MAP_FAILED) {
		chunks->mapping = NULL;
		return -errno;
	}
	start = ((uintptr_t)chunks->mapping + WFS_HUGE_PAGE - 1) &
		~(uintptr_t)(WFS_HUGE_PAGE - 1);
	chunks->memory =
		(char *)chunks->mapping + (start - (uintptr_t)chunks->mapping);
	/* Where there are none, small pages do as well. */
	(void)madvise(chunks->memory, slabs * WFS_HUGE_PAGE, MADV_HUGEPAGE);
	for (uint32_t i = 0; i < slabs; i++)
		chunks->cold[chunks->cold_count++] = (uint32_t)slabs - 1 - i;
	return 0;
}

void wfs_slots_close(struct wfs_chunks *chunks)
{
	if (chunks->mapping)
		munmap(chunks->mapping, chunks->span);
	free(chunks->warm);
	free(chunks->cold);
}

void wfs_slot_give_locked(struct wfs_chunks *chunks, uint32_t slot)
{
	chunks->warm[chunks->warm_count++] = slot;
}

static bool take_warm_locked(struct wfs_chunks *chunks, uint32_t *ret_slot)
{
	if (!chunks->warm_count)
		return false;
	*ret_slot = chunks->warm[--chunks->warm_count];
	return true;
}

/* Memory for a slab, if the cgroup and the machine have it. */
static bool warm_up_locked(struct wfs_chunks *chunks)
{
	uint64_t lack;
	uint32_t slab;
	bool fits;

	if (!chunks->cold_count)
		return false;
	slab = chunks->cold[--chunks->cold_count];
	wfs_chunks_unlock(chunks);
	fits = wfs_budget_take(&chunks->budget, WFS_HUGE_PAGE, &lack) == 0;
	if (fits)
		wfs_budget_settle(&chunks->budget, WFS_HUGE_PAGE, true);
	pthread_mutex_lock(&chunks->lock);
	if (!fits) {
		chunks->cold[chunks->cold_count++] = slab;
		return false;
	}
	for (uint32_t i = 0; i < WFS_SLAB_CHUNKS; i++)
		wfs_slot_give_locked(chunks, slab * WFS_SLAB_CHUNKS + i);
	return true;
}

bool wfs_slot_take(struct wfs_chunks *chunks, uint32_t *ret_slot)
{
	uint32_t slot = NONE;

	pthread_mutex_lock(&chunks->lock);
	chunks->taken_at = wfs_now_ns();
	if (!take_warm_locked(chunks, &slot)) {
		struct wfs_chunk *oldest;

		/* Others may take what was warmed up, but then they fetch. */
		(void)warm_up_locked(chunks);
		oldest = chunks->head;
		if (!take_warm_locked(chunks, &slot) && oldest) {
			chunks->evicted++;
			wfs_chunk_busy_locked(chunks, oldest);
			wfs_chunk_bury_locked(chunks, oldest);
			(void)take_warm_locked(chunks, &slot);
		}
	}
	wfs_chunks_unlock(chunks);
	if (slot == NONE)
		return false;
	*ret_slot = slot;
	return true;
}

/* Slots that are free, by slab; the caller frees it. */
static uint8_t *count_free_locked(const struct wfs_chunks *chunks)
{
	uint8_t *count =
		wfs_calloc(chunks->slots / WFS_SLAB_CHUNKS + 1, sizeof(*count));

	for (uint32_t i = 0; i < chunks->warm_count; i++)
		count[chunks->warm[i] / WFS_SLAB_CHUNKS]++;
	return count;
}

void wfs_slots_shrink_locked(struct wfs_chunks *chunks)
{
	uint8_t *count wfs_autofree = count_free_locked(chunks);
	uint32_t kept = 0, gone = 0;

	for (uint32_t i = 0; i < chunks->warm_count; i++)
		if (count[chunks->warm[i] / WFS_SLAB_CHUNKS] < WFS_SLAB_CHUNKS)
			chunks->warm[kept++] = chunks->warm[i];
	chunks->warm_count = kept;
	wfs_chunks_unlock(chunks);
	for (uint32_t i = 0; i < chunks->slots / WFS_SLAB_CHUNKS; i++) {
		if (count[i] < WFS_SLAB_CHUNKS)
			continue;
		(void)madvise(chunks->memory + (size_t)i * WFS_HUGE_PAGE,
			      WFS_HUGE_PAGE, MADV_DONTNEED);
		gone++;
	}
	if (gone)
		wfs_budget_freed(&chunks->budget);
	pthread_mutex_lock(&chunks->lock);
	for (uint32_t i = chunks->slots / WFS_SLAB_CHUNKS; i--;)
		if (count[i] == WFS_SLAB_CHUNKS)
			chunks->cold[chunks->cold_count++] = i;
}
