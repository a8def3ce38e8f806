/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `weightfs inspect` prints of a model, for people and for machines.
 */
#ifndef WFS_TOOLS_INSPECT_H
#define WFS_TOOLS_INSPECT_H

#include <stdbool.h>

#include "core/model/model.h"

struct wfs_inspect_sum {
	uint64_t tensors, elements, bytes;
};

/* A model and its sums. */
struct wfs_inspect {
	const char *path; /* as the user has it, absolute */
	const struct wfs_model *model;
	struct wfs_inspect_sum all;
	struct wfs_inspect_sum dtype[WFS_DTYPE_COUNT];
	struct wfs_inspect_sum *file; /* by index in model->entries */
	uint32_t files;		      /* without directories */
};

/* Fills all but path and model; clear with wfs_inspect_clear. */
void wfs_inspect_add_up(struct wfs_inspect *in);
void wfs_inspect_clear(struct wfs_inspect *in);

/* To stdout; `tensors`: each of them too. */
void wfs_inspect_print(const struct wfs_inspect *in, bool tensors);
void wfs_inspect_print_json(const struct wfs_inspect *in, bool tensors);

/* "[4096, 1024]"; the caller frees it. */
char *wfs_inspect_shape(const struct wfs_tensor *tensor);
/* As JSON, a name whose NULs, held as C0 80, become \u0000. */
struct wfs_text;
void wfs_inspect_add_name(struct wfs_text *text, const char *name);

/* The file that a shard of the model is, as its source calls it. */
static inline const char *wfs_inspect_file(const struct wfs_inspect *in,
					   uint32_t entry)
{
	return in->model->entries[entry].region->path;
}

#endif
