/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See device.h.
 */
#include "transport/rdma/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "transport/rdma/local.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct wfs_rdma_device *devices; /* the lock's, and so is: */
static unsigned holders;

static void *add_memory(void *ctx, void *start, uint64_t len, uint32_t *ret_key)
{
	const struct wfs_rdma_device *device = ctx;
	struct ibv_mr *mr = device->verbs->ibv_reg_mr_iova(
		device->pd, start, len, (uintptr_t)start,
		IBV_ACCESS_LOCAL_WRITE);

	if (mr)
		*ret_key = mr->lkey;
	return mr;
}

/* The calls of old libraries have none, nor has an old kernel. */
static void *add_ring(void *ctx, const struct wfs_landing_ring *ring,
		      uint32_t *ret_key)
{
	const struct wfs_rdma_device *device = ctx;
	struct ibv_mr *mr = NULL;

	errno = EOPNOTSUPP;
	if (device->verbs->ibv_reg_dmabuf_mr)
		mr = device->verbs->ibv_reg_dmabuf_mr(device->pd, 0,
						      ring->bytes,
						      ring->address, ring->fd,
						      IBV_ACCESS_LOCAL_WRITE);
	if (mr)
		*ret_key = mr->lkey;
	return mr;
}

static void remove_memory(void *ctx, void *registered)
{
	const struct wfs_rdma_device *device = ctx;

	device->verbs->ibv_dereg_mr(registered);
}

static void device_free(struct wfs_rdma_device *device)
{
	wfs_grounds_clear(&device->grounds);
	wfs_rings_clear(&device->rings);
	wfs_slab_clear(&device->slab);
	device->verbs->ibv_dealloc_pd(device->pd);
	free(device);
}

void wfs_rdma_devices_hold(void)
{
	pthread_mutex_lock(&lock);
	holders++;
	pthread_mutex_unlock(&lock);
}

void wfs_rdma_devices_release(void)
{
	struct wfs_rdma_device *gone = NULL;

	pthread_mutex_lock(&lock);
	if (--holders == 0) {
		gone = wfs_steal_ptr(&devices);
		/* Who holds them next begins with ports when that is over. */
		wfs_locals_end();
	}
	pthread_mutex_unlock(&lock);
	while (gone) {
		struct wfs_rdma_device *device = gone;

		gone = device->next;
		device_free(device);
	}
}

static int device_new(const struct wfs_verbs *verbs,
		      struct ibv_context *context,
		      struct wfs_rdma_device **ret_device, struct wfs_err *err)
{
	struct wfs_rdma_device *device = wfs_calloc(1, sizeof(*device));
	int rc = 0;

	device->verbs = verbs;
	device->context = context;
	snprintf(device->name, sizeof(device->name), "%s",
		 verbs->ibv_get_device_name(context->device));
	if (verbs->ibv_query_device(context, &device->attr))
		rc = -EIO;
	if (!rc) {
		device->pd = verbs->ibv_alloc_pd(context);
		rc = device->pd ? 0 : -errno;
	}
	if (rc) {
		wfs_err_set(err, rc, "RDMA device '%s' cannot be used: %s",
			    device->name, strerror(-rc));
		free(device);
		return rc;
	}
	device->registrar = (struct wfs_registrar){
		.add = add_memory,
		.add_ring = add_ring,
		.remove = remove_memory,
		.ctx = device,
		.max = device->attr.max_mr_size,
	};
	wfs_grounds_init(&device->grounds, &device->registrar, device->name);
	wfs_rings_init(&device->rings, &device->registrar, device->name);
	wfs_slab_init(&device->slab, &device->registrar);
	*ret_device = device;
	return 0;
}

int wfs_rdma_device_of(const struct wfs_verbs *verbs,
		       struct ibv_context *context,
		       struct wfs_rdma_device **ret_device, struct wfs_err *err)
{
	struct wfs_rdma_device *device;
	int rc = 0;

	pthread_mutex_lock(&lock);
	device = devices;
	while (device && device->context != context)
		device = device->next;
	if (!device) {
		rc = device_new(verbs, context, &device, err);
		if (!rc) {
			device->next = devices;
			devices = device;
		}
	}
	pthread_mutex_unlock(&lock);
	if (!rc)
		*ret_device = device;
	return rc;
}
