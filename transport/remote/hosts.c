/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From URLs to seeds.  Each URL has a thread that looks its host up, again and
 * again unless it is an address itself: every address is a seed, with a thread
 * of its own.  One whose address the name has no longer is used as long as it
 * answers, and let go when it does not; if the address comes back, so does it.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/cond.h"
#include "core/base/text.h"
#include "transport/remote/inner.h"
#include "transport/remote/stream.h"

#define SLOW_TIMES 15 /* the usual pause, while all is well */

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

static void add_seed(struct remote_url *url, const char *address)
{
	struct wfs_remote *remote = url->remote;
	struct remote_seed *seed = wfs_calloc(1, sizeof(*seed));
	int rc;

	seed->remote = remote;
	seed->url = url;
	seed->listed = true;
	seed->link = wfs_link_new(&url->url, address, &remote->security);
	seed->curl = curl_easy_init();
	rc = seed->curl ? wfs_peer_add(remote->fetch, seed->link->label,
				       &wfs_stream_ops, seed->link,
				       remote->lanes, &seed->peer) :
			  -ENOMEM;
	if (rc) {
		char *text wfs_autofree =
			wfs_asprintf("seed '%s' is left out: %s",
				     seed->link->label, wfs_peer_refusal(rc));

		if (!atomic_load(&remote->stop))
			wfs_remote_complain(&url->complaint, text);
		curl_easy_cleanup(seed->curl);
		wfs_link_free(seed->link);
		free(seed);
		return;
	}
	wfs_peer_set_rank(seed->peer, remote->rank);
	pthread_mutex_lock(&remote->lock);
	seed->index = remote->seed_count;
	remote->seeds =
		wfs_realloc(remote->seeds,
			    (seed->index + 1) * sizeof(struct remote_seed *));
	remote->seeds[remote->seed_count++] = seed;
	seed->started = !pthread_create(&seed->thread, NULL, run_seed, seed);
	pthread_mutex_unlock(&remote->lock);
}

/* The URL's seed at that address, as wfs_link_new writes it, or NULL. */
static struct remote_seed *find_seed_locked(const struct remote_url *url,
					    const char *address)
{
	const struct wfs_remote *remote = url->remote;
	size_t len = strlen(address);

	for (size_t i = 0; i < remote->seed_count; i++) {
		const char *has = remote->seeds[i]->link->address;

		has += *has == '[';
		if (remote->seeds[i]->url == url &&
		    !strncmp(has, address, len) &&
		    (!has[len] || has[len] == ']'))
			return remote->seeds[i];
	}
	return NULL;
}

/* The name has that address: true if there was no seed of it yet. */
static bool is_new(struct remote_url *url, const char *address)
{
	struct wfs_remote *remote = url->remote;
	struct remote_seed *seed;

	pthread_mutex_lock(&remote->lock);
	seed = find_seed_locked(url, address);
	if (seed)
		seed->listed = true;
	if (seed && seed->away) {
		seed->away = false;
		seed->kicked = true;
		wfs_remote_match_locked(remote);
		pthread_cond_broadcast(&remote->changed);
	}
	pthread_mutex_unlock(&remote->lock);
	return !seed;
}

/* What the name means now. */
static void take_addresses(struct remote_url *url, const struct addrinfo *list)
{
	struct wfs_remote *remote = url->remote;

	pthread_mutex_lock(&remote->lock);
	for (size_t i = 0; i < remote->seed_count; i++)
		if (remote->seeds[i]->url == url)
			remote->seeds[i]->listed = false;
	pthread_mutex_unlock(&remote->lock);
	for (; list; list = list->ai_next) {
		char address[NI_MAXHOST];

		if (!getnameinfo(list->ai_addr, list->ai_addrlen, address,
				 sizeof(address), NULL, 0, NI_NUMERICHOST) &&
		    is_new(url, address))
			add_seed(url, address);
	}
}

static int look_up(struct remote_url *url, int flags, struct addrinfo **ret)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = flags };

	return getaddrinfo(url->url.host, NULL, &hints, ret);
}

/* Whoever waits for its seeds need not, for now. */
static void note_failure(struct remote_url *url, int rc)
{
	struct wfs_remote *remote = url->remote;
	char *text wfs_autofree = NULL;

	pthread_mutex_lock(&remote->lock);
	snprintf(url->why, sizeof(url->why), "cannot look up host '%s': %s",
		 url->url.host, gai_strerror(rc));
	text = wfs_asprintf("seed '%s': %s", url->url.base, url->why);
	pthread_cond_broadcast(&remote->changed);
	pthread_mutex_unlock(&remote->lock);
	wfs_remote_complain(&url->complaint, text);
}

static void note_success(struct remote_url *url)
{
	struct wfs_remote *remote = url->remote;

	if (url->why[0]) /* or else there are too many addresses */
		free(wfs_steal_ptr(&url->complaint));
	pthread_mutex_lock(&remote->lock);
	url->why[0] = '\0';
	pthread_cond_broadcast(&remote->changed);
	pthread_mutex_unlock(&remote->lock);
}

/* Until it is time to look again, or a seed of it fails; false: to end. */
static bool pause_url(struct remote_url *url, uint64_t ns)
{
	struct wfs_remote *remote = url->remote;
	uint64_t until = wfs_now_ns() + ns;

	if (!wfs_remote_pause(remote, NULL, remote->poll_ns))
		return false;
	pthread_mutex_lock(&remote->lock);
	while (!atomic_load(&remote->stop) && !url->kicked &&
	       wfs_cond_wait_until(&remote->changed, &remote->lock, until))
		;
	url->kicked = false;
	pthread_mutex_unlock(&remote->lock);
	return !atomic_load(&remote->stop);
}

void *wfs_url_run(void *arg)
{
	struct remote_url *url = arg;
	struct addrinfo *list;
	bool is_address = !look_up(url, AI_NUMERICHOST, &list);
	int rc = 0;

	if (is_address) {
		take_addresses(url, list);
		freeaddrinfo(list);
		return NULL;
	}
	do {
		rc = look_up(url, 0, &list);
		if (rc) {
			note_failure(url, rc);
			continue;
		}
		take_addresses(url, list);
		freeaddrinfo(list);
		note_success(url);
	} while (pause_url(url, rc ? 0 : SLOW_TIMES * url->remote->poll_ns));
	return NULL;
}

char *wfs_url_trouble_locked(const struct wfs_remote *remote,
			     const struct remote_url *url)
{
	const char *why = url->why[0] ? url->why : "it has not answered yet";

	for (size_t i = 0; i < remote->seed_count; i++) {
		const struct remote_seed *seed = remote->seeds[i];

		if (seed->url != url || seed->away)
			continue;
		if (seed->up)
			return NULL;
		if (seed->why[0])
			return wfs_asprintf("%s; it is waited for", seed->why);
	}
	return wfs_asprintf("seed '%s': %s; it is waited for", url->url.base,
			    why);
}
