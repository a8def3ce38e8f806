/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seed of <weightfs/seed.h> over RDMA: the weights are registered where
 * they are, and nodes read them there.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "tools/lib/seed_inner.h"

struct telling {
	wfs_export_tell_live *tell;
	void *to;
};

static void tell_region(void *ctx, const struct wfs_wire_region *listed,
			struct wfs_region *region)
{
	const struct telling *it = ctx;
	struct wfs_live_memory memory;

	wfs_live_map(region, &memory);
	it->tell(it->to, listed, &memory);
	free(memory.pieces);
}

static void tell_live(void *ctx, wfs_export_tell_live *tell, void *to)
{
	struct weightfs_seed *seed = ctx;
	struct telling it = { tell, to };

	wfs_seed_each_region(seed->served, tell_region, &it);
}

static int tell(void *ctx, const char *who, uint64_t session,
		struct wfs_text *ret_text)
{
	return wfs_exporter_tell(ctx, who, session, ret_text);
}

static void measure(void *ctx, struct wfs_text *text)
{
	wfs_exporter_measure(ctx, text);
}

static int open_exporter(struct weightfs_seed *seed, struct wfs_err *err)
{
	struct wfs_export_stock stock = { .ctx = seed, .live = tell_live };
	struct wfs_export_config config = { .stock = &stock };
	int rc = wfs_exporter_open(&config, &seed->exporter, err);

	if (!rc)
		rc = wfs_exporter_can_lend(seed->exporter, err);
	if (rc)
		wfs_exporter_close(wfs_steal_ptr(&seed->exporter));
	return rc;
}

int wfs_face_open_rdma(struct weightfs_seed *seed, int rdma,
		       struct wfs_err *err)
{
	struct wfs_seed_fabric fabric = { .tell = tell, .measure = measure };
	struct wfs_err why = { 0 };
	int rc;

	if (rdma == WEIGHTFS_SEED_RDMA_OFF)
		return 0;
	if (rdma != WEIGHTFS_SEED_RDMA_AUTO && rdma != WEIGHTFS_SEED_RDMA_ON)
		return wfs_err_set(err, -EINVAL,
				   "rdma %d is none of enum weightfs_seed_rdma",
				   rdma);
	rc = open_exporter(seed, &why);
	if (rc && rdma == WEIGHTFS_SEED_RDMA_ON)
		return wfs_err_set(err, rc, "%s", why.text);
	if (rc) {
		wfs_debug("weights are served over TCP alone: %s", why.text);
		return 0;
	}
	fabric.ctx = seed->exporter;
	wfs_seed_set_fabric(seed->served, &fabric);
	return 0;
}

void wfs_face_lend(struct weightfs_seed_model *model)
{
	struct wfs_exporter *exporter = model->seed->exporter;
	struct wfs_live_span *spans wfs_autofree = NULL;
	size_t n;
	int rc;

	if (!exporter)
		return;
	n = wfs_live_image_lent(model->image, &spans);
	rc = wfs_exporter_lend(exporter, model->image->cell.epoch, spans, n);
	model->lent = !rc;
	if (rc)
		wfs_warn("model '%s' is served over TCP alone: its weights lie "
			 "in %zu places, more than %d",
			 model->image->name, n, WFS_EXPORT_SPANS);
}

void wfs_face_take_back(struct weightfs_seed_model *model)
{
	/* Whoever reads on needs the cell, to see that it is over. */
	if (model->lent && wfs_exporter_take_back(model->seed->exporter,
						  model->image->cell.epoch))
		wfs_live_image_get(model->image);
	model->lent = false;
}
