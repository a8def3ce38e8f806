/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See ioctl_device.h.
 */
#include "fs/ioctl_device.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "core/base/mem.h"
#include "fs/copy.h"
#include "fs/residence.h"

_Static_assert(
	(int)WEIGHTFS_STAGE_VERIFY == (int)WFS_DEVICE_STAGE_VERIFY &&
		(int)WEIGHTFS_MEMORY_CUDA_IPC == (int)WFS_DEVICE_CUDA_IPC &&
		(int)WEIGHTFS_MEMORY_CUDA_VMM == (int)WFS_DEVICE_VMM_FD &&
		(int)WEIGHTFS_MEMORY_CUDA_POOL == (int)WFS_DEVICE_POOL_FD &&
		(int)WEIGHTFS_DEVICE_MIG == (int)WFS_DEVICE_MIG_UUID,
	"numbers are those of core/device.h");

/* A file that all bytes of a node lie in, from `base` on. */
struct bytes {
	int fd;
	uint64_t base;
	bool steady, acquired;
};

/* How long they are waited for. */
struct patience {
	uint64_t until_ns;
	const int *stop; /* or NULL */
};

static struct wfs_device_id device_id(const struct weightfs_device *device)
{
	struct wfs_device_id id = { .by = device->by,
				    .domain = device->pci_domain,
				    .bus = device->pci_bus,
				    .device = device->pci_device,
				    .function = device->pci_function };

	memcpy(id.uuid, device->uuid, sizeof(id.uuid));
	return id;
}

int wfs_ioctl_device_unfetched(int rc)
{
	switch (rc) {
	case -EIO:
	case -ESTALE:
	case -EBADMSG:
	case -EHOSTUNREACH:
	case -ETIMEDOUT:
	case -EINTR:
		return rc;
	default:
		return -ENOSPC;
	}
}

/*
 * A local file as it is, else one of the arena; `alone`: nothing else in it.
 * -EHOSTUNREACH, no way for a device, where it cannot be there.
 */
static int find_bytes(struct wfs_fs *fs, const struct wfs_node *node,
		      const struct wfs_recipe *recipe,
		      const struct patience *patience, bool alone,
		      struct bytes *ret)
{
	int fd = wfs_copy_file(recipe), rc;

	if (fd >= 0 && (!alone || node->kind == WFS_KIND_ENTRY)) {
		*ret = (struct bytes){ .fd = fd, .base = recipe->pieces->off };
		return 0;
	}
	if (!fs->store)
		return -EHOSTUNREACH;
	rc = wfs_await_resident(fs, node, recipe, patience->until_ns,
				patience->stop);
	if (rc <= 0) {
		rc = wfs_ioctl_device_unfetched(rc);
		return rc == -ENOSPC ? -EHOSTUNREACH : rc;
	}
	fd = wfs_store_descriptor(fs->store, wfs_node_ino(node));
	*ret = (struct bytes){ .fd = fd, .steady = true, .acquired = true };
	return 0;
}

static void put_bytes(struct wfs_fs *fs, const struct wfs_node *node,
		      const struct bytes *bytes)
{
	if (bytes->acquired)
		wfs_store_release(fs->store, wfs_node_ino(node));
}

static int failed(struct weightfs_head *head,
		  const struct wfs_device_fault *fault, int rc)
{
	head->stage = rc ? fault->stage : WEIGHTFS_STAGE_NONE;
	head->cuda_err = rc ? fault->cuda_err : 0;
	return rc;
}

static void set_segments(const struct weightfs_fill *fill, uint64_t base,
			 struct wfs_device_segment *to)
{
	memcpy(to, fill->segment, fill->count * sizeof(*to));
	for (uint32_t i = 0; i < fill->count; i++)
		to[i].file_off += base;
}

