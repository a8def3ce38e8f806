/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See ahead.h.
 */
#include "fs/ahead.h"

#include "core/base/least.h"
#include "fs/node.h"
#include "fs/order.h"

/*
 * How far apart the loader's opens are in the order, once two steps were the
 * same: 1 for one that takes all, 6 for one that takes the same matrix of
 * each layer.  0 while that is not known.
 */
static int64_t find_stride(struct wfs_ahead *a, int64_t at)
{
	int64_t stride = a->begun ? at - a->last : 0;
	bool known = stride != 0 && stride == a->stride;

	if (!known)
		a->queued = at;
	a->begun = true;
	a->stride = stride;
	a->last = at;
	return known ? stride : 0;
}

/* Is it worth a little that the next one in the order will be wanted? */
static bool may_go_on(const struct wfs_ahead *a, const struct wfs_node *node)
{
	return a->stride == 1 ||
	       (a->last == 0 && node->kind == WFS_KIND_TENSOR);
}

unsigned wfs_ahead_next(struct wfs_ahead *a, const struct wfs_order *order,
			const struct wfs_node *node, uint64_t window, bool sure,
			uint32_t ret_indices[WFS_PREFETCH_FILES])
{
	uint32_t position = wfs_order_position(order, node->index);
	int64_t at = position, end = wfs_order_end(order, position);
	int64_t stride = find_stride(a, at);
	struct wfs_node next = *node;
	uint64_t bytes = 0;
	unsigned n = 0;

	if (stride == 0 && sure) {
		stride = 1;
	} else if (stride == 0 && may_go_on(a, node)) {
		stride = 1;
		window = wfs_least(window, WFS_PREFETCH_GUESS);
	}
	if (stride == 0)
		return 0;
	for (int k = 0; k < WFS_PREFETCH_FILES && bytes < window; k++) {
		at += stride;
		if (at < 0 || at >= end)
			break;
		next.index = wfs_order_at(order, (uint32_t)at);
		bytes += wfs_node_size(&next);
		if (stride > 0 ? at > a->queued : at < a->queued) {
			ret_indices[n++] = next.index;
			a->queued = at;
		}
	}
	return n;
}
