/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See ioctl.h.
 */
#include "fs/ioctl.h"

#include <errno.h>
#include <string.h>

#include "fs/fill.h"
#include "fs/info.h"
#include "fs/ioctl_device.h"

int wfs_ioctl_head(struct weightfs_head *head, size_t size, uint32_t flags)
{
	head->status = 0;
	head->stage = WEIGHTFS_STAGE_NONE;
	head->cuda_err = head->wc_status = head->vendor_err = 0;
	if (head->size == size && head->abi == WEIGHTFS_ABI &&
	    !(head->flags & ~flags))
		return 0;
	head->status = -EINVAL;
	head->stage = WEIGHTFS_STAGE_AUTH;
	return -EINVAL;
}

uint64_t wfs_ioctl_deadline(uint64_t timeout_ns)
{
	uint64_t now = wfs_now_ns();

	return timeout_ns && timeout_ns < UINT64_MAX - now ? now + timeout_ns :
							     UINT64_MAX;
}

int wfs_ioctl_file(struct wfs_fs *fs, uint64_t id, struct wfs_node *ret_node)
{
	struct wfs_node node;
	int rc;

	if (wfs_ino_slot(id) == 0)
		return -ENOTTY;
	rc = wfs_node_resolve(fs->registry, id, &node);
	if (rc)
		return rc;
	if (wfs_node_is_dir(&node)) {
		wfs_node_clear(&node);
		return -ENOTTY;
	}
	*ret_node = node;
	return 0;
}

/* With all of the struct, whatever came of it. */
static void reply(fuse_req_t req, struct weightfs_head *head, int rc)
{
	head->status = rc;
	if (!rc)
		head->stage = WEIGHTFS_STAGE_NONE;
	fuse_reply_ioctl(req, rc, head, head->size);
}

/* What came with a call, which goes back changed. */
union payload {
	struct weightfs_head head;
	struct weightfs_info info;
	struct weightfs_fill fill;
	struct weightfs_lend lend;
	struct weightfs_drop drop;
};

static void answer_info(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
			union payload *p)
{
	reply(req, &p->head,
	      wfs_info_fill(fs, id, fuse_req_ctx(req), &p->info));
}

static void answer_fill(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
			union payload *p)
{
	p->fill.head.flags &= ~WEIGHTFS_FILL_BY_RING; /* of the call before */
	wfs_fill(fs, req, id, &p->fill);
}

static void answer_lend(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
			union payload *p)
{
	wfs_ioctl_device_lend(fs, req, id, &p->lend);
}

static int drop_slot(struct wfs_fs *fs, uid_t uid, struct weightfs_drop *out)
{
	struct wfs_outcome outcome = { 0 };
	int rc = wfs_slots_drop(fs->slots, out->slot, uid, &outcome);

	if (rc)
		return rc;
	out->done = outcome.done;
	out->result = outcome.status;
	out->stage = outcome.stage;
	out->from_memory = outcome.from_memory;
	out->ns = outcome.ns;
	out->head.flags = outcome.flags;
	return 0;
}

static void answer_drop(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
			union payload *p)
{
	struct weightfs_drop *out = &p->drop;
	int rc = 0;

	out->head.stage = WEIGHTFS_STAGE_AUTH;
	/* A file that is stale by now is as good as any to drop things by. */
	if (wfs_ino_slot(id) == 0)
		rc = -ENOTTY;
	else if (!out->slot == !(out->lease || out->cookie))
		rc = -EINVAL;
	if (!rc && !out->slot) {
		wfs_ioctl_device_drop(fs, req, out);
		return;
	}
	if (!rc)
		rc = drop_slot(fs, fuse_req_ctx(req)->uid, out);
	reply(req, &out->head, rc);
}

static const struct ioctl_call {
	unsigned cmd;
	uint32_t flags;
	size_t size, taken; /* all of it; what of it is in */
	void (*answer)(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
		       union payload *p);
} calls[] = {
	{ WEIGHTFS_IOC_INFO, 0, sizeof(struct weightfs_info),
	  sizeof(struct weightfs_head), answer_info },
	{ WEIGHTFS_IOC_FILL, WEIGHTFS_FILL_ASYNC | WEIGHTFS_FILL_BY_RING,
	  sizeof(struct weightfs_fill), sizeof(struct weightfs_fill),
	  answer_fill },
	{ WEIGHTFS_IOC_LEND, 0, sizeof(struct weightfs_lend),
	  sizeof(struct weightfs_lend), answer_lend },
	{ WEIGHTFS_IOC_DROP, 0, sizeof(struct weightfs_drop),
	  sizeof(struct weightfs_drop), answer_drop },
};

static void answer(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
		   const struct ioctl_call *call, const void *in)
{
	union payload p;
	int rc;

	memset(&p, 0, sizeof(p));
	memcpy(&p, in, call->taken);
	rc = wfs_ioctl_head(&p.head, call->size, call->flags);
	p.head.size = (uint32_t)call->size;
	if (rc)
		reply(req, &p.head, rc);
	else
		call->answer(fs, req, id, &p);
}

void wfs_op_ioctl(fuse_req_t req, fuse_ino_t id, unsigned cmd, void *arg,
		  struct fuse_file_info *fi, unsigned flags, const void *in,
		  size_t in_size, size_t out_size)
{
	const struct wfs_ioctl call = {
		.cmd = cmd,
		.in = in,
		.in_size = in_size,
		.out_size = out_size,
	};
	struct wfs_fs *fs = wfs_fs_of(req);

	(void)arg;
	(void)fi;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i].cmd != cmd || flags & FUSE_IOCTL_DIR ||
		    in_size != calls[i].size || out_size != calls[i].size)
			continue;
		answer(fs, req, id, &calls[i], in);
		return;
	}
	wfs_control_ioctl(fs, req, id, &call);
}
