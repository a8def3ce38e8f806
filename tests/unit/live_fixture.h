/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of memory, as short as a test wants to make them.
 */
#ifndef WFS_TESTS_UNIT_LIVE_FIXTURE_H
#define WFS_TESTS_UNIT_LIVE_FIXTURE_H

#include "tests/unit/t.h"

#include "transport/live/live.h"

extern struct wfs_err live_err;
extern struct wfs_bounces *live_bounces; /* between set-up and teardown */

/* Of a group: what its images copy by. */
int live_setup(void **state);
int live_teardown(void **state);

/* One of a model "m"; put it. */
struct wfs_live_image *live_image(const char *layout, bool one_name);
/* A tensor of `count` bytes. */
int live_add(struct wfs_live_image *image, uint32_t rank, const char *name,
	     const void *data, uint64_t count);
/* What the model of the image's epoch has, and its source. */
struct wfs_model *live_load(struct wfs_live_image *image);
/* The bytes of a tensor, as a reader gets them; the caller's. */
char *live_read_tensor(const struct wfs_model *model, const char *rank,
		       const char *name, uint64_t *ret_size);

#endif
