/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the exporter share; nobody else includes it.
 *
 *	export.c	   its life
 *	export_rails.c	   its ports: opened, watched, opened again
 *	export_tell.c	   what it tells, of its memory and of itself
 *	export_memory.c	   the thread that fills memory
 *	export_lent.c	   memory of others
 *	export_domains.c   who may read it: protection domains, registration
 *	export_sessions.c  who may connect
 *	export_connect.c   the thread that lets them, and ends what is over
 *	export_probe.c	   are they there still?
 */
#ifndef WFS_TRANSPORT_RDMA_EXPORT_INNER_H
#define WFS_TRANSPORT_RDMA_EXPORT_INNER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "transport/rdma/async.h"
#include "transport/rdma/export.h"
#include "transport/rdma/hello.h"
#include "transport/rdma/verbs.h"

#define WFS_SESSIONS_MAX   1024
#define WFS_EXPORT_CONNS   1024
#define WFS_EXPORT_DOMAINS 16
#define WFS_EXPORT_HELLOS  4096

/*
 * Changed by the connecting thread alone, which reads it without a lock: under
 * both of them, but `up` under the exporter's.
 */
struct export_rail {
	struct wfs_rail base; /* its id listens; NULL: its device is gone */
	struct ibv_cq *cq;    /* of all its queue pairs: probes end there */
	uint64_t region_max;
	int reads; /* under way to us on one connection, at most */
	bool up;   /* nodes are told of it; false: its port was down last */
};

struct export_region {
	uint8_t id[WFS_WIRE_ID_BYTES];
	uint64_t size;
	uint8_t *map; /* NULL: it is left out */
	size_t map_len;
	uint64_t address, digests; /* as nodes see them */
	/* Guarded by the domains' lock; NULL: not registered. */
	struct ibv_mr *mrs[WFS_EXPORT_DOMAINS][WFS_RAILS_MAX];
};

/*
 * What one owner lent: his cell, and spans of memory, ascending.  None of them
 * is a region of a stock: they have no id.
 */
struct export_loan {
	struct export_loan *next;
	size_t count;
	struct export_region cell, spans[];
};

/* Those who have the same right to read, and what they read through. */
struct export_domain {
	char *who;	   /* NULL: a free place */
	unsigned sessions; /* guarded by the exporter's lock */
	struct ibv_pd *pds[WFS_RAILS_MAX];
	bool refused;	   /* to register was, and it was said */
	uint64_t again_at; /* ns: … and is tried again; 0: nothing was */
};

struct export_session {
	uint64_t id, until; /* ns */
	uint8_t key[WFS_HELLO_KEY];
	unsigned domain;
	unsigned conns;
};

/* A request to connect that was granted: nobody may say the same again. */
struct export_hello {
	uint64_t session, expires, nonce;
};

/* A node's queue pair.  The connecting thread's alone. */
struct export_conn {
	struct rdma_cm_id *id;
	uint64_t session;
	uint64_t serial; /* never given again */
	unsigned rail, domain;
	bool probed;	    /* it may be */
	bool established;   /* … and can be */
	bool failed;	    /* ends by itself, once the node knows why */
	bool failed_before; /* when it was last looked at, too */
	uint64_t probed_at; /* ns: one is under way since then; 0: none */
	uint64_t again_at;  /* ns: the next one */
};

struct wfs_exporter {
	const struct wfs_verbs *verbs;
	struct wfs_export_stock stock;
	uint64_t memory, lease_ns;
	struct rdma_event_channel *events;
	struct wfs_async *async; /* the connecting thread's */
	struct export_rail rails[WFS_RAILS_MAX];
	size_t rail_count;
	pthread_t connector, filler;
	bool connecting, filling; /* they were started */
	int stop_fd;		  /* an eventfd */
	atomic_bool stop;
	/* Guards what is registered, for whom; taken before the next one. */
	pthread_mutex_t domains_lock;
	struct export_domain domains[WFS_EXPORT_DOMAINS];
	struct export_loan *loans; /* changed under both */
	pthread_mutex_t lock;	   /* guards all below */
	pthread_cond_t stopped;
	struct export_region *regions; /* changed by the filler, under both */
	size_t region_count;
	uint64_t used;	  /* bytes of memory; the filler's alone */
	uint64_t next_at; /* where the next memory is to be seen */
	struct export_session sessions[WFS_SESSIONS_MAX];
	size_t session_count;
	struct export_hello hellos[WFS_EXPORT_HELLOS];
	size_t hello_count;
	struct export_conn conns[WFS_EXPORT_CONNS];
	size_t conn_count;
	uint64_t serial; /* of the last one */
	uint64_t refused, vanished;
	uint64_t bind_at; /* ns: lost rails are looked for; 0: none is lost */
};

