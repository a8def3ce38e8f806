/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seed's own: what its routes share.
 *
 * Every request is a `struct wfs_ask`, made when its headers are here and
 * freed when it was answered or its client is gone.
 */
#ifndef WFS_TRANSPORT_SEED_INNER_H
#define WFS_TRANSPORT_SEED_INNER_H

#include <microhttpd.h>

#include "transport/seed/clients.h"
#include "transport/seed/listen.h"
#include "transport/seed/parse.h"
#include "transport/seed/rate.h"
#include "transport/seed/seed.h"
#include "transport/seed/tls.h"
#include "transport/seed/token.h"
#include "transport/seed/turn.h"

/* Waits are cut in pieces of this length: between them the client may go. */
#define WFS_SEED_SLICE_NS 200000000ull

/* Of the name of a model or a region in a path, with its NUL. */
#define WFS_NAME_BYTES 256

enum wfs_route {
	WFS_ROUTE_OTHER,
	WFS_ROUTE_MODELS,
	WFS_ROUTE_MANIFEST,
	WFS_ROUTE_REGION,
	WFS_ROUTE_DIGESTS,
	WFS_ROUTE_EVENTS,
	WFS_ROUTE_HEALTH,
	WFS_ROUTE_METRICS,
	WFS_ROUTE_STREAM,
	WFS_ROUTE_RDMA,
	WFS_ROUTES,
};

struct wfs_seed {
	struct wfs_stock *stock;
	struct wfs_seed_fabric fabric;			   /* all NULL: none */
	void (*measure)(void *ctx, struct wfs_text *text); /* or NULL */
	void *measure_ctx;
	struct wfs_rate *rate;
	struct wfs_turns turns;
	bool capped; /* is there a rate cap? */
	struct wfs_listener listener;
	char url[96];
	bool has_token, mutual;
	struct wfs_token token;
	struct wfs_tls *tls; /* or NULL */
	struct wfs_clients clients;
	struct MHD_Daemon *daemon;
	pthread_t keeper;
	bool kept; /* the keeper was started */
	atomic_bool stopping;
	uint64_t stall_ns;
	pthread_mutex_t lock; /* guards streams */
	pthread_cond_t quiet; /* streams became 0, or stopping */
	unsigned streams;
	/* For the metrics. */
	atomic_ullong asked[WFS_ROUTES], errors[6]; /* by status / 100 */
	atomic_ullong sent, chunks, hashed, stale;
};

struct wfs_ask {
	struct wfs_seed *seed;
	struct MHD_Connection *connection;
	struct wfs_client *client;
	struct wfs_stock_model *model; /* a reference, or NULL */
	struct wfs_stock_file *file;   /* of it */
	uint64_t announced; /* bytes of a region that the answer has */
	bool counted;	    /* … and that were counted as they went */
	bool head;	    /* HEAD: no byte of it follows */
};

const char *wfs_ask_header(const struct wfs_ask *ask, const char *name);
/* Of the part after '?'; "" for a key without a value. */
const char *wfs_ask_query(const struct wfs_ask *ask, const char *name);

/* {"error": …} */
enum MHD_Result wfs_ask_refuse(struct wfs_ask *ask, unsigned status,
			       const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * Answers `text` (taken over); `etag` (or NULL) without its quotes, which
 * If-None-Match is compared with.
 */
enum MHD_Result wfs_ask_answer(struct wfs_ask *ask, const char *type,
			       struct wfs_text *text, const char *etag);
/* Sends what was made, which is given back; NULL: there is no memory. */
enum MHD_Result wfs_ask_send(struct wfs_ask *ask, unsigned status,
			     struct MHD_Response *response);

/*
 * Waits until `done` is true, `timeout_ns` is over, the seed is to stop or the
 * client gone; `done` is asked whenever something in stock changed.
 */
bool wfs_ask_wait(struct wfs_ask *ask, uint64_t timeout_ns,
		  bool (*done)(struct wfs_ask *ask, void *ctx), void *ctx);

/* The routes.  `name`: what stands for NAME or ID in the path. */
enum MHD_Result wfs_seed_models(struct wfs_ask *ask);
enum MHD_Result wfs_seed_manifest(struct wfs_ask *ask, const char *name);
enum MHD_Result wfs_seed_region(struct wfs_ask *ask, const char *id);
enum MHD_Result wfs_seed_digests(struct wfs_ask *ask, const char *id);
enum MHD_Result wfs_seed_events(struct wfs_ask *ask);
enum MHD_Result wfs_seed_metrics(struct wfs_ask *ask);
enum MHD_Result wfs_seed_stream(struct wfs_ask *ask);
enum MHD_Result wfs_seed_rdma(struct wfs_ask *ask);

/* Finds the region for an ask; otherwise answers, and that is *ret_result. */
bool wfs_ask_region(struct wfs_ask *ask, const char *id,
		    enum MHD_Result *ret_result);

/* libmicrohttpd's callbacks. */
enum MHD_Result wfs_seed_access(void *cls, struct MHD_Connection *connection,
				const char *url, const char *method,
				const char *version, const char *upload,
				size_t *upload_size, void **own);
void wfs_seed_completed(void *cls, struct MHD_Connection *connection,
			void **own, enum MHD_RequestTerminationCode code);

#endif