int wfs_ioctl_device_fill(struct wfs_fs *fs, const struct wfs_device_call *call,
			  struct weightfs_fill *fill)
{
	static const uint8_t no_event[sizeof(fill->ready)];
	struct wfs_device_segment segments[WFS_DEVICE_SEGMENTS];
	struct wfs_device_fault fault = { 0 };
	uint64_t size = wfs_node_size(call->node);
	struct wfs_device_filled filled = { 0 };
	struct wfs_err err = { 0 };
	struct bytes bytes = { .fd = -1 };
	struct wfs_device_fill order;
	int rc;

	if (fs->config.device && !call->feed) {
		fault.stage = WFS_DEVICE_STAGE_FETCH;
		rc = find_bytes(fs, call->node, call->recipe,
				&(struct patience){ call->until_ns,
						    call->stop },
				false, &bytes);
		if (rc)
			return failed(&fill->head, &fault, rc);
	}
	set_segments(fill, bytes.base, segments);
	order = (struct wfs_device_fill){
		.caller = call->caller,
		.device = device_id(&fill->device),
		.memory = fill->memory,
		.memory_fd = call->slot ? call->slot->fd : -1,
		.memory_bytes = fill->alloc_bytes,
		.cookie = fill->cookie,
		.ready = memcmp(fill->ready, no_event, sizeof(no_event)) ?
				 fill->ready :
				 NULL,
		.fd = bytes.fd,
		.feed = call->feed,
		.file_bytes = bytes.base + size,
		.steady = bytes.steady,
		.segments = segments,
		.segment_count = fill->count,
		.deadline_ns = call->until_ns,
		.stop = call->stop,
	};
	memcpy(order.handle, fill->handle, sizeof(order.handle));
	rc = wfs_device_fill(fs->config.device, &order, &filled, &fault, &err);
	put_bytes(fs, call->node, &bytes);
	fill->done = filled.bytes;
	return failed(&fill->head, &fault, rc);
}

/* A LEND or a DROP that waits for a thread. */
struct asking {
	struct wfs_work work;
	struct wfs_fs *fs;
	fuse_req_t req;
	struct wfs_device_caller caller;
	uint64_t id;
	union {
		struct weightfs_head head;
		struct weightfs_lend lend;
		struct weightfs_drop drop;
	};
	size_t size; /* of the struct that goes back */
	uint64_t until_ns;
	int bell; /* of a LEND: an eventfd, rung when it is interrupted; or -1 */
};

static void reply(struct asking *a, const struct wfs_device_fault *fault,
		  int rc)
{
	a->head.status = failed(&a->head, fault, rc);
	if (a->bell >= 0)
		fuse_req_interrupt_func(a->req, NULL, NULL);
	fuse_reply_ioctl(a->req, rc, &a->head, a->size);
	wfs_closep(&a->bell);
	free(a);
}

static void interrupted(fuse_req_t req, void *data)
{
	const struct asking *a = data;

	(void)req;
	eventfd_write(a->bell, 1);
}

static int lend_file(struct asking *a, const struct wfs_node *node,
		     const struct bytes *bytes, struct wfs_device_fault *fault)
{
	struct weightfs_lend *lend = &a->lend;
	struct wfs_device_lent lent = { .memory_fd = -1 };
	struct wfs_err err = { 0 };
	const struct wfs_device_want want = {
		.caller = a->caller,
		.device = device_id(&lend->device),
		.memory = a->lend.memory,
		.key = { wfs_node_ino(node), node->model->fingerprint },
		.fd = bytes->fd,
		.file_bytes = wfs_node_size(node),
		.steady = bytes->steady,
		.deadline_ns = a->until_ns,
	};
	int rc = wfs_device_lend(a->fs->config.device, &want, &lent, fault,
				 &err);

	if (rc)
		return rc;
	lend->memory = lent.memory;
	lend->lease = lent.lease;
	lend->offset = lent.offset;
	lend->bytes = want.file_bytes;
	lend->alloc_bytes = lent.memory_bytes;
	memcpy(lend->handle, lent.handle, sizeof(lend->handle));
	wfs_closep(&lent.memory_fd); /* asked for over the socket */
	return 0;
}

