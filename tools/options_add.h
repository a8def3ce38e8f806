/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options that may be given again and again; for options.c only.
 */
#ifndef WFS_TOOLS_OPTIONS_ADD_H
#define WFS_TOOLS_OPTIONS_ADD_H

#include "tools/options.h"

/* As wfs_options_set, for one key each. */
int wfs_options_add_layout(struct wfs_options *options, const char *value,
			   struct wfs_err *err);
int wfs_options_add_model(struct wfs_options *options, const char *value,
			  struct wfs_err *err);
int wfs_options_set_prefer(struct wfs_options *options, const char *value,
			   struct wfs_err *err);
int wfs_options_add_seed(struct wfs_options *options, const char *value,
			 struct wfs_err *err);

#endif
