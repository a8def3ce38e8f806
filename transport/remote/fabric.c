/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The faster way to a seed's chunks: a second peer beside its stream's, which
 * asks the seed over our control channel.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "transport/remote/inner.h"

#define ANSWER_MAX (64u << 20)
#define ANSWER_MS  2000

/* Of the lanes' threads: none of them has a handle that is kept. */
static int get(void *ctx, const char *path, const atomic_bool *stop,
	       char **ret_text, size_t *ret_len, struct wfs_err *err)
{
	const struct remote_seed *seed = ctx;
	struct wfs_get request = {
		.path = path,
		.limit = ANSWER_MAX,
		.timeout_ms = ANSWER_MS,
		.stop = stop,
	};
	struct wfs_http http = { 0 };
	CURL *curl = curl_easy_init();
	int rc;

	if (!curl)
		return wfs_err_set(err, -ENOMEM, "libcurl gives no handle");
	rc = wfs_http_get(seed->link, curl, &request, &http, err);
	curl_easy_cleanup(curl);
	if (!rc && !http.body)
		rc = wfs_err_set(err, -EBADMSG, "seed '%s': %s is empty",
				 seed->link->label, path);
	if (rc) {
		wfs_http_clear(&http);
		return rc;
	}
	*ret_text = http.body;
	*ret_len = http.len;
	return 0;
}

void wfs_remote_add_fast_locked(struct remote_seed *seed)
{
	struct wfs_remote *remote = seed->remote;
	struct wfs_control control = {
		.label = seed->link->label,
		.get = get,
		.ctx = seed,
	};
	char *label wfs_autofree = NULL;
	int rc;

	if (!remote->fabric.ops || seed->fast_ctx)
		return;
	label = wfs_asprintf("%s (RDMA)", seed->link->label);
	seed->fast_ctx = remote->fabric.peer_new(&control);
	rc = wfs_peer_add(remote->fetch, label, remote->fabric.ops,
			  seed->fast_ctx, remote->lanes, &seed->fast);
	if (rc) {
		wfs_warn("seed '%s' is read over TCP alone: %s",
			 seed->link->label, wfs_peer_refusal(rc));
		return;
	}
	wfs_peer_set_rank(seed->fast, remote->rank);
	wfs_peer_prefer(seed->fast, seed->peer);
}
