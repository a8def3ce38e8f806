/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See stream.h.  The socket does not block; waiting is poll(2), which a
 * shutdown(2) by another thread ends, so a frozen seed holds nobody.
 */
#include "transport/remote/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/mem.h"
#include "core/base/text.h"
#include "transport/wire/curl.h"

#define STALL_MS    10000 /* without a byte: given up */
#define GREETING_MS 5000
#define HEAD_MAX    8192 /* bytes of the answer to the upgrade */
#define BODY_MAX    4096 /* and of why not */
#define SLICE_MS    100
#define LOWAT	    (256 << 10) /* bytes worth waking up for */

struct stream {
	CURL *curl;
	struct curl_slist *headers, *connect_to;
	int fd;
	bool tls;
	int lowat; /* SO_RCVLOWAT */
	int patience_ms;
	const atomic_bool *stop; /* looked at until it is open */
};

static int wait_for(const struct stream *s, short events)
{
	struct pollfd fd = { .fd = s->fd, .events = events };
	int left = s->patience_ms, n = 0;

	while (!n && left > 0) {
		int slice = s->stop && left > SLICE_MS ? SLICE_MS : left;

		if (s->stop && atomic_load(s->stop))
			return -ESHUTDOWN;
		n = poll(&fd, 1, slice);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			n = 0;
		left -= slice;
	}
	return n ? 0 : -ETIMEDOUT;
}

/* Some bytes: how many, -EAGAIN, or why not. */
static ssize_t receive_some(struct stream *s, void *to, size_t len)
{
	CURLcode code;
	size_t n = 0;

	if (!s->tls) {
		ssize_t got = recv(s->fd, to, len, MSG_DONTWAIT);

		if (got > 0)
			return got;
		if (!got)
			return -ECONNRESET;
		return errno == EINTR ? -EAGAIN : -errno;
	}
	code = curl_easy_recv(s->curl, to, len, &n);
	if (code == CURLE_AGAIN)
		return -EAGAIN;
	return code == CURLE_OK && n ? (ssize_t)n : -ECONNRESET;
}

static void set_lowat(struct stream *s, int bytes)
{
	if (s->lowat != bytes &&
	    !setsockopt(s->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes)))
		s->lowat = bytes;
}

/*
 * Waits for some of `len` bytes.  A segment is no reason to wake up, or there
 * are 16 of it a chunk; but after a while it is: a slow link is alive.
 */
static int wait_for_bytes(struct stream *s, size_t len)
{
	struct pollfd fd = { .fd = s->fd, .events = POLLIN };

	if (!s->tls && len > 1) {
		set_lowat(s, len < LOWAT ? (int)len : LOWAT);
		if (poll(&fd, 1, SLICE_MS) > 0)
			return 0;
		set_lowat(s, 1);
	}
	return wait_for(s, POLLIN);
}

