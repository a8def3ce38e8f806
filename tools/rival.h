/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeds that come when a web server has the name already.  The one who mounts
 * named that server, and nobody else says which version he meant: what seeds
 * have of another one does not take its place, and what they have of the very
 * same one, where that is proven, is one more source of its bytes.
 */
#ifndef WFS_TOOLS_RIVAL_H
#define WFS_TOOLS_RIVAL_H

#include "core/base/err.h"
#include "core/model/registry.h"

/*
 * Is `from` the very version of `served`, a web server's whose bytes are held
 * against a digest manifest that the operator named, or signed?  It has the same
 * one, which may be read.
 */
bool wfs_rival_is_same(struct wfs_source *served, struct wfs_source *from);

/*
 * May `model`, which seeds offer, have the name of what is served?  0; -EEXIST
 * with a sentence when a web server's version has it, and this is another one:
 * by the sizes of its files, the headers of its shards, or its digest manifest
 * where both have one, which is read.  What that reading says, if it fails.
 */
int wfs_rival_check(struct wfs_registry *registry,
		    const struct wfs_model *model, struct wfs_err *err);

#endif
