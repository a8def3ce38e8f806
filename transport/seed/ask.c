/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every route needs of its request and for its answer.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "transport/seed/inner.h"

const char *wfs_ask_header(const struct wfs_ask *ask, const char *name)
{
	return MHD_lookup_connection_value(ask->connection, MHD_HEADER_KIND,
					   name);
}

static enum MHD_Result note_key(void *ctx, enum MHD_ValueKind kind,
				const char *key, const char *value)
{
	const char **wanted = ctx;

	(void)kind;
	if (strcmp(key, wanted[0]) == 0 && !wanted[1])
		wanted[1] = value ? value : "";
	return MHD_YES;
}

const char *wfs_ask_query(const struct wfs_ask *ask, const char *name)
{
	const char *wanted[2] = { name, NULL };

	MHD_get_connection_values(ask->connection, MHD_GET_ARGUMENT_KIND,
				  note_key, wanted);
	return wanted[1];
}

enum MHD_Result wfs_ask_send(struct wfs_ask *ask, unsigned status,
			     struct MHD_Response *response)
{
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	if (ask->client->standing != WFS_WELCOME)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION,
					"close");
	result = MHD_queue_response(ask->connection, status, response);
	MHD_destroy_response(response);
	return result;
}

/* Takes over the text. */
static struct MHD_Response *make_response(struct wfs_text *text,
					  const char *type)
{
	struct MHD_Response *response;
	size_t len = text->len;

	response = MHD_create_response_from_buffer(
		len, wfs_steal_ptr(&text->data), MHD_RESPMEM_MUST_FREE);
	if (response)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
					type);
	return response;
}

/* What a client should know beside the status. */
static void add_hints(const struct wfs_ask *ask, struct MHD_Response *response,
		      unsigned status)
{
	char range[40];

	if (status == MHD_HTTP_RANGE_NOT_SATISFIABLE) {
		snprintf(range, sizeof(range), "bytes */%" PRIu64,
			 ask->file->region->size);
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_RANGE,
					range);
	}
	if (status == MHD_HTTP_UNAUTHORIZED)
		MHD_add_response_header(
			response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW,
					"GET, HEAD");
	if (status == MHD_HTTP_SERVICE_UNAVAILABLE ||
	    status == MHD_HTTP_TOO_MANY_REQUESTS)
		MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER,
					"1");
	if (status == MHD_HTTP_UPGRADE_REQUIRED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE,
					WFS_STREAM_NAME);
}

enum MHD_Result wfs_ask_refuse(struct wfs_ask *ask, unsigned status,
			       const char *fmt, ...)
{
	struct wfs_text text = { 0 };
	struct MHD_Response *response;
	char why[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	wfs_text_add(&text, "{\"error\": ");
	wfs_text_add_json(&text, why);
	wfs_text_add(&text, "}\n");
	response = make_response(&text, "application/json");
	if (response)
		add_hints(ask, response, status);
	atomic_fetch_add(&ask->seed->errors[status / 100 % 6], 1);
	return wfs_ask_send(ask, status, response);
}

enum MHD_Result wfs_ask_answer(struct wfs_ask *ask, const char *type,
			       struct wfs_text *text, const char *etag)
{
	const char *held = wfs_ask_header(ask, MHD_HTTP_HEADER_IF_NONE_MATCH);
	bool same = etag && held && wfs_etag_listed(held, etag, true);
	struct MHD_Response *response;
	char quoted[80];

	if (same) {
		free(wfs_steal_ptr(&text->data));
		text->len = 0;
	}
	response = make_response(text, type);
	if (response && etag) {
		snprintf(quoted, sizeof(quoted), "\"%s\"", etag);
		MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, quoted);
		MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
					"no-cache");
	}
	return wfs_ask_send(ask, same ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK,
			    response);
}

bool wfs_ask_wait(struct wfs_ask *ask, uint64_t timeout_ns,
		  bool (*done)(struct wfs_ask *ask, void *ctx), void *ctx)
{
	struct wfs_seed *seed = ask->seed;
	uint64_t until = wfs_now_ns() + timeout_ns;

	for (;;) {
		uint64_t seen = wfs_stock_generation(seed->stock);
		uint64_t now = wfs_now_ns();
		bool over = now >= until || atomic_load(&seed->stopping) ||
			    wfs_client_gone(ask->client);

		if (done(ask, ctx))
			return true;
		if (over)
			return false;
		wfs_stock_await(seed->stock, seen,
				until - now < WFS_SEED_SLICE_NS ?
					until - now :
					WFS_SEED_SLICE_NS);
	}
}
