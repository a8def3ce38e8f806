/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of a seed's rails: as JSON, and as metrics.
 */
#include <stddef.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/base/metric.h"
#include "transport/rdma/peer.h"

#define PREFIX	  "weightfs_remote_rdma_"
#define US_PER_S  1e6
#define NS_PER_S  1e9
#define ROWS_EACH WFS_PEER_RAILS

typedef unsigned long long ull;

/* A rail as a row of the metrics. */
struct row {
	const char *seed;
	char rail[64];
	const struct wfs_tally *tally;
};

struct rows {
	struct row *row;
	size_t count;
};

static ull of(const atomic_ullong *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void report_tally(const struct wfs_tally *tally, struct wfs_text *text)
{
	const char *between = "";

	wfs_text_add(
		text,
		"\"bytes\": %llu, \"device_bytes\": %llu, \"reads\": %llu, \"retries\": %llu, "
		"\"below_us\": {\"half\": %llu, \"99%%\": %llu}, "
		"\"latency_us\": {",
		of(&tally->bytes), of(&tally->device_bytes), of(&tally->reads),
		of(&tally->retries), (ull)wfs_tally_below(tally, 0.5),
		(ull)wfs_tally_below(tally, 0.99));
	for (unsigned i = 0; i < WFS_TALLY_BUCKETS; i++) {
		if (!of(&tally->latency[i]))
			continue;
		wfs_text_add(text, "%s\"%llu\": %llu", between,
			     (ull)wfs_tally_bound(i), of(&tally->latency[i]));
		between = ", ";
	}
	wfs_text_add(text, "}, \"errors\": {");
	for (int i = 0; i < WFS_TALLY_ERRORS; i++)
		wfs_text_add(text, "%s\"%s\": %llu", i ? ", " : "",
			     wfs_tally_error_name((enum wfs_tally_error)i),
			     of(&tally->errors[i]));
	wfs_text_add(text, "}");
}

static const char *json_bool(bool value)
{
	return value ? "true" : "false";
}

static void report_ports(const struct wfs_local *locals, size_t count,
			 struct wfs_text *text)
{
	wfs_text_add(text, "\"ports\": [");
	for (size_t i = 0; i < count; i++) {
		const struct wfs_local *l = &locals[i];

		wfs_text_add(text, "%s{\"device\": ", i ? ", " : "");
		wfs_text_add_json(text, l->device);
		wfs_text_add(text, ", \"address\": ");
		wfs_text_add_json(text, l->address);
		wfs_text_add(text,
			     ", \"up\": %s, \"numa_node\": %d, "
			     "\"near\": %s, \"connections\": %u, "
			     "\"bytes\": %llu}",
			     json_bool(l->up), l->node, json_bool(l->near),
			     l->links, (ull)l->bytes);
	}
	wfs_text_add(text, "]");
}

void wfs_rdma_peer_report(struct wfs_rdma_peer *peer, struct wfs_text *text)
{
	struct wfs_local locals[WFS_LOCALS_MAX];
	size_t count = wfs_locals(NULL, locals);

	report_ports(locals, count, text);
	wfs_text_add(text, ", \"rails\": [");
	pthread_mutex_lock(&peer->lock);
	for (unsigned i = 0; i < peer->rail_count; i++) {
		bool paused =
			wfs_rdma_peer_is_paused_locked(peer, i, locals, count);

		wfs_text_add(text, "%s{\"address\": ", i ? ", " : "");
		wfs_text_add_json(text, peer->rails[i]);
		wfs_text_add(text, ", \"paused\": %s, ", json_bool(paused));
		report_tally(&peer->tallies[i], text);
		wfs_text_add(text, "}");
	}
	pthread_mutex_unlock(&peer->lock);
	wfs_text_add(text, "]");
}

static void take_peer(struct rows *rows, const char *seed,
		      struct wfs_rdma_peer *peer)
{
	pthread_mutex_lock(&peer->lock);
	for (size_t i = 0; i < peer->rail_count; i++) {
		struct row *row = &rows->row[rows->count++];

		row->seed = seed;
		row->tally = &peer->tallies[i];
		memcpy(row->rail, peer->rails[i], sizeof(row->rail));
	}
	pthread_mutex_unlock(&peer->lock);
}

static void add_labels(struct wfs_text *text, const char *sample,
		       const struct row *row)
{
	wfs_text_add(text, PREFIX "%s{seed=\"", sample);
	wfs_metric_label(text, row->seed);
	wfs_text_add(text, "\",rail=\"");
	wfs_metric_label(text, row->rail);
	wfs_text_add(text, "\"");
}

static void add_head(struct wfs_text *text, enum wfs_metric_form form,
		     const char *name, const char *help)
{
	char *sample wfs_autofree = wfs_asprintf("%s_total", name);

	wfs_metric_family(text, PREFIX, form == WFS_METRIC_OPEN ? name : sample,
			  "counter", help);
}

/* A counter at this offset of a tally. */
static void add_counter(struct wfs_text *text, enum wfs_metric_form form,
			const struct rows *rows, const char *name,
			const char *help, size_t offset)
{
	char *sample wfs_autofree = wfs_asprintf("%s_total", name);

	add_head(text, form, name, help);
	for (size_t i = 0; i < rows->count; i++) {
		const struct row *row = &rows->row[i];

		add_labels(text, sample, row);
		wfs_text_add(
			text, "} %llu\n",
			of((const void *)((const char *)row->tally + offset)));
	}
}

static void add_errors(struct wfs_text *text, enum wfs_metric_form form,
		       const struct rows *rows)
{
	add_head(text, form, "errors", "READs that failed, and how.");
	for (size_t i = 0; i < rows->count; i++) {
		for (int k = 0; k < WFS_TALLY_ERRORS; k++) {
			enum wfs_tally_error kind = (enum wfs_tally_error)k;

			add_labels(text, "errors_total", &rows->row[i]);
			wfs_text_add(text, ",kind=\"%s\"} %llu\n",
				     wfs_tally_error_name(kind),
				     of(&rows->row[i].tally->errors[k]));
		}
	}
}

/* Its buckets count what came before them, too. */
static void add_latency(struct wfs_text *text, const struct row *row)
{
	ull n = 0;

	for (unsigned i = 0; i < WFS_TALLY_BUCKETS; i++) {
		n += of(&row->tally->latency[i]);
		add_labels(text, "read_seconds_bucket", row);
		if (i < WFS_TALLY_BUCKETS - 1)
			wfs_text_add(text, ",le=\"%g\"} %llu\n",
				     (double)wfs_tally_bound(i) / US_PER_S, n);
		else
			wfs_text_add(text, ",le=\"+Inf\"} %llu\n", n);
	}
	add_labels(text, "read_seconds_sum", row);
	wfs_text_add(text, "} %.9g\n", (double)of(&row->tally->ns) / NS_PER_S);
	add_labels(text, "read_seconds_count", row);
	wfs_text_add(text, "} %llu\n", n);
}

/* Of this node's ports. */
static const struct {
	const char *name, *type, *help;
} port_figures[] = {
	{ "port_up", "gauge", "1 if the port of this node works." },
	{ "port_near", "gauge",
	  "1 if it is near to the memory that is read to." },
	{ "port_connections", "gauge", "Queue pairs to seeds by it." },
	{ "port_read_bytes", "counter", "Bytes of chunks that came by it." },
};

static ull port_figure(const struct wfs_local *local, size_t figure)
{
	const ull values[] = { local->up, local->near, local->links,
			       local->bytes };

	return values[figure];
}

static void measure_ports(enum wfs_metric_form form, struct wfs_text *text)
{
	struct wfs_local locals[WFS_LOCALS_MAX];
	size_t count = wfs_locals(NULL, locals);

	for (size_t f = 0;
	     count && f < sizeof(port_figures) / sizeof(port_figures[0]); f++) {
		const char *name = port_figures[f].name;
		bool counter = !strcmp(port_figures[f].type, "counter");

		if (counter)
			add_head(text, form, name, port_figures[f].help);
		else
			wfs_metric_family(text, PREFIX, name, "gauge",
					  port_figures[f].help);
		for (size_t i = 0; i < count; i++) {
			wfs_text_add(text, PREFIX "%s%s{device=\"", name,
				     counter ? "_total" : "");
			wfs_metric_label(text, locals[i].device);
			wfs_text_add(text, "\",address=\"");
			wfs_metric_label(text, locals[i].address);
			wfs_text_add(text, "\"} %llu\n",
				     port_figure(&locals[i], f));
		}
	}
}

void wfs_rdma_peers_measure(struct wfs_rdma_peer *const *peers,
			    const char *const *seeds, size_t count,
			    enum wfs_metric_form form, struct wfs_text *text)
{
	struct row *row wfs_autofree =
		wfs_calloc(count * ROWS_EACH + 1, sizeof(*row));
	struct rows rows = { .row = row };

	for (size_t i = 0; i < count; i++)
		take_peer(&rows, seeds[i], peers[i]);
	add_counter(text, form, &rows, "read_bytes", "Bytes of chunks read.",
		    offsetof(struct wfs_tally, bytes));
	add_counter(text, form, &rows, "device_bytes",
		    "Bytes of these that landed in device memory.",
		    offsetof(struct wfs_tally, device_bytes));
	add_counter(text, form, &rows, "reads", "Chunks read.",
		    offsetof(struct wfs_tally, reads));
	add_counter(text, form, &rows, "retries",
		    "Requests that had to be made again.",
		    offsetof(struct wfs_tally, retries));
	add_errors(text, form, &rows);
	wfs_metric_family(text, PREFIX, "read_seconds", "histogram",
			  "What READs of a chunk took.");
	for (size_t i = 0; i < rows.count; i++)
		add_latency(text, &rows.row[i]);
	measure_ports(form, text);
}
