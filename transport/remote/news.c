/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a seed tells by itself: one stream of server-sent events for each, on
 * a thread of its own.  An event says no more than that it is time to look;
 * while the stream is well the seed is asked rarely.
 */
#include <string.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "transport/remote/inner.h"

#define NS_PER_S  1000000000ull
#define RETRY_NS  NS_PER_S
#define RETRY_MAX (60 * NS_PER_S)
#define SILENT_S  45L /* a seed says something every 15 s */
#define POLL_MS	  1000
#define EVENT	  "event: models"

struct news {
	struct remote_seed *seed;
	CURL *curl;
	char line[sizeof(EVENT)]; /* the one that comes, cut */
	size_t len;
	bool streams; /* the seed has agreed */
};

/* `streams`: whether the seed need not be asked often from now on. */
static void wake_seed(struct remote_seed *seed, bool streams)
{
	struct wfs_remote *remote = seed->remote;

	pthread_mutex_lock(&remote->lock);
	seed->streams = streams;
	seed->kicked = true;
	pthread_cond_broadcast(&remote->changed);
	pthread_mutex_unlock(&remote->lock);
}

static void end_line(struct news *news)
{
	size_t len = news->len;

	news->len = 0;
	if (len == strlen(EVENT) && !memcmp(news->line, EVENT, len))
		wake_seed(news->seed, true);
}

static size_t take(char *bytes, size_t size, size_t n, void *ctx)
{
	struct news *news = ctx;
	long status = 0;

	curl_easy_getinfo(news->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		return 0;
	if (!news->streams)
		wake_seed(news->seed, true);
	news->streams = true;
	for (size_t i = 0; i < size * n; i++) {
		if (bytes[i] == '\n')
			end_line(news);
		else if (news->len < sizeof(news->line))
			news->line[news->len++] = bytes[i];
	}
	return size * n;
}

/* Until the stream ends, or we. */
static void run_multi(struct remote_seed *seed, CURL *curl)
{
	struct wfs_remote *remote = seed->remote;
	CURLM *multi = curl_multi_init();
	int running = 1;

	if (!multi)
		return;
	curl_multi_add_handle(multi, curl);
	pthread_mutex_lock(&remote->lock);
	seed->news = multi;
	pthread_mutex_unlock(&remote->lock);
	while (running && !atomic_load(&remote->stop)) {
		if (curl_multi_perform(multi, &running))
			break;
		if (running)
			curl_multi_poll(multi, NULL, 0, POLL_MS, NULL);
	}
	pthread_mutex_lock(&remote->lock);
	seed->news = NULL;
	pthread_mutex_unlock(&remote->lock);
	curl_multi_remove_handle(multi, curl);
	curl_multi_cleanup(multi);
}

/* Whether there was a stream. */
static bool listen_to(struct remote_seed *seed, CURL *curl)
{
	char *url wfs_autofree = wfs_asprintf("%s/v1/events", seed->link->base);
	struct curl_slist *headers = NULL, *connect_to = NULL;
	struct news news = { .seed = seed, .curl = curl };

	curl_easy_reset(curl);
	wfs_link_setup(seed->link, curl, &headers);
	curl_easy_getinfo(curl, CURLINFO_PRIVATE, &connect_to);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, SILENT_S);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &news);
	run_multi(seed, curl);
	curl_slist_free_all(headers);
	curl_easy_setopt(curl, CURLOPT_CONNECT_TO, NULL);
	curl_slist_free_all(connect_to);
	if (news.streams)
		wake_seed(seed, false);
	return news.streams;
}

/* Nobody is asked who does not answer. */
static void await_seed(struct remote_seed *seed)
{
	struct wfs_remote *remote = seed->remote;

	pthread_mutex_lock(&remote->lock);
	while (!seed->up && !atomic_load(&remote->stop))
		pthread_cond_wait(&remote->changed, &remote->lock);
	pthread_mutex_unlock(&remote->lock);
}

void *wfs_remote_news_run(void *arg)
{
	struct remote_seed *seed = arg;
	CURL *curl = curl_easy_init();
	uint64_t pause = RETRY_NS;

	while (curl && !atomic_load(&seed->remote->stop)) {
		await_seed(seed);
		if (listen_to(seed, curl))
			pause = RETRY_NS;
		else if (pause < RETRY_MAX)
			pause *= 2;
		if (!wfs_remote_pause(seed->remote, NULL, pause))
			break;
	}
	curl_easy_cleanup(curl);
	return NULL;
}

void wfs_remote_news_stop_locked(struct wfs_remote *remote)
{
	for (size_t i = 0; i < remote->seed_count; i++)
		if (remote->seeds[i]->news)
			curl_multi_wakeup(remote->seeds[i]->news);
}
