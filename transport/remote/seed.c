/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seed's thread: asks it for its models and for what is new of them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cond.h"
#include "core/base/events.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "transport/remote/inner.h"

#define NS_PER_S     1000000000ull
#define NEWS_MS	     10000 /* for a list, or a manifest */
#define RETRY_NS     (NS_PER_S / 2)
#define RETRY_MAX_NS (5 * NS_PER_S)
#define SLOW_TIMES   8 /* the usual pause, where news come by themselves */
#define KICK_NS	     (NS_PER_S / 4) /* looks are never closer */

bool wfs_remote_pause(struct wfs_remote *remote, struct remote_seed *seed,
		      uint64_t ns)
{
	uint64_t until = wfs_now_ns() + ns;

	pthread_mutex_lock(&remote->lock);
	while (!atomic_load(&remote->stop) && !(seed && seed->kicked) &&
	       wfs_cond_wait_until(&remote->changed, &remote->lock, until))
		;
	if (seed)
		seed->kicked = false;
	pthread_mutex_unlock(&remote->lock);
	return !atomic_load(&remote->stop);
}

void wfs_remote_models_clear(struct remote_model *models, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		wfs_manifest_put(models[i].manifest);
		free(models[i].name);
		free(models[i].via);
		free(models[i].complaint);
		free(models[i].doubt);
		free(models[i].odd);
	}
	free(models);
}

struct remote_model *wfs_remote_model_locked(const struct remote_seed *seed,
					     const char *name)
{
	for (size_t i = 0; i < seed->model_count; i++)
		if (!strcmp(seed->models[i].name, name))
			return &seed->models[i];
	return NULL;
}

static int get(struct remote_seed *seed, const char *path, const char *etag,
	       size_t limit, struct wfs_http *ret, struct wfs_err *err)
{
	struct wfs_get request = {
		.path = path,
		.etag = etag,
		.limit = limit,
		.timeout_ms = NEWS_MS,
		.stop = &seed->remote->stop,
	};

	return wfs_http_get(seed->link, seed->curl, &request, ret, err);
}

void wfs_remote_complain(char **last, const char *text)
{
	if (!wfs_text_replace(last, text))
		return;
	wfs_warn("%s", text);
	wfs_event("seed", NULL, "%s", text);
}

/* What we have from ourselves, by however many others, we do not have. */
static bool is_ours(const struct wfs_listing *listing,
		    const struct wfs_listed *model)
{
	return !strcmp(listing->node, wfs_node_id()) ||
	       (model->via && strstr(model->via, wfs_node_id()));
}

static bool is_wanted(const struct remote_seed *seed, const char *name)
{
	const struct wfs_remote *remote = seed->remote;

	if (seed->url->all)
		return true;
	for (size_t i = 0; i < remote->choice_count; i++)
		if (remote->choices[i].url == seed->url &&
		    !strcmp(remote->choices[i].remote_name, name))
			return true;
	return false;
}

static void get_manifest(struct remote_seed *seed, struct remote_model *model,
			 bool want_roots)
{
	char *name = curl_easy_escape(seed->curl, model->name, 0);
	char *path wfs_autofree = wfs_asprintf("/v1/models/%s/manifest%s", name,
					       want_roots ? "?wait=1" : "");
	char *what wfs_autofree = wfs_asprintf("seed '%s', model '%s'",
					       seed->link->label, model->name);
	struct wfs_manifest *manifest = NULL;
	struct wfs_http http = { 0 };
	struct wfs_err err = { 0 };
	int rc = get(seed, path, NULL, WFS_MANIFEST_MAX, &http, &err);

	curl_free(name);
	if (!rc && !http.body)
		rc = wfs_err_set(&err, -EBADMSG, "%s: no manifest", what);
	if (!rc)
		rc = wfs_manifest_parse(http.body, http.len, what, &manifest,
					&err);
	wfs_http_clear(&http);
	if (!rc)
		rc = wfs_remote_finish_live(seed, model->manifest, manifest,
					    &err);
	if (rc) {
		wfs_manifest_put(manifest);
		wfs_remote_complain(&model->complaint, err.text);
		return;
	}
	free(wfs_steal_ptr(&model->complaint));
	wfs_remote_prove(seed, model, manifest);
	pthread_mutex_lock(&seed->remote->lock);
	wfs_manifest_put(model->manifest);
	model->manifest = manifest;
	/* It may have changed since it was listed. */
	memcpy(model->version, manifest->version, sizeof(model->version));
	pthread_mutex_unlock(&seed->remote->lock);
}

