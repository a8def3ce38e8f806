/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks over one connection to a web server.
 *
 * A transfer is paused as soon as its head is there, until the lane says
 * where the bytes go, so that they are copied once, by libcurl.  Where the
 * server ignores ranges, its answer is the whole file: it is kept open and
 * read on for the next chunk, so that a file read in order is fetched once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "transport/origin/inner.h"
#include "transport/origin/s3.h"

#define ASKS	 2
#define POLL_MS	 1000
#define NOBODY	 SIZE_MAX /* no file */
#define PAGE_MAX 2048	  /* of a page that says why not */

struct conn {
	struct origin *origin;
	CURLM *multi;
	CURL *easy;
	struct curl_slist *pins; /* and what signs them */
	atomic_bool stop;
	struct wfs_lane_ask asks[ASKS];
	unsigned asked;
	char text[WFS_WIRE_TEXT_MAX]; /* why not, when `to` is for that */
	char page[PAGE_MAX];
	size_t page_len;
	/* The transfer that is open. */
	size_t file; /* NOBODY: none */
	struct wfs_web_head head;
	bool answered, ended;
	CURLcode code;
	uint64_t at;   /* in the file: the next byte that comes */
	uint64_t skip; /* so many of them are not wanted */
	uint8_t *to;
	size_t want;
	char *spare; /* came with the last bytes wanted */
	size_t spare_at, spare_len;
};

void wfs_origin_id(size_t index, uint8_t ret_id[WFS_WIRE_ID_BYTES])
{
	uint64_t value = index;

	memset(ret_id, 0, WFS_WIRE_ID_BYTES);
	memcpy(ret_id, &value, sizeof(value));
}

size_t wfs_origin_index(const uint8_t id[WFS_WIRE_ID_BYTES])
{
	uint64_t value;

	memcpy(&value, id, sizeof(value));
	return value;
}

/* Uses up to `len` bytes; how many. */
static size_t take(struct conn *c, const char *data, size_t len)
{
	size_t used = 0, n = c->skip < len ? (size_t)c->skip : len;

	c->skip -= n;
	used += n;
	n = len - used < c->want ? len - used : c->want;
	if (n) {
		memcpy(c->to, data + used, n);
		c->to += n;
		c->want -= n;
		used += n;
	}
	c->at += used;
	return used;
}

/* The beginning of a page that says why not. */
static void keep_page(struct conn *c, const char *data, size_t len)
{
	if (len > PAGE_MAX - c->page_len)
		len = PAGE_MAX - c->page_len;
	memcpy(c->page + c->page_len, data, len);
	c->page_len += len;
}

static size_t on_data(char *data, size_t size, size_t count, void *ctx)
{
	struct conn *c = ctx;
	size_t len = size * count, used;

	c->answered = true;
	if (c->head.status != 200 && c->head.status != 206) {
		keep_page(c, data, len);
		return len;
	}
	if (!c->want && !c->skip)
		return CURL_WRITEFUNC_PAUSE;
	used = take(c, data, len);
	if (used == len)
		return len;
	if (c->head.status == 206)
		return 0; /* more than was asked for */
	/* Paused data would come whole again, so the rest is kept. */
	c->spare = wfs_realloc(c->spare, len - used);
	memcpy(c->spare, data + used, len - used);
	c->spare_at = 0;
	c->spare_len = len - used;
	return len;
}

static void end_transfer(struct conn *c)
{
	if (c->file == NOBODY)
		return;
	curl_multi_remove_handle(c->multi, c->easy);
	curl_slist_free_all(c->pins);
	c->pins = NULL;
	c->file = NOBODY;
	c->spare_len = 0;
}

/* Until the head is there, or `want` bytes are, or the transfer has ended. */
static int drive(struct conn *c, bool to_the_end)
{
	while (!c->ended) {
		const CURLMsg *message;
		int running, left;

		if (atomic_load(&c->stop))
			return -ESHUTDOWN;
		if (curl_multi_perform(c->multi, &running) != CURLM_OK)
			return -EIO;
		while ((message = curl_multi_info_read(c->multi, &left))) {
			if (message->msg == CURLMSG_DONE) {
				c->ended = c->answered = true;
				c->code = message->data.result;
			}
		}
		if (c->ended ||
		    (!to_the_end && c->answered && !c->want && !c->skip))
			break;
		curl_multi_poll(c->multi, NULL, 0, POLL_MS, NULL);
	}
	return 0;
}

