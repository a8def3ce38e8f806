/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exporter's life, and what it tells nodes.
 */
#include "transport/rdma/export.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "core/base/cond.h"
#include "core/base/hex.h"
#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/metric.h"
#include "transport/rdma/export_inner.h"
#include "transport/rdma/rdma.h"

#define NS_PER_S 1000000000ull
#define LEASE_NS (300 * NS_PER_S)
#define BACKLOG	 64
#define FIRST_AT (1ull << 40) /* what nodes see: no address of ours */

typedef unsigned long long ull;

/* One that cannot listen is left out. */
static bool open_rail(struct wfs_exporter *exporter, struct wfs_rail *base)
{
	struct export_rail *rail = &exporter->rails[exporter->rail_count];
	const struct wfs_verbs *verbs = exporter->verbs;
	struct ibv_device_attr attr = { 0 };
	struct ibv_context *context = base->id->verbs;

	*rail = (struct export_rail){ .base = *base };
	if (!verbs->ibv_query_device(context, &attr)) {
		rail->region_max = attr.max_mr_size;
		rail->reads = attr.max_qp_rd_atom;
	}
	rail->pd = verbs->ibv_alloc_pd(context);
	rail->cq = verbs->ibv_create_cq(context, 1, NULL, NULL, 0);
	if (rail->pd && rail->cq && !verbs->rdma_listen(base->id, BACKLOG)) {
		wfs_info("RDMA: '%s' at %s port %u", base->device,
			 base->address,
			 ntohs(verbs->rdma_get_src_port(base->id)));
		return true;
	}
	wfs_warn("RDMA: '%s' at %s cannot be listened on: %s", base->device,
		 base->address, strerror(errno));
	if (rail->cq)
		verbs->ibv_destroy_cq(rail->cq);
	if (rail->pd)
		verbs->ibv_dealloc_pd(rail->pd);
	verbs->rdma_destroy_id(base->id);
	return false;
}

static int open_rails(struct wfs_exporter *exporter, struct wfs_err *err)
{
	struct wfs_rail rails[WFS_RAILS_MAX];
	size_t n;

	exporter->events = wfs_verbs_channel(exporter->verbs);
	if (!exporter->events)
		return wfs_err_set(err, -ENODEV,
				   "no RDMA connections can be made: %s",
				   strerror(errno));
	n = wfs_rails_bind(exporter->verbs, exporter->events, rails);
	for (size_t i = 0; i < n; i++)
		exporter->rail_count += open_rail(exporter, &rails[i]);
	return exporter->rail_count ?
		       0 :
		       wfs_err_set(err, -ENODEV,
				   "no RDMA device has an address that can be "
				   "listened on");
}

int wfs_exporter_open(const struct wfs_export_config *config,
		      struct wfs_exporter **ret_exporter, struct wfs_err *err)
{
	struct wfs_rdma_port *ports wfs_autofree = NULL;
	struct wfs_exporter *exporter;
	size_t n;
	int rc = wfs_rdma_ports(&ports, &n, err);

	if (rc)
		return rc;
	exporter = wfs_calloc(1, sizeof(*exporter));
	exporter->verbs = wfs_verbs_load(err);
	exporter->stock = *config->stock;
	exporter->memory = config->memory;
	exporter->lease_ns = config->lease_ns ? config->lease_ns : LEASE_NS;
	exporter->next_at = FIRST_AT;
	pthread_mutex_init(&exporter->lock, NULL);
	wfs_cond_init(&exporter->stopped);
	exporter->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = exporter->stop_fd < 0 ? wfs_err_set(err, -errno, "no eventfd") :
				     open_rails(exporter, err);
	if (rc)
		wfs_exporter_close(exporter);
	else
		*ret_exporter = exporter;
	return rc;
}

int wfs_exporter_start(struct wfs_exporter *exporter, struct wfs_err *err)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&exporter->connector, NULL, wfs_export_connect,
			    exporter);
	exporter->connecting = !rc;
	if (!rc)
		rc = pthread_create(&exporter->filler, NULL, wfs_export_fill,
				    exporter);
	exporter->filling = exporter->connecting && !rc;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc ? wfs_err_set(err, -rc, "cannot start a thread: %s",
				strerror(rc)) :
		    0;
}

static void close_rail(struct wfs_exporter *exporter, struct export_rail *rail)
{
	exporter->verbs->rdma_destroy_id(rail->base.id);
	exporter->verbs->ibv_destroy_cq(rail->cq);
	exporter->verbs->ibv_dealloc_pd(rail->pd);
}