void *wfs_export_fill(void *exporter);
void wfs_export_clear_regions(struct wfs_exporter *exporter);

/* Where nodes see it; with the lock held. */
uint64_t wfs_export_place_locked(struct wfs_exporter *exporter, const void *map,
				 uint64_t len);

/* All that is to be registered, one by one; domains_lock is held. */
struct export_cursor {
	struct wfs_exporter *exporter;
	size_t at;
	struct export_loan *loan;
};
struct export_cursor wfs_export_all(struct wfs_exporter *exporter);
struct export_region *wfs_export_next(struct export_cursor *cursor);

/* "live":[…]; domains_lock is held. */
void wfs_export_add_live(struct wfs_exporter *exporter, struct wfs_text *text);
void wfs_export_clear_loans(struct wfs_exporter *exporter);

/*
 * The domain of `who`, with all memory registered for him; domains_lock is
 * held.  NULL: there are too many others, or it cannot be made (logged).
 */
struct export_domain *wfs_export_domain(struct wfs_exporter *exporter,
					const char *who);
/* The connecting thread's: ends those that nobody has a session in. */
void wfs_export_prune_domains(struct wfs_exporter *exporter);
void wfs_export_clear_domains(struct wfs_exporter *exporter);
/* For all domains, unless it has no memory; domains_lock is held. */
void wfs_export_register(struct wfs_exporter *exporter,
			 struct export_region *region);
/* Nobody reads it any more; false: a device did not let go of it. */
bool wfs_export_deregister(struct wfs_exporter *exporter,
			   struct export_region *region);
/* Is it registered on all rails? */
bool wfs_export_reaches(const struct wfs_exporter *exporter,
			const struct export_region *region, unsigned domain);

/* A rail came, or goes, for all domains; domains_lock is held. */
bool wfs_export_join_rail(struct wfs_exporter *exporter, unsigned rail);
void wfs_export_leave_rail(struct wfs_exporter *exporter, unsigned rail);

/* All that there are; -ENODEV with a sentence. */
int wfs_export_open_rails(struct wfs_exporter *exporter, struct wfs_err *err);
void wfs_export_close_rails(struct wfs_exporter *exporter);
/* Its device is gone, and its queue pairs with it; one line. */
void wfs_export_lose_rail(struct wfs_exporter *exporter, unsigned rail,
			  const char *why);
/* Looks for those that were lost, now and then. */
void wfs_export_find_rails(struct wfs_exporter *exporter);
/* What befell their devices. */
void wfs_export_take_async(struct wfs_exporter *exporter);

void *wfs_export_connect(void *exporter);
/* The connecting thread's: ends a queue pair. */
void wfs_export_end_conn(struct wfs_exporter *exporter, size_t at);

/* Asks those that are silent, and ends those that do not answer. */
void wfs_export_probe(struct wfs_exporter *exporter);

/* A session that is valid: that one, prolonged, or a new one of that domain. */
struct export_session *wfs_export_session_locked(struct wfs_exporter *exporter,
						 uint64_t id, unsigned domain);
/* May this queue pair connect?  Once: then into *ret_domain. */
bool wfs_export_may_connect(struct wfs_exporter *exporter,
			    const struct wfs_hello *hello, uint32_t queue_pair,
			    unsigned *ret_domain);
/* A queue pair of the session came (1), or went (-1). */
void wfs_export_count_conn_locked(struct wfs_exporter *exporter,
				  uint64_t session, int by);
/* Forgets sessions that are over. */
void wfs_export_expire(struct wfs_exporter *exporter);
bool wfs_export_is_over(struct wfs_exporter *exporter, uint64_t session);

#endif