/* Where it lends, if it is on this host; with the lock held. */
static void take_socket(struct remote_seed *seed, struct wfs_listing *listing)
{
	if (!listing->socket || !seed->remote->lending.open ||
	    strcmp(listing->boot_id, seed->remote->boot_id) != 0)
		free(wfs_steal_ptr(&listing->socket));
	if (seed->socket && listing->socket &&
	    !strcmp(seed->socket, listing->socket))
		return;
	wfs_remote_forget_lender(seed);
	free(seed->socket);
	seed->socket = wfs_steal_ptr(&listing->socket);
}

/* The models listed now, with what is known of them already. */
static void take_listing(struct remote_seed *seed, struct wfs_listing *listing)
{
	struct wfs_remote *remote = seed->remote;
	struct remote_model *models, *old = seed->models;
	size_t n = 0, old_count = seed->model_count;

	models = wfs_calloc(listing->count + 1, sizeof(*models));
	pthread_mutex_lock(&remote->lock);
	memcpy(seed->node, listing->node, sizeof(seed->node));
	take_socket(seed, listing);
	if (listing->rdma && !seed->fast)
		wfs_remote_add_fast_locked(seed);
	for (size_t i = 0; i < listing->count; i++) {
		struct remote_model *had, *model = &models[n];

		if (!is_wanted(seed, listing->models[i].name) ||
		    is_ours(listing, &listing->models[i]))
			continue;
		n++;
		had = wfs_remote_model_locked(seed, listing->models[i].name);
		model->name = wfs_steal_ptr(&listing->models[i].name);
		model->via = wfs_steal_ptr(&listing->models[i].via);
		memcpy(model->version, listing->models[i].version,
		       sizeof(model->version));
		if (!had)
			continue;
		model->complaint = wfs_steal_ptr(&had->complaint);
		model->doubt = wfs_steal_ptr(&had->doubt);
		model->odd = wfs_steal_ptr(&had->odd);
		model->again = had->again;
		if (!strcmp(had->version, model->version))
			model->manifest = wfs_steal_ptr(&had->manifest);
	}
	seed->models = models;
	seed->model_count = n;
	pthread_mutex_unlock(&remote->lock);
	wfs_remote_models_clear(old, old_count);
}

/* Asks for the list: 1 when it is another, 0 when not. */
static int look_at_list(struct remote_seed *seed, struct wfs_err *err)
{
	char *what wfs_autofree = wfs_asprintf("seed '%s'", seed->link->label);
	struct wfs_listing listing = { 0 };
	struct wfs_http http = { 0 };
	int rc = get(seed, "/v1/models", seed->etag, WFS_LIST_MAX, &http, err);

	if (rc || http.status == 304) {
		wfs_http_clear(&http);
		return rc;
	}
	if (!http.body)
		rc = wfs_err_set(err, -EBADMSG, "%s: an empty list", what);
	if (!rc)
		rc = wfs_listing_parse(http.body, http.len, what, &listing,
				       err);
	if (!rc) {
		take_listing(seed, &listing);
		memcpy(seed->etag, http.etag, sizeof(seed->etag));
		rc = 1;
	}
	wfs_listing_clear(&listing);
	wfs_http_clear(&http);
	return rc;
}

/* Manifests that are missing, or whose roots others wait for. */
static bool look_at_manifests(struct remote_seed *seed)
{
	struct wfs_remote *remote = seed->remote;
	bool any = false;

	/* Only this thread changes the array. */
	for (size_t i = 0; i < seed->model_count; i++) {
		struct remote_model *model = &seed->models[i];
		bool shared;

		if (atomic_load(&remote->stop))
			break;
		if (model->manifest && !model->again && model->manifest->rooted)
			continue;
		pthread_mutex_lock(&remote->lock);
		shared = remote->passes_on ||
			 wfs_remote_is_shared_locked(remote, model->name) ||
			 wfs_remote_has_copy_locked(remote, model->name);
		pthread_mutex_unlock(&remote->lock);
		if (model->manifest && !shared && !model->again)
			continue;
		model->again = false;
		/* The first is for the mount to have it at once. */
		get_manifest(seed, model, shared && model->manifest);
		any = true;
	}
	return any;
}

static void note_up(struct remote_seed *seed, unsigned doubted)
{
	struct wfs_remote *remote = seed->remote;
	bool was;

	pthread_mutex_lock(&remote->lock);
	was = seed->up;
	seed->tried = seed->up = true;
	seed->asked_anew = doubted;
	seed->why[0] = '\0';
	pthread_cond_broadcast(&remote->changed);
	pthread_mutex_unlock(&remote->lock);
	if (!was) {
		wfs_info("seed '%s' answers models=%zu", seed->link->label,
			 seed->model_count);
		wfs_event("seed", NULL, "seed '%s' answers", seed->link->label);
	}
	free(wfs_steal_ptr(&seed->complaint));
	wfs_peer_is_up(seed->peer);
	if (seed->fast)
		wfs_peer_is_up(seed->fast);
	seed->failures = 0;
}

