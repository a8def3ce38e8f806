/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/events and /metrics: what changes, told as it does and counted.
 */
#include <stdio.h>
#include <string.h>

#include "core/base/metric.h"
#include "transport/seed/inner.h"

#define COMMENT_NS  15000000000ull
#define LOOK_NS	    1000000000ull /* from one look whether it listens on */
#define BLOCK_BYTES 1024

/* One that listens. */
struct listening {
	struct wfs_seed *seed;
	const struct wfs_client *client;
	char told[17]; /* the tag that it was told last */
};

/*
 * Returns when there is something to tell.  Holds a thread, which is the
 * connection's own.
 */
static ssize_t tell(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct listening *it = cls;
	struct wfs_stock *stock = it->seed->stock;
	uint64_t until = wfs_now_ns() + COMMENT_NS;
	char etag[17];

	(void)pos;
	while (wfs_now_ns() < until) {
		uint64_t seen = wfs_stock_generation(stock);

		if (atomic_load(&it->seed->stopping) ||
		    wfs_client_gone(it->client))
			return MHD_CONTENT_READER_END_OF_STREAM;
		wfs_stock_etag(stock, etag);
		if (strcmp(etag, it->told) != 0) {
			memcpy(it->told, etag, sizeof(etag));
			return snprintf(buf, max,
					"event: models\n"
					"data: {\"etag\": \"%s\"}\n\n",
					etag);
		}
		wfs_stock_await(stock, seen, LOOK_NS);
	}
	return snprintf(buf, max, ": still here\n\n");
}

enum MHD_Result wfs_seed_events(struct wfs_ask *ask)
{
	struct listening *it = wfs_calloc(1, sizeof(*it));
	struct MHD_Response *response;

	it->seed = ask->seed;
	it->client = ask->client;
	response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, BLOCK_BYTES, tell, it, free);
	if (!response) {
		free(it);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				"text/event-stream");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
				"no-cache");
	return wfs_ask_send(ask, MHD_HTTP_OK, response);
}

static void add_metric(struct wfs_text *text, const char *name,
		       const char *type, const char *help)
{
	wfs_metric_family(text, "weightfs_seed_", name, type, help);
}

static void add_counter(struct wfs_text *text, const char *name,
			const char *help, unsigned long long value)
{
	add_metric(text, name, "counter", help);
	wfs_text_add(text, "weightfs_seed_%s_total %llu\n", name, value);
}

static void add_gauge(struct wfs_text *text, const char *name, const char *help,
		      unsigned long long value)
{
	add_metric(text, name, "gauge", help);
	wfs_text_add(text, "weightfs_seed_%s %llu\n", name, value);
}

static void add_requests(struct wfs_text *text, struct wfs_seed *seed)
{
	static const char *const names[WFS_ROUTES] = {
		[WFS_ROUTE_OTHER] = "other",
		[WFS_ROUTE_MODELS] = "models",
		[WFS_ROUTE_MANIFEST] = "manifest",
		[WFS_ROUTE_REGION] = "region",
		[WFS_ROUTE_DIGESTS] = "digests",
		[WFS_ROUTE_EVENTS] = "events",
		[WFS_ROUTE_HEALTH] = "healthz",
		[WFS_ROUTE_METRICS] = "metrics",
		[WFS_ROUTE_STREAM] = "stream",
		[WFS_ROUTE_RDMA] = "rdma",
	};

	add_metric(text, "requests", "counter", "Requests, by route.");
	for (unsigned i = 0; i < WFS_ROUTES; i++)
		wfs_text_add(
			text,
			"weightfs_seed_requests_total{route=\"%s\"} %llu\n",
			names[i], atomic_load(&seed->asked[i]));
	add_metric(text, "errors", "counter",
		   "Requests that were refused, by class of their status.");
	for (unsigned i = 4; i < 6; i++)
		wfs_text_add(
			text,
			"weightfs_seed_errors_total{class=\"%uxx\"} %llu\n", i,
			atomic_load(&seed->errors[i]));
}

enum MHD_Result wfs_seed_metrics(struct wfs_ask *ask)
{
	struct wfs_seed *seed = ask->seed;
	struct wfs_text text = { 0 };
	unsigned streams, connections;

	pthread_mutex_lock(&seed->lock);
	streams = seed->streams;
	pthread_mutex_unlock(&seed->lock);
	pthread_mutex_lock(&seed->clients.lock);
	connections = seed->clients.count;
	pthread_mutex_unlock(&seed->clients.lock);
	add_requests(&text, seed);
	add_counter(&text, "sent_bytes", "Bytes of regions that were sent.",
		    atomic_load(&seed->sent));
	add_counter(&text, "chunks", "Chunks that were sent on streams.",
		    atomic_load(&seed->chunks));
	add_counter(&text, "hashed_bytes",
		    "Bytes hashed because the digest of a chunk was unknown.",
		    atomic_load(&seed->hashed));
	add_counter(&text, "stale",
		    "Requests for regions that were rewritten or replaced.",
		    atomic_load(&seed->stale));
	add_counter(&text, "refused_connections",
		    "Connections beyond what is allowed.",
		    atomic_load(&seed->clients.refused));
	add_counter(&text, "cut_off",
		    "Connections cut off: too slow, or stale.",
		    atomic_load(&seed->clients.cut_off));
	add_gauge(&text, "connections", "Connections now.", connections);
	add_gauge(&text, "streams", "Streams now.", streams);
	if (seed->fabric.measure)
		seed->fabric.measure(seed->fabric.ctx, &text);
	if (seed->measure)
		seed->measure(seed->measure_ctx, &text);
	wfs_text_add(&text, "# EOF\n");
	return wfs_ask_answer(ask,
			      "application/openmetrics-text; version=1.0.0; "
			      "charset=utf-8",
			      &text, NULL);
}
