/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who registers memory: a device's protection domain, or a test.
 */
#ifndef WFS_TRANSPORT_RDMA_REGISTRAR_H
#define WFS_TRANSPORT_RDMA_REGISTRAR_H

#include <stdint.h>

struct wfs_landing_ring;

struct wfs_registrar {
	/* For a device to write to and for nobody else; NULL and errno. */
	void *(*add)(void *ctx, void *start, uint64_t len, uint32_t *ret_key);
	/* The same for memory of another device; of those who have rings. */
	void *(*add_ring)(void *ctx, const struct wfs_landing_ring *ring,
			  uint32_t *ret_key);
	void (*remove)(void *ctx, void *registered);
	void *ctx;
	uint64_t max; /* bytes of memory registered as one */
};

#endif
