/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MODEL@tpN on the command line, and the options that say how it is computed:
 * what `weightfs plan` and `weightfs export` share.
 */
#ifndef WFS_TOOLS_LAYOUT_ARG_H
#define WFS_TOOLS_LAYOUT_ARG_H

#include <argp.h>
#include <stdbool.h>

#include "core/base/err.h"
#include "core/plan/layout.h"

struct wfs_layout_arg {
	char *path; /* absolute */
	bool has_spec;
	struct wfs_layout_spec spec;
};

/*
 * "dir/llama@tp4" -> "/…/dir/llama" and tp4: split at the last '@' that a
 * layout follows.  A path that exists is one, '@' and all, and has no layout.
 * -EINVAL for a path that does not exist and has after its last '@' what is
 * no layout.  Free with wfs_layout_arg_clear.
 */
int wfs_layout_arg_split(const char *arg, struct wfs_layout_arg *ret,
			 struct wfs_err *err);
void wfs_layout_arg_clear(struct wfs_layout_arg *arg);

/* As wfs_layout_parse, with or without '@' in front, and with a sentence. */
int wfs_layout_arg_spec(const char *text, struct wfs_layout_spec *ret_spec,
			struct wfs_err *err);

struct wfs_layout_settings {
	const char *plans_dir; /* NULL: only what is built in */
	const char *engine;    /* NULL: as struct wfs_layout_options says */
	uint64_t part_size;
	bool follow_links;
};

/*
 * Start with WFS_LAYOUT_SETTINGS_INIT.  The parser is a child of the
 * command's own (struct argp_child), its input is the settings; `parts` has
 * --part-size besides, for where there are files.
 */
#define WFS_LAYOUT_SETTINGS_INIT                                               \
	{                                                                      \
		.part_size = WFS_PART_SIZE                                     \
	}
extern const struct argp wfs_layout_argp;
extern const struct argp wfs_layout_argp_parts;

/* A checkpoint, the plans, and what came of them. */
struct wfs_layout_open {
	struct wfs_plans plans;
	struct wfs_model *base;
	struct wfs_model *layout; /* NULL: none was asked for */
};

/*
 * Opens the checkpoint and, if `arg` has a layout, compiles it.  Clear with
 * wfs_layout_close.
 */
int wfs_layout_open(const struct wfs_layout_arg *arg,
		    const struct wfs_layout_settings *settings,
		    struct wfs_layout_open *ret, struct wfs_err *err);
void wfs_layout_close(struct wfs_layout_open *open);

/* One more layout of what is open; the caller's to put. */
int wfs_layout_open_another(const struct wfs_layout_open *open,
			    const struct wfs_layout_spec *spec,
			    const struct wfs_layout_settings *settings,
			    struct wfs_model **ret_layout, struct wfs_err *err);

/* The whole way from an argument that must name a layout. */
int wfs_layout_open_arg(const char *text,
			const struct wfs_layout_settings *settings,
			struct wfs_layout_open *ret, struct wfs_err *err);

/*
 * The recipe of a tensor of a layout or of a checkpoint, or of an entry that
 * is a file; the caller's (wfs_recipe_free).
 */
int wfs_recipe_of_tensor(const struct wfs_model *model, uint32_t rank,
			 uint32_t index, struct wfs_recipe **ret_recipe,
			 struct wfs_err *err);
int wfs_recipe_of_entry(const struct wfs_model *model, uint32_t entry,
			struct wfs_recipe **ret_recipe, struct wfs_err *err);

#endif
