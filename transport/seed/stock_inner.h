/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stock's own: what its files share.
 */
#ifndef WFS_TRANSPORT_SEED_STOCK_INNER_H
#define WFS_TRANSPORT_SEED_STOCK_INNER_H

#include "core/base/ids.h"
#include "transport/seed/stock.h"

/* Where a region's id leads. */
struct wfs_stock_place {
	uint8_t id[WFS_WIRE_ID_BYTES];
	struct wfs_stock_model *model;
	uint32_t file;
};

/* Ids that led somewhere once: the newest, to tell 410 from 404. */
#define WFS_STOCK_GONE 16384

struct wfs_stock {
	struct wfs_stock_config config;
	struct wfs_holder holder; /* all NULL: none */
	char boot_id[WFS_BOOT_ID_BYTES];
	char *socket; /* or NULL */
	bool rdma;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	struct wfs_stock_model **models; /* a reference each */
	size_t count;
	struct wfs_stock_place *places; /* by id */
	size_t place_count;
	uint8_t (*gone)[WFS_WIRE_ID_BYTES];
	size_t gone_count, gone_next;
	struct wfs_text list;
	struct timespec looked; /* wfs_registry_changed, then */
	uint64_t generation;
	bool woken;
};

/* A model for the stock, or NULL when not all of its bytes can be sent. */
struct wfs_stock_model *wfs_stock_model_new(struct wfs_stock *stock,
					    struct wfs_model *model);

#endif