static int lend_node(struct asking *a, const struct wfs_node *node,
		     struct wfs_device_fault *fault)
{
	struct bytes bytes = { .fd = -1 };
	struct wfs_node_recipe recipe;
	int rc;

	if (a->lend.reserved || a->lend.memory > WEIGHTFS_MEMORY_CUDA_VMM)
		return -EINVAL;
	/* Nobody is there to be asked for a descriptor. */
	if (!a->fs->passing && a->lend.memory == WEIGHTFS_MEMORY_CUDA_VMM)
		return -EOPNOTSUPP;
	if (!a->fs->passing)
		a->lend.memory = WEIGHTFS_MEMORY_CUDA_IPC;
	fault->stage = WFS_DEVICE_STAGE_FETCH;
	if (a->lend.version && a->lend.version != node->model->fingerprint)
		return -ESTALE;
	rc = wfs_node_check(node);
	if (!rc)
		rc = wfs_node_recipe(node, &recipe);
	if (rc)
		return rc == -ESTALE ? rc : -EIO;
	if (a->fs->config.device)
		rc = find_bytes(a->fs, node, recipe.recipe,
				&(struct patience){ a->until_ns,
						    a->bell >= 0 ? &a->bell :
								   NULL },
				true, &bytes);
	if (!rc)
		rc = lend_file(a, node, &bytes, fault);
	put_bytes(a->fs, node, &bytes);
	wfs_node_recipe_clear(&recipe);
	return rc;
}

static void run_lend(struct wfs_work *work, void *room)
{
	struct asking *a = (struct asking *)work;
	struct wfs_device_fault fault = { .stage = WFS_DEVICE_STAGE_AUTH };
	struct wfs_node node;
	int rc;

	(void)room;
	rc = wfs_ioctl_file(a->fs, a->id, &node);
	if (!rc) {
		rc = lend_node(a, &node, &fault);
		wfs_node_clear(&node);
	}
	reply(a, &fault, rc);
}

static void run_drop(struct wfs_work *work, void *room)
{
	struct asking *a = (struct asking *)work;
	struct wfs_device_fault fault = { .stage = WFS_DEVICE_STAGE_DEVICE };
	int rc = -ENXIO;

	(void)room;
	if (a->fs->config.device)
		rc = wfs_device_drop(a->fs->config.device, &a->caller,
				     a->drop.lease, a->drop.cookie);
	reply(a, &fault, rc == -ENOENT ? -ESRCH : rc);
}

/* On a thread that may wait, if there is anything to wait for. */
static void ask(struct asking *a, struct wfs_fs *fs, fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	a->fs = fs;
	a->req = req;
	a->caller = (struct wfs_device_caller){ .pid = ctx->pid,
						.uid = ctx->uid,
						.gid = ctx->gid };
	if (fs->config.device)
		wfs_workers_queue(fs->fillers, &a->work);
	else
		a->work.run(&a->work, NULL);
}

void wfs_ioctl_device_lend(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
			   const struct weightfs_lend *lend)
{
	struct asking *a = wfs_calloc(1, sizeof(*a));

	a->work.run = run_lend;
	/* Without one it goes on to its end. */
	a->bell = fs->config.device ? eventfd(0, EFD_CLOEXEC) : -1;
	if (a->bell >= 0)
		fuse_req_interrupt_func(req, interrupted, a);
	a->id = id;
	a->lend = *lend;
	a->until_ns = wfs_ioctl_deadline(lend->timeout_ns);
	a->size = sizeof(*lend);
	ask(a, fs, req);
}

void wfs_ioctl_device_drop(struct wfs_fs *fs, fuse_req_t req,
			   const struct weightfs_drop *drop)
{
	struct asking *a = wfs_calloc(1, sizeof(*a));

	a->work.run = run_drop;
	a->bell = -1;
	a->drop = *drop;
	a->size = sizeof(*drop);
	ask(a, fs, req);
}
