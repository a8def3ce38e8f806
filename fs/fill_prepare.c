/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a FILL says, held against what there is, before any of it is done.
 */
#include <errno.h>

#include "fs/fill_inner.h"
#include "fs/residence.h"

static int fail(struct wfs_filling *f, uint32_t stage, int rc)
{
	if (rc)
		f->copy.stage = stage;
	return rc;
}

/* The file, as the call wants it. */
static int find_file(struct wfs_filling *f, uint64_t id)
{
	int rc = wfs_ioctl_file(f->fs, id, &f->node);

	if (rc)
		return fail(f, WEIGHTFS_STAGE_AUTH, rc);
	if (f->fill.version && f->fill.version != f->node.model->fingerprint)
		return fail(f, WEIGHTFS_STAGE_FETCH, -ESTALE);
	rc = wfs_node_check(&f->node);
	if (!rc) {
		rc = wfs_node_recipe(&f->node, &f->recipe);
		f->has_recipe = !rc;
	}
	return fail(f, WEIGHTFS_STAGE_FETCH, rc && rc != -ESTALE ? -EIO : rc);
}

/* Of a call that waits for its outcome the ticket, and the bell. */
static int find_ticket(struct wfs_filling *f)
{
	struct wfs_slot ticket = { .kind = WFS_SLOT_TICKET,
				   .uid = f->caller.uid,
				   .fd = -1 };
	uint64_t id;
	int rc = 0;

	if (!(f->fill.head.flags & WEIGHTFS_FILL_ASYNC))
		return f->fill.event ? -EINVAL : 0;
	if (f->fill.event)
		rc = wfs_slots_get(f->fs->slots, f->fill.event, f->caller.uid,
				   WFS_SLOT_EVENT, &f->event);
	ticket.of = f->memory ? f->memory : f->event;
	if (!rc && !ticket.of)
		rc = -EINVAL; /* it would never go */
	if (!rc)
		rc = wfs_slots_add(f->fs->slots, &ticket, &id, &f->ticket);
	if (!rc)
		f->fill.ticket = id;
	return rc;
}

static int check_segments(const struct wfs_filling *f, uint64_t memory_bytes)
{
	return wfs_copy_check(f->fill.segment, f->fill.count,
			      wfs_node_size(&f->node), memory_bytes,
			      f->fill.done);
}

static int find_memory(struct wfs_filling *f)
{
	struct weightfs_fill *fill = &f->fill;
	int rc;

	if (fill->memory > WEIGHTFS_MEMORY_CUDA_POOL ||
	    (fill->memory == WEIGHTFS_MEMORY_CUDA_IPC && fill->slot) ||
	    (fill->memory != WEIGHTFS_MEMORY_HOST && fill->done))
		return -EINVAL;
	if (fill->memory == WEIGHTFS_MEMORY_CUDA_IPC)
		return check_segments(f, fill->alloc_bytes);
	rc = wfs_slots_get(f->fs->slots, fill->slot, f->caller.uid,
			   fill->memory == WEIGHTFS_MEMORY_HOST ?
				   WFS_SLOT_MEMORY :
				   WFS_SLOT_DEVICE,
			   &f->memory);
	if (rc)
		return rc;
	return check_segments(f, fill->memory == WEIGHTFS_MEMORY_HOST ?
					 f->memory->target.bytes :
					 fill->alloc_bytes);
}

int wfs_fill_prepare(struct wfs_filling *f, uint64_t id)
{
	struct weightfs_fill *fill = &f->fill;
	int rc = find_file(f, id);

	if (rc)
		return rc;
	rc = find_memory(f);
	rc = fail(f, WEIGHTFS_STAGE_AUTH, rc ? rc : find_ticket(f));
	if (rc)
		return rc;
	if (fill->memory != WEIGHTFS_MEMORY_HOST)
		return 0;
	f->copy.node = &f->node;
	f->copy.recipe = f->recipe.recipe;
	f->copy.target = &f->memory->target;
	f->copy.segments = fill->segment;
	f->copy.count = fill->count;
	f->copy.resident = wfs_node_residency(f->fs, &f->node).resident;
	return 0;
}
