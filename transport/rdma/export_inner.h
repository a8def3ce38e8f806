/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the exporter share; nobody else includes it.
 *
 *	export.c	   its life, and what it tells
 *	export_memory.c	   the thread that fills and registers memory
 *	export_sessions.c  who may connect
 *	export_connect.c   the thread that lets them
 */
#ifndef WFS_TRANSPORT_RDMA_EXPORT_INNER_H
#define WFS_TRANSPORT_RDMA_EXPORT_INNER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "transport/rdma/export.h"
#include "transport/rdma/hello.h"
#include "transport/rdma/verbs.h"

#define WFS_SESSIONS_MAX 1024
#define WFS_EXPORT_CONNS 1024

struct export_rail {
	struct wfs_rail base; /* its id listens */
	struct ibv_pd *pd;
	struct ibv_cq *cq; /* of all its queue pairs: nothing completes there */
	uint64_t region_max;
	int reads; /* under way to us on one connection, at most */
};

struct export_region {
	uint8_t id[WFS_WIRE_ID_BYTES];
	uint64_t size;
	uint8_t *map; /* NULL: it is left out */
	size_t map_len;
	uint64_t address, digests; /* as nodes see them */
	struct ibv_mr *mrs[WFS_RAILS_MAX];
};

struct export_session {
	uint64_t id, until; /* ns */
	uint8_t key[WFS_HELLO_KEY];
};

/* A node's queue pair.  The connecting thread's alone. */
struct export_conn {
	struct rdma_cm_id *id;
	uint64_t session;
};

struct wfs_exporter {
	const struct wfs_verbs *verbs;
	struct wfs_export_stock stock;
	uint64_t memory, lease_ns;
	struct rdma_event_channel *events;
	struct export_rail rails[WFS_RAILS_MAX];
	size_t rail_count;
	pthread_t connector, filler;
	bool connecting, filling; /* they were started */
	int stop_fd;		  /* an eventfd */
	atomic_bool stop;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t stopped;
	struct export_region *regions; /* changed by the filler alone */
	size_t region_count;
	uint64_t used;	  /* bytes of memory; the filler's alone */
	uint64_t next_at; /* where the next region is to be seen */
	struct export_session sessions[WFS_SESSIONS_MAX];
	size_t session_count;
	struct export_conn conns[WFS_EXPORT_CONNS];
	size_t conn_count;
	uint64_t refused;
};

void *wfs_export_fill(void *exporter);
void wfs_export_clear_regions(struct wfs_exporter *exporter);

void *wfs_export_connect(void *exporter);

/* A session that is valid: that one, prolonged, or a new one. */
struct export_session *wfs_export_session_locked(struct wfs_exporter *exporter,
						 uint64_t id);
/* May this queue pair connect? */
bool wfs_export_may_connect(struct wfs_exporter *exporter,
			    const struct wfs_hello *hello, uint32_t queue_pair);
/* Is the session over?  Forgets it. */
bool wfs_export_is_over(struct wfs_exporter *exporter, uint64_t session);

#endif
