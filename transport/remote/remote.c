/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set of seeds: its life, and what it offers.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "core/base/cond.h"
#include "core/base/secret.h"
#include "core/base/text.h"
#include "core/digest/sign.h"
#include "transport/remote/inner.h"

#define NS_PER_S    1000000000ull
#define LANES	    4
#define DEADLINE_NS (60 * NS_PER_S)

bool wfs_remote_is_url(const char *text)
{
	return !strncmp(text, "http://", 7) || !strncmp(text, "https://", 8);
}

static int set_security(const struct wfs_remote_config *config,
			struct wfs_security *s, struct wfs_err *err)
{
	s->ca_file = wfs_strdup_or_null(config->ca_file);
	s->cert_file = wfs_strdup_or_null(config->cert_file);
	s->key_file = wfs_strdup_or_null(config->key_file);
	return config->token_file ?
		       wfs_token_read(config->token_file, WFS_TOKEN_MAX,
				      &s->token, err) :
		       0;
}

/* One that cannot be read would only show when a seed answers. */
static int check_trust_key(const char *path, struct wfs_err *err)
{
	static const uint8_t none[WFS_SIGNATURE_BYTES];
	struct wfs_err why = { 0 };
	int rc = wfs_sign_verify(path, "", 0, none, sizeof(none), &why);

	if (!rc || rc == -EBADMSG)
		return 0;
	return wfs_err_set(err, rc, "%s", why.text);
}

/* A peer does not have a region any more, or is gone: look at it now. */
static void on_lost(void *ctx, struct wfs_peer *peer)
{
	struct wfs_remote *remote = ctx;

	pthread_mutex_lock(&remote->lock);
	for (size_t i = 0; i < remote->seed_count; i++) {
		if (remote->seeds[i]->peer != peer)
			continue;
		remote->seeds[i]->kicked = true;
		remote->seeds[i]->doubted++;
	}
	pthread_cond_broadcast(&remote->changed);
	pthread_mutex_unlock(&remote->lock);
}

static int by_choice_name(const void *x, const void *y)
{
	const struct wfs_choice *a = x, *b = y;

	return strcmp(a->name, b->name);
}

static int add_urls(struct wfs_remote *remote,
		    const struct wfs_remote_config *config, struct wfs_err *err)
{
	struct remote_url *url;
	int rc = 0;

	remote->urls = wfs_calloc(config->seed_count + config->name_count + 1,
				  sizeof(*remote->urls));
	remote->choices =
		wfs_calloc(config->name_count + 1, sizeof(*remote->choices));
	for (size_t i = 0; i < config->seed_count && !rc; i++) {
		rc = wfs_url_add(remote, config->seeds[i], &url, err);
		if (!rc)
			url->all = true;
	}
	for (size_t i = 0; i < config->name_count && !rc; i++) {
		const struct wfs_remote_name *n = &config->names[i];
		struct wfs_choice *c = &remote->choices[remote->choice_count];

		url = NULL;
		rc = n->url ? wfs_url_add(remote, n->url, &url, err) : 0;
		if (rc)
			break;
		*c = (struct wfs_choice){
			.name = wfs_strdup(n->name),
			.remote_name = wfs_strdup(url && url->url.model ?
							  url->url.model :
							  n->name),
			.url = url,
			.pinned = n->root || n->vouched,
			.vouched = n->vouched,
		};
		if (n->root)
			memcpy(c->root, n->root, sizeof(c->root));
		remote->choice_count++;
	}
	qsort(remote->choices, remote->choice_count, sizeof(*remote->choices),
	      by_choice_name);
	return rc;
}

