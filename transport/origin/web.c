/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See web.h.
 */
#include "transport/origin/web.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "transport/origin/aws.h"
#include "transport/wire/curl.h"

#define CONNECT_MS   10000L
#define STALL_S	     10L /* without a byte: given up */
#define REDIRECTIONS 5L
#define BUFFER	     (256L << 10)
#define PAGE_MAX     (64u << 10)

void wfs_web_escape(struct wfs_text *t, const char *text, bool keep_slashes)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "abcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~";

	for (; *text; text++) {
		if (strchr(plain, *text) || (keep_slashes && *text == '/'))
			wfs_text_add_bytes(t, text, 1);
		else
			wfs_text_add(t, "%%%02X", (unsigned char)*text);
	}
}

char *wfs_web_url(const struct wfs_site *site, const char *path)
{
	struct wfs_text t = { 0 };

	wfs_text_add(&t, "%s", site->base);
	wfs_web_escape(&t, path, true);
	return t.data;
}

static bool parse_number(const char **text, uint64_t *ret)
{
	uint64_t value = 0;
	const char *p = *text;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (value > (UINT64_MAX - 9) / 10)
			return false;
		value = value * 10 + (uint64_t)(*p - '0');
	}
	if (p == *text)
		return false;
	*text = p;
	*ret = value;
	return true;
}

/* "bytes 0-99/1234" */
static void take_range(struct wfs_web_head *head, const char *value)
{
	uint64_t first, last, size;

	if (strncasecmp(value, "bytes ", 6) != 0)
		return;
	value += 6;
	if (!parse_number(&value, &first) || *value++ != '-' ||
	    !parse_number(&value, &last) || *value++ != '/' ||
	    !parse_number(&value, &size) || last < first || last >= size)
		return;
	head->first = first;
	head->size = size;
	head->has_size = true;
}

static void take_text(char to[WFS_WEB_TAG_MAX], const char *value)
{
	if (strlen(value) < WFS_WEB_TAG_MAX)
		strcpy(to, value);
}

static void take_line(struct wfs_web_head *head, char *line)
{
	char *value = strchr(line, ':');
	uint64_t length;

	if (!value)
		return;
	*value++ = '\0';
	value += strspn(value, " \t");
	if (!strcasecmp(line, "etag"))
		take_text(head->etag, value);
	else if (!strcasecmp(line, "last-modified"))
		take_text(head->modified, value);
	else if (!strcasecmp(line, "x-amz-bucket-region") &&
		 strlen(value) < sizeof(head->region))
		strcpy(head->region, value);
	else if (!strcasecmp(line, "content-range"))
		take_range(head, value);
	else if (!strcasecmp(line, "content-type"))
		head->is_html = !strncasecmp(value, "text/html", 9);
	else if (!strcasecmp(line, "content-length") && !head->has_size) {
		const char *text = value;

		if (head->status != 206 && parse_number(&text, &length)) {
			head->size = length;
			head->has_size = true;
		}
	}
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
	struct wfs_web_head *head = ctx;
	size_t len = size * count;
	char line[1024];

	if (len >= sizeof(line))
		return len; /* none that we look for is that long */
	memcpy(line, data, len);
	while (len && (line[len - 1] == '\r' || line[len - 1] == '\n'))
		len--;
	line[len] = '\0';
	if (!strncmp(line, "HTTP/", 5)) {
		const char *status = strchr(line, ' ');

		/* Of several answers the last one counts. */
		*head = (struct wfs_web_head){
			.status = status ? strtol(status, NULL, 10) : 0
		};
	} else {
		take_line(head, line);
	}
	return size * count;
}

void wfs_web_setup(const struct wfs_site *site, CURL *curl,
		   struct wfs_web_head *head)
{
	/* What was promised safe must not go on in the open. */
	const char *schemes = site->base && !strncmp(site->base, "https", 5) ?
				      "https" :
				      "http,https";

