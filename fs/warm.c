/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See warm.h.
 */
#include "fs/warm.h"

#include <errno.h>

#include "fs/backing.h"
#include "fs/node.h"

/* What the store makes of it, as a passthrough open would ask. */
static int hydrate(struct wfs_fs *fs, const struct wfs_node *node)
{
	struct wfs_node_recipe recipe;
	int rc = wfs_node_recipe(node, &recipe);

	if (rc)
		return rc;
	wfs_store_forget_failure(fs->store, wfs_node_ino(node));
	rc = wfs_store_acquire(fs->store, wfs_node_ino(node), recipe.recipe,
			       NULL, NULL);
	wfs_node_recipe_clear(&recipe);
	if (rc > 0)
		wfs_store_release(fs->store, wfs_node_ino(node));
	return rc > 0 || rc == -EINPROGRESS ? 0 : rc;
}

static int warm_node(struct wfs_fs *fs, const struct wfs_node *node,
		     struct weightfs_warm *warm)
{
	const struct wfs_model_entry *entry = wfs_node_entry(node);
	struct wfs_residency res;
	int rc;

	if (!entry && !wfs_node_tensor(node))
		return -ENOTTY;
	rc = wfs_node_check(node);
	if (rc)
		return rc;
	warm->size = wfs_node_size(node);
	warm->resident = 0;
	warm->state = WEIGHTFS_WARM_COMPLETE;
	if (!warm->size)
		return 0;
	if (wfs_node_descriptor(node) >= 0) {
		warm->state = WEIGHTFS_WARM_LOCAL;
		return 0;
	}
	if (!fs->store)
		return -EOPNOTSUPP;
	rc = warm->start ? hydrate(fs, node) : 0;
	if (rc)
		return rc;
	wfs_store_residency(fs->store, wfs_node_ino(node), &res);
	warm->resident = res.bytes;
	/* The open that asks has it tried again. */
	warm->state = res.resident		  ? WEIGHTFS_WARM_COMPLETE :
		      res.hydrating && !res.error ? WEIGHTFS_WARM_UNDER_WAY :
						    WEIGHTFS_WARM_ABSENT;
	return res.error == -ENOSPC ? -ENOSPC : 0;
}

int wfs_warm(struct wfs_fs *fs, uint64_t id, struct weightfs_warm *warm)
{
	struct wfs_node node;
	int rc;

	if (warm->start > 1)
		return -EINVAL;
	rc = wfs_node_resolve(fs->registry, id, &node);
	if (rc)
		return rc;
	rc = warm_node(fs, &node, warm);
	wfs_node_clear(&node);
	return rc;
}
