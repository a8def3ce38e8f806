/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request to its route, past everybody who has a say in it: the caps,
 * the token, the client's certificate, the version of the protocol.
 */
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "transport/seed/inner.h"
#include "transport/seed/manifest.h"

/* Why it may not ask: 0 when it may. */
static unsigned check_trust(const struct wfs_ask *ask, const char **ret_why)
{
	const struct wfs_seed *seed = ask->seed;
	const char *header = wfs_ask_header(ask, MHD_HTTP_HEADER_AUTHORIZATION);

	if (seed->mutual && !ask->client->certified) {
		*ret_why = "this seed wants a client certificate of an "
			   "authority that it knows";
		return MHD_HTTP_UNAUTHORIZED;
	}
	if (!seed->has_token ||
	    wfs_token_is(&seed->token,
			 header ? wfs_bearer_parse(header) : NULL))
		return 0;
	*ret_why = header ? "that is not this seed's token" :
			    "this seed wants a token: Authorization: Bearer …";
	return MHD_HTTP_UNAUTHORIZED;
}

static unsigned check_caps(const struct wfs_ask *ask, const char **ret_why)
{
	switch (ask->client->standing) {
	case WFS_WELCOME:
		break;
	case WFS_ITS_TOO_MANY:
		*ret_why = "too many connections from this address";
		return MHD_HTTP_TOO_MANY_REQUESTS;
	case WFS_ONE_TOO_MANY:
		*ret_why = "too many connections";
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	}
	if (!atomic_load(&ask->seed->stopping))
		return 0;
	*ret_why = "this seed is ending";
	return MHD_HTTP_SERVICE_UNAVAILABLE;
}

enum MHD_Result wfs_seed_models(struct wfs_ask *ask)
{
	struct wfs_text text = { 0 };
	char etag[17];

	wfs_stock_refresh(ask->seed->stock);
	wfs_stock_list(ask->seed->stock, &text, etag);
	return wfs_ask_answer(ask, "application/json", &text, etag);
}

static bool all_known(struct wfs_ask *ask, void *ctx)
{
	(void)ctx;
	return wfs_manifest_known(ask->model, WFS_XXH3_128, true);
}

enum MHD_Result wfs_seed_manifest(struct wfs_ask *ask, const char *name)
{
	const char *wait = wfs_ask_query(ask, "wait");
	const char *tensors = wfs_ask_query(ask, "tensors");
	struct wfs_text text = { 0 };
	char etag[17];
	uint64_t ns = 0;

	if (wait && wfs_wait_parse(wait, &ns))
		return wfs_ask_refuse(ask, MHD_HTTP_BAD_REQUEST,
				      "wait='%s' is not a number of seconds, "
				      "0 to %d",
				      wait, WFS_WAIT_MAX_S);
	wfs_stock_refresh(ask->seed->stock);
	ask->model = wfs_stock_find(ask->seed->stock, name);
	if (!ask->model)
		return wfs_ask_refuse(ask, MHD_HTTP_NOT_FOUND,
				      "there is no model '%s' here", name);
	if (wait)
		wfs_ask_wait(ask, ns, all_known, NULL);
	wfs_manifest_write(ask->model, tensors && strcmp(tensors, "1") == 0,
			   &text);
	snprintf(etag, sizeof(etag), "%016llx",
		 (unsigned long long)wfs_hash(text.data, text.len,
					      WFS_HASH_SEED));
	return wfs_ask_answer(ask, "application/json", &text, etag);
}

static enum MHD_Result health(struct wfs_ask *ask)
{
	struct wfs_text text = { 0 };

	wfs_text_add(&text, "ok\n");
	return wfs_ask_answer(ask, "text/plain; charset=utf-8", &text, NULL);
}

/*
 * What stands between `before` and `after` in `url`, into `ret_name`: false
 * when the path is another, or the name too long or of two components.
 */
static bool name_between(const char *url, const char *before, const char *after,
			 char ret_name[WFS_NAME_BYTES])
{
	size_t start = strlen(before), len = strlen(url), end = strlen(after);

	if (len <= start + end || len - start - end >= WFS_NAME_BYTES ||
	    strncmp(url, before, start) != 0 ||
	    strcmp(url + len - end, after) != 0)
		return false;
	len -= start + end;
	if (memchr(url + start, '/', len))
		return false;
	memcpy(ret_name, url + start, len);
	ret_name[len] = '\0';
	return true;
}