static int receive(struct stream *s, void *to, size_t len)
{
	uint8_t *at = to;

	while (len) {
		ssize_t n = receive_some(s, at, len);

		if (n == -EAGAIN) {
			int rc = wait_for_bytes(s, len);

			if (rc)
				return rc;
			continue;
		}
		if (n < 0)
			return (int)n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int send_all(struct stream *s, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	while (len) {
		size_t n = 0;
		CURLcode code = curl_easy_send(s->curl, at, len, &n);

		if (code == CURLE_AGAIN) {
			int rc = wait_for(s, POLLOUT);

			if (rc)
				return rc;
			continue;
		}
		if (code != CURLE_OK)
			return -ECONNRESET;
		at += n;
		len -= n;
	}
	return 0;
}

static void stream_close(void *conn)
{
	struct stream *s = conn;

	curl_easy_cleanup(s->curl);
	curl_slist_free_all(s->headers);
	curl_slist_free_all(s->connect_to);
	free(s);
}

static int connect_to_seed(struct stream *s, const struct wfs_link *link,
			   const atomic_bool *stop, struct wfs_err *err)
{
	char why[CURL_ERROR_SIZE] = "";
	curl_socket_t fd = CURL_SOCKET_BAD;
	CURLcode code;

	curl_easy_setopt(s->curl, CURLOPT_URL, link->base);
	curl_easy_setopt(s->curl, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, why);
	wfs_curl_stop_by(s->curl, stop);
	code = curl_easy_perform(s->curl);
	curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, NULL);
	if (code == CURLE_OK)
		curl_easy_getinfo(s->curl, CURLINFO_ACTIVESOCKET, &fd);
	if (fd == CURL_SOCKET_BAD)
		return wfs_err_set(err, -ECONNREFUSED,
				   "seed '%s' cannot be reached: %s",
				   link->label,
				   why[0] ? why : curl_easy_strerror(code));
	s->fd = fd;
	return 0;
}

static int send_upgrade(struct stream *s, const struct wfs_link *link)
{
	struct wfs_text t = { 0 };
	int rc;

	wfs_text_add(&t, "GET /v1/stream HTTP/1.1\r\nHost: %s\r\n",
		     strstr(link->base, "://") + 3);
	for (const struct curl_slist *h = s->headers; h; h = h->next)
		wfs_text_add(&t, "%s\r\n", h->data);
	wfs_text_add(&t, "Connection: Upgrade\r\nUpgrade: " WFS_STREAM_NAME
			 "\r\n\r\n");
	rc = send_all(s, t.data, t.len);
	free(t.data);
	return rc;
}

/* Nothing follows the head of a 101 before we ask, so it can be overread. */
static int read_head(struct stream *s, char *head, size_t *ret_len)
{
	size_t len = 0;

	while (len < HEAD_MAX) {
		ssize_t n = receive_some(s, head + len, HEAD_MAX - len);
		int rc = n == -EAGAIN ? wait_for(s, POLLIN) :
			 n < 0	      ? (int)n :
					0;

		if (rc)
			return rc;
		if (n < 0)
			continue;
		len += (size_t)n;
		head[len] = '\0';
		if (strstr(head, "\r\n\r\n")) {
			*ret_len = len;
			return 0;
		}
	}
	return -EPROTO;
}

/* What it says instead of 101. */
static int refuse(struct stream *s, const struct wfs_link *link, char *head,
		  size_t len, struct wfs_err *err)
{
	char *body = strstr(head, "\r\n\r\n") + 4;
	size_t have = len - (size_t)(body - head);
	char text[BODY_MAX + 1];
	char *sentence wfs_autofree = NULL;
	char *line_end = strstr(head, "\r\n");

	if (have > BODY_MAX)
		have = BODY_MAX;
	memcpy(text, body, have);
	while (have < BODY_MAX && !memchr(text, '}', have)) {
		ssize_t n = receive_some(s, text + have, BODY_MAX - have);

		if (n == -EAGAIN ? wait_for(s, POLLIN) != 0 : n < 0)
			break;
		have += n > 0 ? (size_t)n : 0;
	}
	*line_end = '\0';
	sentence = wfs_http_sentence(text, have);
	return wfs_err_set(err, -EPROTO,
			   "seed '%s' does not serve " WFS_STREAM_NAME ": %s",
			   link->label, sentence ? sentence : head);
}

static int upgrade(struct stream *s, const struct wfs_link *link,
		   struct wfs_err *err)
{
	char head[HEAD_MAX + 1];
	size_t len;
	int rc = send_upgrade(s, link);

	if (!rc)
		rc = read_head(s, head, &len);
	if (rc)
		return wfs_err_set(err, rc, "seed '%s' does not answer: %s",
				   link->label, strerror(-rc));
	if (strncmp(head, "HTTP/1.1 101", 12) != 0)
		return refuse(s, link, head, len, err);
	return 0;
}

static int stream_open(void *peer_ctx, const atomic_bool *stop, void **ret_conn,
		       struct wfs_err *err)
{
	const struct wfs_link *link = peer_ctx;
	struct stream *s = wfs_calloc(1, sizeof(*s));
	int rc;

	s->curl = curl_easy_init();
	s->tls = !strncmp(link->base, "https", 5);
	s->patience_ms = GREETING_MS;
	s->stop = stop;
	if (!s->curl) {
		free(s);
		return wfs_err_set(err, -ENOMEM, "libcurl gives no handle");
	}
	wfs_link_setup(link, s->curl, &s->headers);
	curl_easy_getinfo(s->curl, CURLINFO_PRIVATE, &s->connect_to);
	rc = connect_to_seed(s, link, stop, err);
	if (!rc)
		rc = upgrade(s, link, err);
	if (rc) {
		stream_close(s);
		return rc;
	}
	s->patience_ms = STALL_MS;
	s->stop = NULL;
	*ret_conn = s;
	return 0;
}

static int stream_ask(void *conn, const struct wfs_lane_ask *ask)
{
	struct wfs_wire_request request = {
		.op = WFS_WIRE_READ,
		.tag = ask->tag,
		.len = ask->len,
		.off = ask->off,
	};
	uint8_t bytes[WFS_REQUEST_BYTES];

	memcpy(request.region, ask->id, sizeof(request.region));
	wfs_wire_put_request(&request, bytes);
	return send_all(conn, bytes, sizeof(bytes));
}

static int stream_head(void *conn, struct wfs_wire_answer *ret_answer)
{
	uint8_t bytes[WFS_ANSWER_BYTES];
	int rc = receive(conn, bytes, sizeof(bytes));

	return rc ? rc : wfs_wire_get_answer(bytes, ret_answer);
}

static int stream_body(void *conn, void *to, uint32_t len)
{
	return receive(conn, to, len);
}

static void stream_stop(void *conn)
{
	const struct stream *s = conn;

	shutdown(s->fd, SHUT_RDWR);
}

const struct wfs_lane_ops wfs_stream_ops = {
	.open = stream_open,
	.ask = stream_ask,
	.head = stream_head,
	.body = stream_body,
	.stop = stream_stop,
	.close = stream_close,
};
