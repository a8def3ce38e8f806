/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the exporter tells: nodes of its memory, people of itself.
 */
#include <errno.h>

#include "core/base/hex.h"
#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/metric.h"
#include "transport/rdma/export_inner.h"

#define NS_PER_S 1000000000ull

typedef unsigned long long ull;

static void tell_rails(const struct wfs_exporter *exporter,
		       struct wfs_text *text)
{
	const char *between = "";

	wfs_text_add(text, "\"rails\":[");
	for (size_t i = 0; i < exporter->rail_count; i++) {
		const struct wfs_rail *rail = &exporter->rails[i].base;

		if (!exporter->rails[i].up)
			continue;
		wfs_text_add(text, "%s{\"address\":", between);
		between = ",";
		wfs_text_add_json(text, rail->address);
		wfs_text_add(
			text, ",\"port\":%u}",
			ntohs(exporter->verbs->rdma_get_src_port(rail->id)));
	}
	wfs_text_add(text, "]");
}

static void tell_keys(const struct wfs_exporter *exporter,
		      const struct export_region *region, unsigned domain,
		      struct wfs_text *text)
{
	const char *between = "";

	wfs_text_add(text, "\"rkeys\":[");
	for (size_t i = 0; i < exporter->rail_count; i++) {
		if (!exporter->rails[i].up)
			continue;
		wfs_text_add(text, "%s%u", between,
			     region->mrs[domain][i]->rkey);
		between = ",";
	}
	wfs_text_add(text, "]}");
}

static void tell_region(const struct wfs_exporter *exporter,
			const struct export_region *region, unsigned domain,
			struct wfs_text *text)
{
	char id[2 * WFS_WIRE_ID_BYTES + 1];

	wfs_text_add(text,
		     "\n{\"region\":\"%s\",\"size\":%llu,\"address\":%llu,"
		     "\"digests\":%llu,",
		     wfs_hex_format(region->id, sizeof(region->id), id),
		     (ull)region->size, (ull)region->address,
		     (ull)region->digests);
	tell_keys(exporter, region, domain, text);
}

/* What was lent; `live` says what lies there. */
static void tell_memory(struct wfs_exporter *exporter, unsigned domain,
			struct wfs_text *text)
{
	/* Not the stock's own, which comes first. */
	struct export_cursor all = { .exporter = exporter,
				     .at = exporter->region_count,
				     .loan = exporter->loans };
	const struct export_region *span;
	const char *between = "";

	wfs_text_add(text, ",\"memory\":[");
	while ((span = wfs_export_next(&all))) {
		if (!wfs_export_reaches(exporter, span, domain))
			continue;
		wfs_text_add(text, "%s\n{\"address\":%llu,\"size\":%llu,",
			     between, (ull)span->address, (ull)span->map_len);
		tell_keys(exporter, span, domain, text);
		between = ",";
	}
	wfs_text_add(text, "]");
}

static void tell_locked(struct wfs_exporter *exporter,
			const struct export_session *session,
			struct wfs_text *text)
{
	char key[2 * WFS_HELLO_KEY + 1];
	const char *between = "";

	wfs_text_add(text,
		     "{\"session\":%llu,\"expires\":%llu,\"lease_s\":%llu,"
		     "\"key\":\"%s\",",
		     (ull)session->id, (ull)session->until,
		     (ull)(exporter->lease_ns / NS_PER_S),
		     wfs_hex_format(session->key, sizeof(session->key), key));
	tell_rails(exporter, text);
	wfs_text_add(text, ",\"regions\":[");
	for (size_t i = 0; i < exporter->region_count; i++) {
		const struct export_region *region = &exporter->regions[i];

		if (!wfs_export_reaches(exporter, region, session->domain))
			continue;
		wfs_text_add(text, "%s", between);
		tell_region(exporter, region, session->domain, text);
		between = ",";
	}
	wfs_text_add(text, "\n]");
	if (exporter->loans)
		tell_memory(exporter, session->domain, text);
}

static bool is_up(struct wfs_exporter *exporter)
{
	bool up = false;

	pthread_mutex_lock(&exporter->lock);
	for (size_t i = 0; i < exporter->rail_count; i++)
		up |= exporter->rails[i].up;
	pthread_mutex_unlock(&exporter->lock);
	return up;
}

int wfs_exporter_tell(struct wfs_exporter *exporter, const char *who,
		      uint64_t session, struct wfs_text *text)
{
	const struct export_domain *domain;
	int rc = -EBUSY;

	if (!is_up(exporter))
		return -ENETDOWN;
	pthread_mutex_lock(&exporter->domains_lock);
	domain = wfs_export_domain(exporter, who);
	if (domain) {
		unsigned at = (unsigned)(domain - exporter->domains);

		pthread_mutex_lock(&exporter->lock);
		tell_locked(exporter,
			    wfs_export_session_locked(exporter, session, at),
			    text);
		pthread_mutex_unlock(&exporter->lock);
		if (exporter->loans)
			wfs_export_add_live(exporter, text);
		wfs_text_add(text, "}\n");
		rc = 0;
	}
	pthread_mutex_unlock(&exporter->domains_lock);
	return rc;
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
	for (const struct export_loan *loan = exporter->loans; loan;
	     loan = loan->next)
		for (size_t i = 0; i < loan->count; i++)
			ret->lent += loan->spans[i].map_len;
	for (size_t i = 0; i < WFS_EXPORT_DOMAINS; i++)
		ret->domains += exporter->domains[i].sessions != 0;
	ret->sessions = exporter->session_count;
	ret->connections = exporter->conn_count;
	ret->refused = exporter->refused;
	ret->vanished = exporter->vanished;
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
	measure(text, "lent_bytes", "Memory of others that may be read.",
		stats.lent);
	measure(text, "domains", "Kinds of clients that may read them.",
		stats.domains);
	measure(text, "sessions", "Sessions that nodes asked for.",
		stats.sessions);
	measure(text, "connections", "Queue pairs that nodes have.",
		stats.connections);
	measure(text, "refused", "Connections that were refused, so far.",
		stats.refused);
	measure(text, "vanished", "Connections of nodes that died, so far.",
		stats.vanished);
}