static enum wfs_route find_route(const char *url, char name[WFS_NAME_BYTES])
{
	static const struct {
		const char *url;
		enum wfs_route route;
	} fixed[] = {
		{ "/v1/models", WFS_ROUTE_MODELS },
		{ "/v1/events", WFS_ROUTE_EVENTS },
		{ "/v1/stream", WFS_ROUTE_STREAM },
		{ "/v1/rdma", WFS_ROUTE_RDMA },
		{ "/healthz", WFS_ROUTE_HEALTH },
		{ "/metrics", WFS_ROUTE_METRICS },
	};

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		if (strcmp(url, fixed[i].url) == 0)
			return fixed[i].route;
	}
	if (name_between(url, "/v1/models/", "/manifest", name))
		return WFS_ROUTE_MANIFEST;
	if (name_between(url, "/v1/regions/", "/digests", name))
		return WFS_ROUTE_DIGESTS;
	if (name_between(url, "/v1/regions/", "", name))
		return WFS_ROUTE_REGION;
	return WFS_ROUTE_OTHER;
}

static enum MHD_Result run_route(struct wfs_ask *ask, enum wfs_route route,
				 const char *url, const char *name)
{
	switch (route) {
	case WFS_ROUTE_MODELS:
		return wfs_seed_models(ask);
	case WFS_ROUTE_MANIFEST:
		return wfs_seed_manifest(ask, name);
	case WFS_ROUTE_REGION:
		return wfs_seed_region(ask, name);
	case WFS_ROUTE_DIGESTS:
		return wfs_seed_digests(ask, name);
	case WFS_ROUTE_EVENTS:
		return wfs_seed_events(ask);
	case WFS_ROUTE_HEALTH:
		return health(ask);
	case WFS_ROUTE_METRICS:
		return wfs_seed_metrics(ask);
	case WFS_ROUTE_STREAM:
		return wfs_seed_stream(ask);
	case WFS_ROUTE_RDMA:
		return wfs_seed_rdma(ask);
	case WFS_ROUTE_OTHER:
	case WFS_ROUTES:
		break;
	}
	return wfs_ask_refuse(ask, MHD_HTTP_NOT_FOUND,
			      "there is nothing at '%s'", url);
}

static enum MHD_Result answer(struct wfs_ask *ask, const char *url,
			      const char *method)
{
	const char *protocol = wfs_ask_header(ask, "Weightfs-Protocol");
	char name[WFS_NAME_BYTES] = "";
	enum wfs_route route = find_route(url, name);
	const char *why = NULL;
	unsigned status = check_caps(ask, &why), version = 0;

	atomic_fetch_add(&ask->seed->asked[route], 1);
	if (!status && route != WFS_ROUTE_HEALTH)
		status = check_trust(ask, &why);
	if (status)
		return wfs_ask_refuse(ask, status, "%s", why);
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
	    strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return wfs_ask_refuse(ask, MHD_HTTP_METHOD_NOT_ALLOWED,
				      "there is only GET and HEAD here");
	if (protocol && wfs_number_parse(protocol, &version))
		return wfs_ask_refuse(ask, MHD_HTTP_BAD_REQUEST,
				      "'%s' is no version of the protocol",
				      protocol);
	if (protocol && version != WFS_PROTOCOL)
		return wfs_ask_refuse(ask, MHD_HTTP_UPGRADE_REQUIRED,
				      "this seed (weightfs " WFS_VERSION
				      ") speaks version %d of the protocol, "
				      "not %u",
				      WFS_PROTOCOL, version);
	ask->head = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
	return run_route(ask, route, url, name);
}

/* Does a body follow?  Nothing here takes one. */
static bool has_body(const struct wfs_ask *ask)
{
	const char *length =
		wfs_ask_header(ask, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return wfs_ask_header(ask, MHD_HTTP_HEADER_TRANSFER_ENCODING) ||
	       (length && strspn(length, "0") != strlen(length));
}

enum MHD_Result wfs_seed_access(void *cls, struct MHD_Connection *connection,
				const char *url, const char *method,
				const char *version, const char *upload,
				size_t *upload_size, void **own)
{
	struct wfs_ask *ask = *own;

	(void)version;
	(void)upload;
	(void)upload_size;
	if (ask)
		return answer(ask, url, method);
	ask = wfs_calloc(1, sizeof(*ask));
	ask->seed = cls;
	ask->connection = connection;
	ask->client = MHD_get_connection_info(
			      connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
			      ->socket_context;
	*own = ask;
	wfs_client_asks(&ask->seed->clients, ask->client);
	if (has_body(ask))
		return wfs_ask_refuse(ask, MHD_HTTP_CONTENT_TOO_LARGE,
				      "a request has no body here");
	return MHD_YES; /* asked again, when an answer may be given */
}

void wfs_seed_completed(void *cls, struct MHD_Connection *connection,
			void **own, enum MHD_RequestTerminationCode code)
{
	struct wfs_seed *seed = cls;
	struct wfs_ask *ask = *own;

	(void)connection;
	if (!ask)
		return;
	*own = NULL;
	if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK && !ask->counted)
		atomic_fetch_add(&seed->sent, ask->announced);
	wfs_client_sends(&seed->clients, ask->client, NULL);
	wfs_client_answered(&seed->clients, ask->client);
	wfs_stock_put(ask->model);
	free(ask);
}