static void pin(struct conn *c, const struct wfs_web_file *file)
{
	char *line wfs_autofree = NULL;

	if (file->etag[0])
		line = wfs_asprintf("If-Match: %s", file->etag);
	else if (file->modified[0])
		line = wfs_asprintf("If-Unmodified-Since: %s", file->modified);
	if (line)
		c->pins = curl_slist_append(NULL, line);
}

/* Opens a transfer that begins with the chunk; returns with its head. */
static int begin(struct conn *c, const struct wfs_lane_ask *ask)
{
	size_t index = wfs_origin_index(ask->id);
	const struct wfs_web_file *file = &c->origin->listing.files[index];
	char *url wfs_autofree = wfs_web_url(&c->origin->site, file->path);
	struct wfs_err err = { 0 };
	char range[64];
	int rc;

	end_transfer(c);
	curl_easy_reset(c->easy);
	wfs_web_setup(&c->origin->site, c->easy, &c->head);
	pin(c, file);
	snprintf(range, sizeof(range), "%llu-%llu",
		 (unsigned long long)ask->off,
		 (unsigned long long)(ask->off + ask->len - 1));
	curl_easy_setopt(c->easy, CURLOPT_URL, url);
	if (!c->origin->listing.no_ranges)
		curl_easy_setopt(c->easy, CURLOPT_RANGE, range);
	curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
	c->head = (struct wfs_web_head){ 0 };
	c->answered = c->ended = false;
	c->code = CURLE_OK;
	c->skip = c->want = c->page_len = 0;
	rc = wfs_web_sign(&c->origin->site, c->easy, &c->pins, &err);
	if (rc) {
		wfs_origin_tell(c->origin->origins, "model '%s': %s",
				c->origin->site.label, err.text);
		curl_slist_free_all(c->pins);
		c->pins = NULL;
		return rc;
	}
	if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK)
		return -ENOMEM;
	c->file = index;
	rc = drive(c, false);
	if (!rc && c->head.status != 200 && c->head.status != 206)
		rc = drive(c, true);
	if (!rc && c->ended && c->code != CURLE_OK)
		rc = wfs_web_code(c->code);
	c->at = c->head.status == 206 ? c->head.first : 0;
	return rc;
}

/* Is it the file that was listed? */
static bool is_the_same(const struct wfs_web_file *file,
			const struct wfs_web_head *head)
{
	if (head->has_size && head->size != file->size)
		return false;
	if (file->etag[0] && head->etag[0])
		return !strcmp(file->etag, head->etag);
	return !file->modified[0] || !head->modified[0] ||
	       !strcmp(file->modified, head->modified);
}

static enum wfs_wire_status judge(struct conn *c,
				  const struct wfs_lane_ask *ask)
{
	const struct wfs_web_file *file = &c->origin->listing.files[c->file];
	long status = c->head.status;

	if (status == 412 || status == 404 || status == 410 || status == 416)
		return WFS_WIRE_STALE;
	if (status == 429 || status == 503)
		return WFS_WIRE_BUSY;
	if (status != 200 && status != 206)
		return WFS_WIRE_IO;
	if (!is_the_same(file, &c->head))
		return WFS_WIRE_STALE;
	/* A range that says nothing of where it is may be any. */
	if (status == 206 && (!c->head.has_size || c->at != ask->off))
		return WFS_WIRE_IO;
	return WFS_WIRE_OK;
}

