/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a checkpoint lacks that was put together from an engine's dump, shown.
 */
#include <inttypes.h>
#include <stdio.h>

#include "tools/grid.h"
#include "tools/losses.h"

static const char *const kinds[] = {
	[WFS_LOSS_GONE] = "gone",
	[WFS_LOSS_CAST] = "cast",
	[WFS_LOSS_SHAPE] = "shape",
};

static size_t count_kind(const struct wfs_layout_loss *losses, ssize_t count,
			 enum wfs_loss_kind kind)
{
	size_t n = 0;

	for (ssize_t i = 0; i < count; i++)
		n += losses[i].kind == kind;
	return n;
}

void wfs_losses_print(const struct wfs_model *layout)
{
	const struct wfs_layout_loss *losses = NULL;
	ssize_t count = wfs_layout_losses(layout, &losses);
	struct wfs_grid grid = { .columns = "ll" };

	if (count < 0)
		return;
	printf("\nPut together from what was saved: %" PRIu32
	       " tensors of the checkpoint; %zu as the engine cast them, %zu "
	       "perhaps of another shape (--json names them).\n",
	       wfs_layout_base(layout)->ranks[0].count,
	       count_kind(losses, count, WFS_LOSS_CAST),
	       count_kind(losses, count, WFS_LOSS_SHAPE));
	wfs_grid_add(&grid, "LOST, IF IT WAS THERE");
	wfs_grid_add(&grid, "WHY");
	for (ssize_t i = 0; i < count; i++) {
		if (losses[i].kind != WFS_LOSS_GONE)
			continue;
		wfs_grid_add(&grid, "%s", losses[i].name);
		wfs_grid_add(&grid, "%s", losses[i].reason);
	}
	wfs_grid_finish(&grid, "", stdout);
}

void wfs_losses_add_json(struct wfs_text *t, const struct wfs_model *layout)
{
	const struct wfs_layout_loss *losses = NULL;
	ssize_t count = wfs_layout_losses(layout, &losses);

	if (count < 0)
		return;
	wfs_text_add(t,
		     ", \"checkpoint\": {\"tensors\": %" PRIu32
		     ", \"losses\": [",
		     wfs_layout_base(layout)->ranks[0].count);
	for (ssize_t i = 0; i < count; i++) {
		wfs_text_add(t,
			     "%s{\"kind\": \"%s\", \"name\": ", i ? ", " : "",
			     kinds[losses[i].kind]);
		wfs_text_add_json(t, losses[i].name);
		wfs_text_add(t, ", \"reason\": ");
		wfs_text_add_json(t, losses[i].reason);
		wfs_text_add(t, "}");
	}
	wfs_text_add(t, "]}");
}
