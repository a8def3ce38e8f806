/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every request by libcurl has in common, whomever it asks.
 */
#ifndef WFS_TRANSPORT_WIRE_CURL_H
#define WFS_TRANSPORT_WIRE_CURL_H

#include <curl/curl.h>
#include <stdatomic.h>

/*
 * HTTP/1.1 in the clear or over TLS, to whom the authorities in `ca_file`
 * (NULL: the system's) know; no other scheme, and no signals.
 */
void wfs_curl_setup(CURL *curl, long connect_ms, const char *ca_file);

/* Transfers end once *stop is set, which outlives them. */
void wfs_curl_stop_by(CURL *curl, const atomic_bool *stop);

#endif
