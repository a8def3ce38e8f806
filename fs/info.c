/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See info.h.
 */
#include "fs/info.h"

#include <errno.h>
#include <string.h>

#include "core/device.h"
#include "fs/copy.h"
#include "fs/passing.h"
#include "fs/residence.h"

#define DIMS (sizeof(((struct weightfs_info *)0)->shape) / sizeof(__u64))

static void put_text(char *to, size_t room, const char *text)
{
	size_t len = strlen(text);

	if (len < room)
		memcpy(to, text, len + 1);
}

static void describe(struct wfs_fs *fs, const struct wfs_node *node,
		     struct weightfs_info *info)
{
	const struct wfs_tensor *tensor = wfs_node_tensor(node);
	uint64_t resident;

	info->bytes = wfs_node_size(node);
	info->version = node->model->fingerprint;
	if (wfs_resident_bytes(fs, node, &resident) == 0)
		info->resident = resident;
	put_text(info->trust, sizeof(info->trust),
		 wfs_trust_name(wfs_node_trust(node)));
	wfs_node_digest(fs, node, info->digest);
	if (!tensor)
		return;
	put_text(info->dtype, sizeof(info->dtype),
		 wfs_dtype_name(tensor->dtype));
	info->dims = tensor->ndim;
	for (unsigned i = 0; i < tensor->ndim && i < DIMS; i++)
		info->shape[i] = tensor->shape[i];
}

/* What is mapped costs nobody anything; what is read by READs a lot. */
static uint32_t best_path(struct wfs_fs *fs, const struct wfs_node *node,
			  uint32_t can)
{
	if (wfs_is_passed_through(fs, node))
		return WEIGHTFS_PATH_MAP;
	return can & WEIGHTFS_CAN_FILL ? WEIGHTFS_PATH_FILL :
					 WEIGHTFS_PATH_READ;
}

/* What the reader needs for passing descriptors. */
static int introduce(struct wfs_fs *fs, const struct fuse_ctx *ctx,
		     struct weightfs_info *info)
{
	struct wfs_caller caller;
	int rc;

	if (!fs->passing)
		return 0;
	rc = wfs_caller_find(ctx->pid, ctx->uid, &caller);
	if (!rc)
		rc = wfs_caller_token(wfs_passing_key(fs->passing), &caller,
				      info->token);
	if (rc)
		return rc;
	put_text(info->socket, sizeof(info->socket),
		 wfs_passing_path(fs->passing));
	info->can |= WEIGHTFS_CAN_FILL;
	return 0;
}

static int look_for_devices(struct wfs_fs *fs, const struct fuse_ctx *ctx,
			    struct weightfs_info *info)
{
	struct wfs_device_caller caller = { .pid = ctx->pid,
					    .uid = ctx->uid,
					    .gid = ctx->gid };
	struct wfs_device_info device;
	int rc = wfs_device_info(fs->config.device, &caller, &device);

	if (rc)
		return rc;
	info->devices = device.devices;
	if (device.fills)
		info->can |= WEIGHTFS_CAN_FILL_DEVICE;
	if (device.lends)
		info->can |= WEIGHTFS_CAN_LEND;
	return 0;
}

/* Never in one file, which is what a device is filled from otherwise. */
static bool fills_by_ring(struct wfs_fs *fs, const struct wfs_node *node)
{
	struct wfs_store_stats stats;
	struct wfs_node_recipe recipe;
	bool local;

	if (wfs_node_recipe(node, &recipe))
		return false;
	local = wfs_copy_file(recipe.recipe) >= 0;
	wfs_node_recipe_clear(&recipe);
	if (local || wfs_node_size(node) == 0)
		return false;
	if (!fs->store)
		return true;
	wfs_store_stats(fs->store, &stats);
	return wfs_node_size(node) > stats.arena_bytes;
}

int wfs_info_fill(struct wfs_fs *fs, uint64_t id, const struct fuse_ctx *caller,
		  struct weightfs_info *info)
{
	struct wfs_node node;
	int rc = wfs_ioctl_file(fs, id, &node);

	info->head.stage = WEIGHTFS_STAGE_AUTH;
	if (rc)
		return rc;
	rc = introduce(fs, caller, info);
	if (!rc)
		rc = look_for_devices(fs, caller, info);
	if (!rc) {
		info->head.stage = WEIGHTFS_STAGE_FETCH;
		rc = wfs_node_check(&node);
	}
	if (!rc) {
		describe(fs, &node, info);
		info->best = best_path(fs, &node, info->can);
		if (info->can & WEIGHTFS_CAN_FILL_DEVICE &&
		    fills_by_ring(fs, &node))
			info->can |= WEIGHTFS_FILLS_BY_RING;
		info->head.stage = WEIGHTFS_STAGE_NONE;
	}
	wfs_node_clear(&node);
	return rc;
}
