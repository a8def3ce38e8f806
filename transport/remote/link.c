/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control requests to a seed, on libcurl.
 */
#include "transport/remote/link.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "transport/wire/curl.h"
#include "transport/wire/frame.h"

#define CONNECT_MS   3000L
#define MODEL_PATH   "/v1/models/"
#define SENTENCE_MAX 300

/* The end of the host part, which may be an IPv6 address in brackets. */
static const char *host_end(const char *host)
{
	const char *end = host;

	if (*host == '[')
		end = strchr(host, ']');
	return end ? end + strcspn(end, ":/") : NULL;
}

static int parse_port(const char **text, uint16_t *ret_port)
{
	unsigned port = 0;
	const char *p = *text;

	while (isdigit((unsigned char)*p) && port <= UINT16_MAX)
		port = port * 10 + (unsigned)(*p++ - '0');
	if (p == *text || !port || port > UINT16_MAX)
		return -EINVAL;
	*ret_port = (uint16_t)port;
	*text = p;
	return 0;
}

static int parse_model(const char *path, char **ret_model)
{
	if (!*path || !strcmp(path, "/"))
		return 0;
	if (strncmp(path, MODEL_PATH, strlen(MODEL_PATH)) != 0)
		return -EINVAL;
	path += strlen(MODEL_PATH);
	if (!*path || strpbrk(path, "/?#%"))
		return -EINVAL;
	*ret_model = wfs_strdup(path);
	return 0;
}

int wfs_url_parse(const char *text, struct wfs_url *ret, struct wfs_err *err)
{
	bool tls = !strncmp(text, "https://", 8);
	const char *host = text + (tls ? 8 : 7), *end;
	struct wfs_url url = { .port = WFS_DEFAULT_PORT };
	int rc = !tls && strncmp(text, "http://", 7) != 0 ? -EINVAL : 0;

	end = rc ? NULL : host_end(host);
	if (!end || end == host || memchr(host, '@', (size_t)(end - host)))
		rc = -EINVAL;
	if (!rc) {
		const char *rest = end;

		if (*rest == ':') {
			rest++;
			rc = parse_port(&rest, &url.port);
		}
		if (!rc)
			rc = parse_model(rest, &url.model);
	}
	if (rc)
		return wfs_err_set(err, -EINVAL,
				   "'%.200s' is not the URL of a seed, such as "
				   "http://host:7420 or "
				   "https://host/v1/models/NAME",
				   text);
	url.base = wfs_asprintf("%s://%.*s:%u", tls ? "https" : "http",
				(int)(end - host), host, url.port);
	if (*host == '[') { /* look-ups want it without */
		host++;
		end--;
	}
	url.host = wfs_asprintf("%.*s", (int)(end - host), host);
	*ret = url;
	return 0;
}

void wfs_url_clear(struct wfs_url *url)
{
	free(url->base);
	free(url->host);
	free(url->model);
	*url = (struct wfs_url){ 0 };
}

struct wfs_link *wfs_link_new(const struct wfs_url *url, const char *address,
			      const struct wfs_security *security)
{
	struct wfs_link *link = wfs_calloc(1, sizeof(*link));
	bool v6 = strchr(address, ':');

	link->base = wfs_strdup(url->base);
	link->address = wfs_asprintf(v6 ? "[%s]" : "%s", address);
	link->security = security;
	if (!strcmp(url->host, address))
		link->label = wfs_strdup(url->base);
	else
		link->label = wfs_asprintf("%s (%s)", url->base, address);
	return link;
}

void wfs_link_free(struct wfs_link *link)
{
	if (!link)
		return;
	free(link->base);
	free(link->label);
	free(link->address);
	free(link);
}

static void set_text(CURL *curl, CURLoption option, const char *text)
{
	if (text)
		curl_easy_setopt(curl, option, text);
}

void wfs_link_setup(const struct wfs_link *link, CURL *curl,
		    struct curl_slist **headers)
{
	const struct wfs_security *s = link->security;
	char *to wfs_autofree = wfs_asprintf("::%s:", link->address);
	struct curl_slist *connect_to = curl_slist_append(NULL, to);
	char *line wfs_autofree = NULL;

	wfs_curl_setup(curl, CONNECT_MS, s->ca_file);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
	/* The name stands in Host: and in the certificate, not in a look-up. */
	curl_easy_setopt(curl, CURLOPT_CONNECT_TO, connect_to);
	set_text(curl, CURLOPT_SSLCERT, s->cert_file);
	set_text(curl, CURLOPT_SSLKEY, s->key_file);
	/* libcurl does not copy lists: both live as long as `headers`. */
	curl_easy_setopt(curl, CURLOPT_PRIVATE, connect_to);
	line = wfs_asprintf("Weightfs-Protocol: %d", WFS_PROTOCOL);
	*headers = curl_slist_append(*headers, line);
	if (s->token) {
		char *bearer wfs_autofree =
			wfs_asprintf("Authorization: Bearer %s", s->token);

		*headers = curl_slist_append(*headers, bearer);
	}
}

struct body {
	char *data;
	size_t len, cap, limit;
	bool too_long;
};

