/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From URLs to seeds.  Each URL has a thread that looks its host up; every
 * address is a seed.  The first of them goes on in that thread, the others
 * have their own.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "transport/remote/inner.h"
#include "transport/remote/stream.h"

#define LOOKUP_NS 2000000000ull /* between two look-ups that fail */

int wfs_url_add(struct wfs_remote *remote, const char *text,
		struct remote_url **ret_url, struct wfs_err *err)
{
	struct remote_url *url = &remote->urls[remote->url_count];
	struct wfs_url parsed;
	int rc = wfs_url_parse(text, &parsed, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < remote->url_count; i++) {
		if (strcmp(remote->urls[i].url.base, parsed.base) != 0)
			continue;
		free(remote->urls[i].url.model);
		remote->urls[i].url.model = wfs_steal_ptr(&parsed.model);
		wfs_url_clear(&parsed);
		*ret_url = &remote->urls[i];
		return 0;
	}
	url->remote = remote;
	url->url = parsed;
	remote->url_count++;
	*ret_url = url;
	return 0;
}

static void *run_seed(void *arg)
{
	wfs_remote_seed_run(arg);
	return NULL;
}

/* NULL when there are too many. */
static struct remote_seed *add_seed(struct remote_url *url, const char *address,
				    bool own_thread)
{
	struct wfs_remote *remote = url->remote;
	struct remote_seed *seed = wfs_calloc(1, sizeof(*seed));
	int rc;

	seed->remote = remote;
	seed->url = url;
	seed->link = wfs_link_new(&url->url, address, &remote->security);
	seed->curl = curl_easy_init();
	rc = seed->curl ? wfs_peer_add(remote->fetch, seed->link->label,
				       &wfs_stream_ops, seed->link,
				       remote->lanes, &seed->peer) :
			  -ENOMEM;
	if (rc) {
		wfs_error("seed '%s' is left out: %s", seed->link->label,
			  rc == -E2BIG ? "there are too many" : strerror(-rc));
		curl_easy_cleanup(seed->curl);
		wfs_link_free(seed->link);
		free(seed);
		return NULL;
	}
	pthread_mutex_lock(&remote->lock);
	remote->seeds[remote->seed_count++] = seed;
	if (own_thread)
		seed->own_thread =
			!pthread_create(&seed->thread, NULL, run_seed, seed);
	pthread_mutex_unlock(&remote->lock);
	return seed;
}

static int look_up(struct remote_url *url, struct addrinfo **ret)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct wfs_remote *remote = url->remote;
	int rc = getaddrinfo(url->url.host, NULL, &hints, ret);

	pthread_mutex_lock(&remote->lock);
	if (rc)
		snprintf(url->why, sizeof(url->why),
			 "cannot look up host '%s': %s", url->url.host,
			 gai_strerror(rc));
	else
		url->why[0] = '\0';
	url->tried = true;
	pthread_cond_broadcast(&remote->changed);
	pthread_mutex_unlock(&remote->lock);
	return rc;
}

void *wfs_url_run(void *arg)
{
	struct remote_url *url = arg;
	struct addrinfo *list, *a;
	struct remote_seed *first = NULL;
	bool said = false;

	while (look_up(url, &list)) {
		if (!said)
			wfs_warn("seed '%s': %s", url->url.base, url->why);
		said = true;
		if (!wfs_remote_pause(url->remote, NULL, LOOKUP_NS))
			return NULL;
	}
	for (a = list; a; a = a->ai_next) {
		char address[NI_MAXHOST];
		struct remote_seed *seed;

		if (getnameinfo(a->ai_addr, a->ai_addrlen, address,
				sizeof(address), NULL, 0, NI_NUMERICHOST))
			continue;
		seed = add_seed(url, address, first != NULL);
		if (!first)
			first = seed;
	}
	freeaddrinfo(list);
	if (first)
		wfs_remote_seed_run(first);
	return NULL;
}

char *wfs_url_trouble_locked(const struct wfs_remote *remote,
			     const struct remote_url *url)
{
	const char *why = url->why[0] ? url->why : "it has not answered yet";

	for (size_t i = 0; i < remote->seed_count; i++) {
		const struct remote_seed *seed = remote->seeds[i];

		if (seed->url == url && seed->up)
			return NULL;
		if (seed->url == url && seed->why[0])
			return wfs_asprintf("%s; it is waited for", seed->why);
	}
	return wfs_asprintf("seed '%s': %s; it is waited for", url->url.base,
			    why);
}