static void note_down(struct remote_seed *seed, const char *why)
{
	struct wfs_remote *remote = seed->remote;
	bool was, let_go = false;

	pthread_mutex_lock(&remote->lock);
	was = seed->up;
	if (was || !seed->tried)
		seed->down_since = wfs_now_ns();
	seed->tried = true;
	seed->up = false;
	seed->url->kicked = true; /* it may be somewhere else now */
	if (!seed->listed && !seed->away)
		seed->away = let_go = true;
	/* Others need not be compared with one that does not answer. */
	if (was || let_go)
		wfs_remote_match_locked(remote);
	snprintf(seed->why, sizeof(seed->why), "%s", why);
	pthread_cond_broadcast(&remote->changed);
	pthread_mutex_unlock(&remote->lock);
	seed->failures++;
	/* After a restart it may say the same of other regions. */
	seed->etag[0] = '\0';
	wfs_remote_complain(&seed->complaint, why);
	if (let_go)
		wfs_info("seed '%s' is let go: '%s' does not lead there",
			 seed->link->label, seed->url->url.host);
}

/* One that was let go is asked for nothing until its name leads to it. */
static void stay_away(struct remote_seed *seed)
{
	struct wfs_remote *remote = seed->remote;

	pthread_mutex_lock(&remote->lock);
	while (seed->away && !atomic_load(&remote->stop))
		pthread_cond_wait(&remote->changed, &remote->lock);
	pthread_mutex_unlock(&remote->lock);
}

/* Asks for everything anew. */
static void forget(struct remote_seed *seed)
{
	seed->etag[0] = '\0';
	for (size_t i = 0; i < seed->model_count; i++)
		seed->models[i].again = true;
}

static void look(struct remote_seed *seed)
{
	struct wfs_remote *remote = seed->remote;
	struct wfs_err err = { 0 };
	unsigned doubted;
	bool asked;
	int rc;

	pthread_mutex_lock(&remote->lock);
	doubted = seed->doubted;
	pthread_mutex_unlock(&remote->lock);
	if (doubted != seed->asked_anew)
		forget(seed);
	seed->settled = false;
	rc = look_at_list(seed, &err);
	if (rc < 0) {
		if (!atomic_load(&remote->stop))
			note_down(seed, err.text);
		return;
	}
	asked = look_at_manifests(seed);
	if (asked || rc > 0) {
		pthread_mutex_lock(&remote->lock);
		wfs_remote_match_locked(remote);
		/* Its models may make roots of others wanted. */
		for (size_t i = 0; rc > 0 && i < remote->seed_count; i++)
			remote->seeds[i]->kicked |= remote->seeds[i] != seed;
		pthread_mutex_unlock(&remote->lock);
	}
	note_up(seed, doubted);
	seed->settled = wfs_remote_get_lists(seed) && !asked;
	wfs_remote_borrow_more(seed);
}

static uint64_t jitter(const struct remote_seed *seed)
{
	uint64_t now = wfs_now_ns();

	return wfs_hash(&now, sizeof(now), (uintptr_t)seed);
}

static uint64_t pause_after(const struct remote_seed *seed)
{
	struct wfs_remote *remote = seed->remote;
	uint64_t ns = RETRY_NS;
	bool streams;

	pthread_mutex_lock(&remote->lock);
	streams = seed->streams;
	pthread_mutex_unlock(&remote->lock);
	if (!seed->failures)
		return remote->poll_ns *
		       (seed->settled && streams ? SLOW_TIMES : 1);
	for (unsigned i = 1; i < seed->failures && ns < RETRY_MAX_NS; i++)
		ns *= 2;
	if (ns > RETRY_MAX_NS)
		ns = RETRY_MAX_NS;
	/* Many nodes may have lost it at the same moment. */
	return ns - jitter(seed) % (ns / 4);
}

void wfs_remote_seed_run(struct remote_seed *seed)
{
	pthread_t news;
	/* Without it polls have to do. */
	bool listens = !pthread_create(&news, NULL, wfs_remote_news_run, seed);

	do {
		look(seed);
		stay_away(seed);
	} while (wfs_remote_pause(seed->remote, NULL, KICK_NS) &&
		 wfs_remote_pause(seed->remote, seed, pause_after(seed)));
	if (listens)
		pthread_join(news, NULL);
}