/* Into c->text, and to the log where somebody has to do something. */
static void refuse(struct conn *c, enum wfs_wire_status status)
{
	const struct origin *o = c->origin;
	const char *path = o->listing.files[c->file].path;
	bool stale = status == WFS_WIRE_STALE;
	struct wfs_err err = { 0 };

	if (o->site.aws && c->head.status >= 300 && c->head.status != 412)
		wfs_s3_explain(&o->site, path, &c->head, c->page, c->page_len,
			       &err);
	else
		wfs_err_set(&err, -EIO, "'%s%s': the server answers %ld%s",
			    o->site.label, path, c->head.status,
			    stale ? ": the file is another now" : "");
	snprintf(c->text, sizeof(c->text), "%.*s", WFS_WIRE_TEXT_MAX - 1,
		 err.text);
	if (status == WFS_WIRE_IO)
		wfs_origin_tell(o->origins, "%s", err.text);
}

static int lane_open(void *peer_ctx, const atomic_bool *stop, void **ret_conn,
		     struct wfs_err *err)
{
	struct conn *c = wfs_calloc(1, sizeof(*c));

	(void)stop;
	c->origin = peer_ctx;
	c->file = NOBODY;
	c->multi = curl_multi_init();
	c->easy = curl_easy_init();
	if (!c->multi || !c->easy) {
		curl_easy_cleanup(c->easy);
		curl_multi_cleanup(c->multi);
		free(c);
		return wfs_err_set(err, -ENOMEM, "libcurl gives no handle");
	}
	*ret_conn = c;
	return 0;
}

static int lane_ask(void *conn, const struct wfs_lane_ask *ask)
{
	struct conn *c = conn;

	if (c->asked == ASKS)
		return -EINVAL;
	c->asks[c->asked++] = *ask;
	return 0;
}

static int lane_head(void *conn, struct wfs_wire_answer *ret_answer)
{
	struct conn *c = conn;
	const struct wfs_lane_ask ask = c->asks[0];
	struct wfs_wire_answer answer = { .tag = ask.tag };
	bool goes_on = c->file == wfs_origin_index(ask.id) &&
		       c->head.status == 200 && c->at <= ask.off &&
		       (!c->ended || c->spare_len > c->spare_at);
	int rc = goes_on ? 0 : begin(c, &ask);

	if (rc)
		return rc;
	c->asked--;
	memmove(&c->asks[0], &c->asks[1], c->asked * sizeof(c->asks[0]));
	answer.status = goes_on ? WFS_WIRE_OK : judge(c, &ask);
	answer.len = ask.len;
	if (answer.status != WFS_WIRE_OK) {
		refuse(c, answer.status);
		answer.len = (uint32_t)strlen(c->text);
		end_transfer(c);
	} else {
		c->skip = ask.off - c->at;
	}
	*ret_answer = answer;
	return 0;
}

static int lane_body(void *conn, void *to, uint32_t len)
{
	struct conn *c = conn;
	int rc;

	if (c->file == NOBODY) { /* after a refusal */
		memcpy(to, c->text, len);
		return 0;
	}
	c->to = to;
	c->want = len;
	if (c->spare_len > c->spare_at)
		c->spare_at += take(c, c->spare + c->spare_at,
				    c->spare_len - c->spare_at);
	if (!c->ended && (c->want || c->skip))
		curl_easy_pause(c->easy, CURLPAUSE_CONT);
	/* To the end of a range, so that its connection is free again. */
	rc = drive(c, c->head.status == 206);
	if (!rc && c->want)
		rc = c->code == CURLE_OK ? -ECONNRESET : wfs_web_code(c->code);
	if (rc || c->head.status == 206)
		end_transfer(c);
	return rc;
}

static void lane_stop(void *conn)
{
	struct conn *c = conn;

	atomic_store(&c->stop, true);
	curl_multi_wakeup(c->multi);
}

static void lane_close(void *conn)
{
	struct conn *c = conn;

	end_transfer(c);
	curl_easy_cleanup(c->easy);
	curl_multi_cleanup(c->multi);
	free(c->spare);
	free(c);
}

const struct wfs_lane_ops wfs_origin_lane_ops = {
	.bare = true,
	.open = lane_open,
	.ask = lane_ask,
	.head = lane_head,
	.body = lane_body,
	.stop = lane_stop,
	.close = lane_close,
};