	wfs_curl_setup(curl, CONNECT_MS, site->ca_file);
	wfs_curl_stop_by(curl, site->stop);
	curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, schemes);
	/* A signature is for one host. */
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, site->aws ? 0L : 1L);
	curl_easy_setopt(curl, CURLOPT_MAXREDIRS, REDIRECTIONS);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_S);
	curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, BUFFER);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "weightfs/" WFS_VERSION);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, head);
	if (site->token && !site->aws) { /* libcurl keeps it from other hosts */
		curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
		curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, site->token);
	}
}

int wfs_web_sign(const struct wfs_site *site, CURL *curl,
		 struct curl_slist **headers, struct wfs_err *err)
{
	int rc = site->aws ? wfs_aws_sign(site->aws, curl, headers, err) : 0;

	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *headers);
	return rc;
}

int wfs_web_code(CURLcode code)
{
	switch ((int)code) {
	case CURLE_OK:
		return 0;
	case CURLE_ABORTED_BY_CALLBACK:
		return -ESHUTDOWN;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
		return -ECONNREFUSED;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
		return -EACCES;
	default:
		return -ECONNRESET;
	}
}

struct body {
	struct wfs_text text;
	size_t limit;
	const struct wfs_web_head *head;
	bool full;
};

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct body *body = ctx;
	size_t len = size * count;

	if (body->head->status >= 300) { /* a page that says why not */
		if (body->text.len < PAGE_MAX)
			wfs_text_add_bytes(&body->text, data, len);
		return len;
	}
	if (len > body->limit - body->text.len) {
		body->full = true;
		return 0;
	}
	wfs_text_add_bytes(&body->text, data, len);
	return len;
}

static void set_request(CURL *curl, const struct wfs_web_request *request)
{
	curl_easy_setopt(curl, CURLOPT_URL, request->url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
	curl_easy_setopt(curl, CURLOPT_RANGE, request->range);
	curl_easy_setopt(curl, CURLOPT_NOBODY, request->limit ? 0L : 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, request->ms);
	if (request->direct) {
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
		curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	}
}

int wfs_web_ask(const struct wfs_site *site, CURL *curl,
		const struct wfs_web_request *request,
		struct wfs_web_head *ret_head, char **ret_body, size_t *ret_len,
		struct wfs_err *err)
{
	static const char zeros[WFS_JSON_PADDING];
	char why[CURL_ERROR_SIZE] = "";
	struct body body = { .limit = request->limit, .head = ret_head };
	struct curl_slist *headers = request->headers;
	CURLcode code;
	int rc;

	*ret_head = (struct wfs_web_head){ 0 };
	curl_easy_reset(curl);
	wfs_web_setup(site, curl, ret_head);
	set_request(curl, request);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
	rc = wfs_web_sign(site, curl, &headers, err);
	code = rc ? CURLE_OK : curl_easy_perform(curl);
	curl_easy_reset(curl);
	if (!request->headers)
		curl_slist_free_all(headers);
	if (code != CURLE_OK)
		rc = wfs_err_set(err, body.full ? -EFBIG : wfs_web_code(code),
				 "cannot read '%s': %s", request->url,
				 body.full ? "it is too large" :
				 why[0]	   ? why :
					     curl_easy_strerror(code));
	if (rc) {
		free(body.text.data);
		return rc;
	}
	if (request->limit) {
		*ret_len = body.text.len;
		wfs_text_add_bytes(&body.text, zeros, sizeof(zeros));
		*ret_body = body.text.data;
	}
	return 0;
}

int wfs_web_get(const struct wfs_site *site, CURL *curl, const char *path,
		size_t limit, struct wfs_web_head *ret_head, char **ret_body,
		size_t *ret_len, struct wfs_err *err)
{
	char *url wfs_autofree = wfs_web_url(site, path);
	struct wfs_web_request request = { .url = url, .limit = limit };

	return wfs_web_ask(site, curl, &request, ret_head, ret_body, ret_len,
			   err);
}
