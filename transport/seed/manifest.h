/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON that a seed sends: see PROTOCOL.md.
 */
#ifndef WFS_TRANSPORT_SEED_MANIFEST_H
#define WFS_TRANSPORT_SEED_MANIFEST_H

#include <stdbool.h>

#include "transport/seed/stock.h"

/* Who sends it. */
struct wfs_manifest_host {
	const char *node;    /* 32 hex digits */
	const char *boot_id; /* of the running kernel */
	const char *socket;  /* or NULL */
	bool rdma;	     /* /v1/rdma tells of memory */
};

void wfs_manifest_models(const struct wfs_manifest_host *host,
			 struct wfs_stock_model *const *models, size_t count,
			 struct wfs_text *text);

/* `tensors`: with all of them. */
void wfs_manifest_write(struct wfs_stock_model *model, bool tensors,
			struct wfs_text *text);

/*
 * Are all root digests of that kind known?  `want`: starts computing those
 * that are not.
 */
bool wfs_manifest_known(struct wfs_stock_model *model,
			enum wfs_digest_algorithm algorithm, bool want);

#endif
