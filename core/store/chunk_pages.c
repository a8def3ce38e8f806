/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who had which pages of a chunk, so that it goes once nobody is left who
 * wants any.
 */
#include "core/store/chunks_inner.h"

/*
 * A page was had by one more of those that want it, who need not be those
 * that its neighbour is wanted by.
 */
static void pass_page(struct wfs_chunk *chunk, unsigned page, unsigned files)
{
	uint8_t *left = &chunk->left[page];

	if (*left == 0)
		return;
	if (*left == WFS_PAGE_UNASKED)
		*left = (uint8_t)(files < 1 ? 1 :
				  files < WFS_PAGE_UNASKED ?
					      files :
					      WFS_PAGE_UNASKED - 1);
	if (--*left == 0)
		chunk->done++;
}

/*
 * Has a page, all of which was fetched, more wanted of it than this reader
 * wants?  Not what the region keeps itself.
 */
static bool is_edge(const struct wfs_chunk_ref *ref,
		    const struct wfs_region *region, uint64_t page_end)
{
	uint64_t lo = ref->want.lo;

	return (lo > region->head_len &&
		lo > (page_end - 1) / WFS_PAGE * WFS_PAGE) ||
	       ref->want.hi < page_end;
}

/*
 * A page counts when a reader comes to its end or to that of what is wanted:
 * reads that cut it follow each other.  Where only some pages are fetched
 * nobody else will come for the rest of it; where all are, as many will.
 */
void wfs_chunk_pass_locked(struct wfs_chunk *chunk,
			   const struct wfs_chunk_ref *ref)
{
	bool far = wfs_chunk_is_far(chunk->region);
	uint64_t end = ref->off + ref->len;
	uint64_t most = wfs_chunk_start(chunk) + wfs_chunk_size(chunk);
	unsigned files = ref->want.files;

	for (uint64_t at = ref->off / WFS_PAGE * WFS_PAGE; at < end;
	     at += WFS_PAGE) {
		uint64_t page_end = at + WFS_PAGE < most ? at + WFS_PAGE : most;
		bool edge = far && is_edge(ref, chunk->region, page_end);
		uint64_t last = page_end;

		if (ref->want.hi < last && ref->want.hi > ref->off)
			last = ref->want.hi;
		if (last <= end)
			pass_page(chunk,
				  (unsigned)((at - wfs_chunk_start(chunk)) /
					     WFS_PAGE),
				  edge ? 2 * files : files);
	}
}