static size_t take_body(char *bytes, size_t size, size_t n, void *ctx)
{
	struct body *body = ctx;
	size_t len = size * n;

	if (len > body->limit - body->len) {
		body->too_long = true;
		return 0;
	}
	if (body->len + len + WFS_JSON_PADDING > body->cap) {
		body->cap = 2 * (body->len + len) + WFS_JSON_PADDING;
		body->data = wfs_realloc(body->data, body->cap);
	}
	memcpy(body->data + body->len, bytes, len);
	body->len += len;
	return len;
}

static size_t take_header(char *line, size_t size, size_t n, void *ctx)
{
	struct wfs_http *http = ctx;
	size_t len = size * n, at = 5;

	if (len < at || strncasecmp(line, "etag:", at) != 0)
		return len;
	while (at < len && line[at] == ' ')
		at++;
	len -= at;
	while (len &&
	       (line[at + len - 1] == '\r' || line[at + len - 1] == '\n'))
		len--;
	if (len < sizeof(http->etag)) {
		memcpy(http->etag, line + at, len);
		http->etag[len] = '\0';
	}
	return size * n;
}

char *wfs_http_sentence(const char *body, size_t len)
{
	char *text wfs_autofree = wfs_malloc(len + WFS_JSON_PADDING);
	char *sentence = NULL;
	yyjson_doc *doc;
	const char *found;

	memcpy(text, body, len);
	if (wfs_json_parse(text, len, "error", &doc, NULL))
		return NULL;
	found = yyjson_get_str(
		yyjson_obj_get(yyjson_doc_get_root(doc), "error"));
	if (found)
		sentence = wfs_asprintf("%.*s", SENTENCE_MAX, found);
	yyjson_doc_free(doc);
	return sentence;
}

static int code_of(long status)
{
	switch (status) {
	case 401:
	case 403:
		return -EACCES;
	case 404:
		return -ENOENT;
	case 410:
		return -ESTALE;
	case 426:
		return -EPROTONOSUPPORT;
	case 429:
	case 503:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

static int check_status(const struct wfs_link *link, const struct wfs_get *get,
			const struct wfs_http *http, struct wfs_err *err)
{
	char *sentence wfs_autofree = NULL;

	if (http->status >= 200 && http->status < 400)
		return 0;
	if (http->body)
		sentence = wfs_http_sentence(http->body, http->len);
	if (http->status == 426)
		return wfs_err_set(err, -EPROTONOSUPPORT,
				   "seed '%s' does not speak protocol %d: %s",
				   link->label, WFS_PROTOCOL,
				   sentence ? sentence : "it does not say why");
	return wfs_err_set(err, code_of(http->status),
			   "seed '%s' answered %ld to %s%s%s", link->label,
			   http->status, get->path, sentence ? ": " : "",
			   sentence ? sentence : "");
}

static int perform(const struct wfs_link *link, CURL *curl,
		   const struct wfs_get *get, struct body *body,
		   struct wfs_err *err)
{
	char why[CURL_ERROR_SIZE] = "";
	CURLcode code;

	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	code = curl_easy_perform(curl);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
	if (code == CURLE_OK)
		return 0;
	if (body->too_long)
		return wfs_err_set(err, -EFBIG,
				   "seed '%s' sent more than %zu bytes for %s",
				   link->label, get->limit, get->path);
	return wfs_err_set(err,
			   code == CURLE_OPERATION_TIMEDOUT ? -ETIMEDOUT : -EIO,
			   "seed '%s' cannot be reached: %s", link->label,
			   why[0] ? why : curl_easy_strerror(code));
}

int wfs_http_get(const struct wfs_link *link, CURL *curl,
		 const struct wfs_get *get, struct wfs_http *ret,
		 struct wfs_err *err)
{
	char *url wfs_autofree = wfs_asprintf("%s%s", link->base, get->path);
	struct body body = { .limit = get->limit };
	struct curl_slist *headers = NULL, *connect_to = NULL;
	struct wfs_http http = { 0 };
	int rc;

	curl_easy_reset(curl);
	wfs_link_setup(link, curl, &headers);
	curl_easy_getinfo(curl, CURLINFO_PRIVATE, &connect_to);
	if (get->etag && get->etag[0]) {
		char *line wfs_autofree =
			wfs_asprintf("If-None-Match: %s", get->etag);

		headers = curl_slist_append(headers, line);
	}
	if (get->range) {
		char *line wfs_autofree =
			wfs_asprintf("Range: bytes=0-%llu",
				     (unsigned long long)get->range - 1);

		headers = curl_slist_append(headers, line);
	}
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, get->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, &http);
	wfs_curl_stop_by(curl, get->stop);
	rc = perform(link, curl, get, &body, err);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http.status);
	curl_slist_free_all(headers);
	curl_easy_setopt(curl, CURLOPT_CONNECT_TO, NULL);
	curl_slist_free_all(connect_to);
	http.body = body.data;
	http.len = body.len;
	if (!rc)
		rc = check_status(link, get, &http, err);
	if (rc)
		wfs_http_clear(&http);
	else
		*ret = http;
	return rc;
}

void wfs_http_clear(struct wfs_http *http)
{
	free(http->body);
	*http = (struct wfs_http){ 0 };
}