static int start(struct wfs_remote *remote, struct wfs_err *err)
{
	sigset_t all, old;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (size_t i = 0; i < remote->url_count && !rc; i++) {
		struct remote_url *url = &remote->urls[i];

		rc = pthread_create(&url->thread, NULL, wfs_url_run, url);
		url->started = !rc;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc ? wfs_err_set(err, -rc, "cannot start a thread: %s",
				strerror(rc)) :
		    0;
}

int wfs_remote_open(const struct wfs_remote_config *config,
		    struct wfs_remote **ret_remote, struct wfs_err *err)
{
	struct wfs_remote *remote = wfs_calloc(1, sizeof(*remote));
	struct wfs_fetch_config fetch = {
		.deadline_ns = config->deadline_ns,
		.lost = on_lost,
		.differs = wfs_remote_copy_differs,
		.ctx = remote,
	};
	int rc;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	if (config->fabric)
		remote->fabric = *config->fabric;
	remote->rank = config->rank;
	remote->lanes = config->lanes ? config->lanes : LANES;
	remote->poll_ns = config->poll_ns ? config->poll_ns : 2 * NS_PER_S;
	pthread_mutex_init(&remote->lock, NULL);
	wfs_cond_init(&remote->changed);
	atomic_init(&remote->stop, false);
	wfs_fetch_new(&fetch, &remote->fetch);
	remote->deadline_ns = config->deadline_ns ? config->deadline_ns :
						    DEADLINE_NS;
	remote->forget_ns = config->forget_ns;
	remote->passes_on = config->passes_on;
	remote->trust_key = wfs_strdup_or_null(config->trust_key);
	if (config->lending)
		remote->lending = *config->lending;
	wfs_boot_id_read(remote->boot_id);
	rc = set_security(config, &remote->security, err);
	if (!rc && config->trust_key)
		rc = check_trust_key(config->trust_key, err);
	if (!rc)
		rc = add_urls(remote, config, err);
	if (!rc)
		rc = start(remote, err);
	if (rc)
		wfs_remote_close(remote);
	else
		*ret_remote = remote;
	return rc;
}

/* Has every seed been tried?  (Each URL has one, or says why not.) */
static bool all_tried_locked(const struct wfs_remote *remote)
{
	size_t with_seed = 0;

	for (size_t i = 0; i < remote->seed_count; i++) {
		const struct remote_seed *seed = remote->seeds[i];

		if (!seed->tried ||
		    (seed->up && seed->asked_anew != seed->doubted))
			return false;
	}
	for (size_t i = 0; i < remote->url_count; i++) {
		bool has = remote->urls[i].why[0];

		for (size_t k = 0; k < remote->seed_count && !has; k++)
			has = remote->seeds[k]->url == &remote->urls[i];
		with_seed += has;
	}
	return with_seed == remote->url_count;
}

/* Has a seed of each URL answered? */
static bool all_heard_locked(const struct wfs_remote *remote)
{
	size_t heard = 0;

	for (size_t i = 0; i < remote->url_count; i++) {
		bool has = false;

		for (size_t k = 0; k < remote->seed_count && !has; k++) {
			const struct remote_seed *seed = remote->seeds[k];

			has = seed->url == &remote->urls[i] && seed->up &&
			      seed->asked_anew == seed->doubted;
		}
		heard += has;
	}
	return heard == remote->url_count;
}

void wfs_remote_first(struct wfs_remote *remote, uint64_t timeout_ns,
		      bool patient, void (*tell)(void *ctx, const char *text),
		      void *ctx)
{
	uint64_t until = wfs_now_ns() + timeout_ns;

	pthread_mutex_lock(&remote->lock);
	while (!(patient ? all_heard_locked(remote) :
			   all_tried_locked(remote)) &&
	       wfs_cond_wait_until(&remote->changed, &remote->lock, until))
		;
	pthread_mutex_unlock(&remote->lock);
	for (size_t i = 0; i < remote->url_count && tell; i++) {
		char *text wfs_autofree = NULL;

		pthread_mutex_lock(&remote->lock);
		text = wfs_url_trouble_locked(remote, &remote->urls[i]);
		pthread_mutex_unlock(&remote->lock);
		if (text)
			tell(ctx, text);
	}
}

void wfs_remote_stop(struct wfs_remote *remote)
{
	if (!remote)
		return;
	pthread_mutex_lock(&remote->lock);
	atomic_store(&remote->stop, true);
	wfs_remote_news_stop_locked(remote);
	pthread_cond_broadcast(&remote->changed);
	pthread_mutex_unlock(&remote->lock);
	wfs_fetch_stop(remote->fetch);
}

static void free_seed(struct remote_seed *seed)
{
	wfs_remote_models_clear(seed->models, seed->model_count);
	if (seed->fast_ctx)
		seed->remote->fabric.peer_free(seed->fast_ctx);
	curl_easy_cleanup(seed->curl);
	wfs_link_free(seed->link);
	wfs_remote_forget_lender(seed);
	free(seed->complaint);
	free(seed->socket);
	free(seed);
}

static void clear_url(struct remote_url *url)
{
	wfs_url_clear(&url->url);
	free(url->complaint);
}

void wfs_remote_close(struct wfs_remote *remote)
{
	if (!remote)
		return;
	wfs_remote_stop(remote);
	for (size_t i = 0; i < remote->url_count; i++)
		if (remote->urls[i].started)
			pthread_join(remote->urls[i].thread, NULL);
	for (size_t i = 0; i < remote->seed_count; i++)
		if (remote->seeds[i]->started)
			pthread_join(remote->seeds[i]->thread, NULL);
	wfs_fetch_free(remote->fetch);
	wfs_remote_copies_free(remote);
	for (size_t i = 0; i < remote->seed_count; i++)
		free_seed(remote->seeds[i]);
	for (size_t i = 0; i < remote->url_count; i++)
		clear_url(&remote->urls[i]);
	for (size_t i = 0; i < remote->choice_count; i++) {
		free(remote->choices[i].name);
		free(remote->choices[i].remote_name);
		free(remote->choices[i].complaint);
		wfs_manifest_put(remote->choices[i].whole);
	}
	free(remote->seeds);
	free(remote->urls);
	free(remote->choices);
	free(remote->trust_key);
	wfs_token_free(remote->security.token);
	free(remote->security.ca_file);
	free(remote->security.cert_file);
	free(remote->security.key_file);
	pthread_cond_destroy(&remote->changed);
	pthread_mutex_destroy(&remote->lock);
	free(remote);
}

/* What version the name has, and of whom; false: it has none. */
static bool peek_at(const struct wfs_remote *remote, const struct wfs_choice *c,
		    struct wfs_remote_model *ret)
{
	const struct wfs_manifest *manifest = wfs_choice_manifest(c);
	uint64_t hash = WFS_HASH_SEED;

	if (!manifest)
		return false;
	hash = wfs_hash(&c->seed, sizeof(c->seed), hash);
	hash = wfs_hash(&c->round, sizeof(c->round), hash);
	hash = wfs_hash(manifest->version, strlen(manifest->version), hash);
	*ret = (struct wfs_remote_model){
		.name = wfs_strdup(c->name),
		.gone = c->seed ? wfs_remote_is_gone_locked(c->seed) :
				  wfs_whole_is_gone_locked(remote, c),
		.peek = hash,
	};
	return true;
}

size_t wfs_remote_models(struct wfs_remote *remote,
			 struct wfs_remote_model **ret_models)
{
	struct wfs_remote_model *models;
	size_t n = 0;

	pthread_mutex_lock(&remote->lock);
	wfs_remote_choose_locked(remote);
	models = wfs_calloc(remote->choice_count + 1, sizeof(*models));
	for (size_t i = 0; i < remote->choice_count; i++)
		n += peek_at(remote, &remote->choices[i], &models[n]);
	pthread_mutex_unlock(&remote->lock);
	*ret_models = models;
	return n;
}

void wfs_remote_models_free(struct wfs_remote_model *models, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(models[i].name);
	free(models);
}
