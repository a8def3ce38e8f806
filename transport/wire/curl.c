/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See curl.h.
 */
#include "transport/wire/curl.h"

#include <stdint.h>

void wfs_curl_setup(CURL *curl, long connect_ms, const char *ca_file)
{
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION,
			 (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
	if (ca_file)
		curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
}

static int is_over(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c,
		   curl_off_t d)
{
	const atomic_bool *stop = ctx;

	(void)a, (void)b, (void)c, (void)d;
	return atomic_load(stop);
}

void wfs_curl_stop_by(CURL *curl, const atomic_bool *stop)
{
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, is_over);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, (void *)(uintptr_t)stop);
}