void wfs_exporter_stop(struct wfs_exporter *exporter)
{
	uint64_t one = 1;

	if (!exporter)
		return;
	pthread_mutex_lock(&exporter->lock);
	atomic_store(&exporter->stop, true);
	pthread_cond_broadcast(&exporter->stopped);
	pthread_mutex_unlock(&exporter->lock);
	if (exporter->connecting &&
	    write(exporter->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(exporter->connector, NULL);
	if (exporter->filling)
		pthread_join(exporter->filler, NULL);
	exporter->connecting = exporter->filling = false;
}

void wfs_exporter_close(struct wfs_exporter *exporter)
{
	if (!exporter)
		return;
	wfs_exporter_stop(exporter);
	wfs_export_clear_regions(exporter);
	for (size_t i = 0; i < exporter->rail_count; i++)
		close_rail(exporter, &exporter->rails[i]);
	if (exporter->events)
		exporter->verbs->rdma_destroy_event_channel(exporter->events);
	if (exporter->stop_fd >= 0)
		close(exporter->stop_fd);
	pthread_cond_destroy(&exporter->stopped);
	pthread_mutex_destroy(&exporter->lock);
	free(exporter);
}

static void tell_rails(const struct wfs_exporter *exporter,
		       struct wfs_text *text)
{
	wfs_text_add(text, "\"rails\":[");
	for (size_t i = 0; i < exporter->rail_count; i++) {
		const struct wfs_rail *rail = &exporter->rails[i].base;

		wfs_text_add(text, "%s{\"address\":", i ? "," : "");
		wfs_text_add_json(text, rail->address);
		wfs_text_add(
			text, ",\"port\":%u}",
			ntohs(exporter->verbs->rdma_get_src_port(rail->id)));
	}
	wfs_text_add(text, "]");
}

static void tell_region(const struct wfs_exporter *exporter,
			const struct export_region *region,
			struct wfs_text *text)
{
	char id[2 * WFS_WIRE_ID_BYTES + 1];

	wfs_text_add(text,
		     "\n{\"region\":\"%s\",\"size\":%llu,\"address\":%llu,"
		     "\"digests\":%llu,\"rkeys\":[",
		     wfs_hex_format(region->id, sizeof(region->id), id),
		     (ull)region->size, (ull)region->address,
		     (ull)region->digests);
	for (size_t i = 0; i < exporter->rail_count; i++)
		wfs_text_add(text, "%s%u", i ? "," : "", region->mrs[i]->rkey);
	wfs_text_add(text, "]}");
}

void wfs_exporter_tell(struct wfs_exporter *exporter, uint64_t session,
		       struct wfs_text *text)
{
	const struct export_session *given;
	char key[2 * WFS_HELLO_KEY + 1];
	const char *between = "";

	pthread_mutex_lock(&exporter->lock);
	given = wfs_export_session_locked(exporter, session);
	wfs_text_add(text,
		     "{\"session\":%llu,\"expires\":%llu,\"lease_s\":%llu,"
		     "\"key\":\"%s\",",
		     (ull)given->id, (ull)given->until,
		     (ull)(exporter->lease_ns / NS_PER_S),
		     wfs_hex_format(given->key, sizeof(given->key), key));
	tell_rails(exporter, text);
	wfs_text_add(text, ",\"regions\":[");
	for (size_t i = 0; i < exporter->region_count; i++) {
		if (!exporter->regions[i].map)
			continue;
		wfs_text_add(text, "%s", between);
		tell_region(exporter, &exporter->regions[i], text);
		between = ",";
	}
	pthread_mutex_unlock(&exporter->lock);
	wfs_text_add(text, "\n]}\n");
}

void wfs_exporter_stats(struct wfs_exporter *exporter,
			struct wfs_export_stats *ret)
{
	*ret = (struct wfs_export_stats){ 0 };
	pthread_mutex_lock(&exporter->lock);
	for (size_t i = 0; i < exporter->region_count; i++) {
		const struct export_region *region = &exporter->regions[i];

		ret->regions += region->map != NULL;
		ret->left_out += region->map == NULL;
		ret->bytes += region->map_len;
	}
	ret->sessions = exporter->session_count;
	ret->connections = exporter->conn_count;
	ret->refused = exporter->refused;
	pthread_mutex_unlock(&exporter->lock);
}

static void measure(struct wfs_text *text, const char *name, const char *help,
		    uint64_t value)
{
	wfs_metric_family(text, "weightfs_seed_rdma_", name, "gauge", help);
	wfs_text_add(text, "weightfs_seed_rdma_%s %llu\n", name, (ull)value);
}

void wfs_exporter_measure(struct wfs_exporter *exporter, struct wfs_text *text)
{
	struct wfs_export_stats stats;

	wfs_exporter_stats(exporter, &stats);
	measure(text, "regions", "Regions in registered memory.",
		stats.regions);
	measure(text, "registered_bytes", "Memory that is registered.",
		stats.bytes);
	measure(text, "left_out", "Regions that are served over TCP alone.",
		stats.left_out);
	measure(text, "sessions", "Sessions that nodes asked for.",
		stats.sessions);
	measure(text, "connections", "Queue pairs that nodes have.",
		stats.connections);
	measure(text, "refused", "Connections that were refused, so far.",
		stats.refused);
}
