/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libibverbs and librdmacm, opened at run time: the program runs the same
 * where they are not installed.  Only this folder knows them.
 */
#ifndef WFS_TRANSPORT_RDMA_VERBS_H
#define WFS_TRANSPORT_RDMA_VERBS_H

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

/* Macros of the header around the functions of these names. */
#undef ibv_reg_mr_iova
#undef ibv_query_port

#define WFS_IBVERBS_CALLS(X)                                                   \
	X(ibv_ack_async_event)                                                 \
	X(ibv_ack_cq_events)                                                   \
	X(ibv_alloc_pd)                                                        \
	X(ibv_create_comp_channel)                                             \
	X(ibv_create_cq)                                                       \
	X(ibv_dealloc_pd)                                                      \
	X(ibv_dereg_mr)                                                        \
	X(ibv_destroy_comp_channel)                                            \
	X(ibv_destroy_cq)                                                      \
	X(ibv_event_type_str)                                                  \
	X(ibv_get_async_event)                                                 \
	X(ibv_get_cq_event)                                                    \
	X(ibv_get_device_name)                                                 \
	X(ibv_modify_qp)                                                       \
	X(ibv_query_device)                                                    \
	X(ibv_query_port)                                                      \
	X(ibv_query_qp)                                                        \
	X(ibv_reg_mr_iova)                                                     \
	X(ibv_wc_status_str)

/* NULL where they are too old. */
#define WFS_IBVERBS_NEW_CALLS(X)                                               \
	X(ibv_is_fork_initialized)                                             \
	X(ibv_reg_dmabuf_mr)

#define WFS_RDMACM_CALLS(X)                                                    \
	X(rdma_accept)                                                         \
	X(rdma_ack_cm_event)                                                   \
	X(rdma_bind_addr)                                                      \
	X(rdma_connect)                                                        \
	X(rdma_create_event_channel)                                           \
	X(rdma_create_id)                                                      \
	X(rdma_create_qp)                                                      \
	X(rdma_destroy_event_channel)                                          \
	X(rdma_destroy_id)                                                     \
	X(rdma_destroy_qp)                                                     \
	X(rdma_disconnect)                                                     \
	X(rdma_event_str)                                                      \
	X(rdma_get_cm_event)                                                   \
	X(rdma_get_src_port)                                                   \
	X(rdma_listen)                                                         \
	X(rdma_reject)                                                         \
	X(rdma_resolve_addr)                                                   \
	X(rdma_resolve_route)                                                  \
	X(rdma_set_option)

/* What is inline in the header (posting, polling) goes by the device. */
struct wfs_verbs {
#define WFS_VERBS_MEMBER(name) __typeof__ (&(name))(name);
	WFS_IBVERBS_CALLS(WFS_VERBS_MEMBER)
	WFS_IBVERBS_NEW_CALLS(WFS_VERBS_MEMBER)
	WFS_RDMACM_CALLS(WFS_VERBS_MEMBER)
#undef WFS_VERBS_MEMBER
	/* What the kernel says of where a device is: see numa.h. */
	int (*node_of)(const char *device);
	bool (*is_near)(int node);
};

/*
 * The calls, loaded once and never unloaded.  NULL with a sentence where the
 * kernel has no RDMA device (-ENODEV), or the libraries are not installed
 * (-ENOENT) or too old (-ENOSYS).  From any thread.
 */
const struct wfs_verbs *wfs_verbs_load(struct wfs_err *err);

/* One that has no descriptor that blocks; NULL and errno. */
struct rdma_event_channel *wfs_verbs_channel(const struct wfs_verbs *verbs);

/* An id bound to a free port of an address that an RDMA device has. */
struct wfs_rail {
	struct rdma_cm_id *id;
	char device[64];
	char address[64]; /* numeric */
	unsigned prefix;  /* bits of it that its network has in common */
	uint8_t port;	  /* of the device */
};
#define WFS_RAILS_MAX 16

/* Are both of the same port of the same device, by whatever address? */
bool wfs_rail_is_same(const struct wfs_rail *a, const struct wfs_rail *b);

/* Can its port carry anything, as far as its device says? */
bool wfs_rail_is_active(const struct wfs_verbs *verbs,
			const struct wfs_rail *rail);

/*
 * One for each device and port of it that has an address; how many.  That there
 * are more than fit is logged once.
 */
size_t wfs_rails_bind(const struct wfs_verbs *verbs,
		      struct rdma_event_channel *channel,
		      struct wfs_rail rails[WFS_RAILS_MAX]);

#endif
