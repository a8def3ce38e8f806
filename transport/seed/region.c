/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/regions/ID and its digests.
 *
 * A range that lies behind one descriptor, with no cap on the rate, is left
 * to libmicrohttpd, which uses sendfile.  All others are read a piece at a
 * time, each one checked and paid for.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/hex.h"
#include "transport/seed/inner.h"

#define PIECE_BYTES 65536

/* A body that is read a piece at a time. */
struct body {
	struct wfs_seed *seed;
	struct wfs_stock_model *model; /* a reference */
	struct wfs_stock_file *file;
	uint64_t off;
};

static ssize_t read_body(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct body *body = cls;
	struct wfs_stretch stretch;
	size_t n = 0;
	int rc;

	max = wfs_rate_piece(body->seed->rate, max);
	wfs_turn_take(&body->seed->turns);
	rc = wfs_stock_take(body->model, body->file, body->off + pos, max,
			    &stretch);
	if (!rc) {
		n = stretch.len;
		rc = wfs_stretch_read(&stretch, buf);
		wfs_stretch_release(&stretch);
	}
	wfs_turn_give(&body->seed->turns);
	/* After the reading: what was read before a change is right. */
	if (rc || wfs_region_check(body->file->region) ||
	    wfs_rate_take(body->seed->rate, n))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	atomic_fetch_add(&body->seed->sent, n);
	return (ssize_t)n;
}

static void free_body(void *cls)
{
	struct body *body = cls;

	wfs_stock_put(body->model);
	free(body);
}

static struct MHD_Response *piecewise(struct wfs_ask *ask,
				      const struct wfs_range *range)
{
	struct body *body = wfs_malloc(sizeof(*body));
	struct MHD_Response *response;

	*body = (struct body){ ask->seed, ask->model, ask->file, range->off };
	atomic_fetch_add(&ask->model->refs, 1);
	ask->counted = true;
	response = MHD_create_response_from_callback(
		range->len, PIECE_BYTES, read_body, body, free_body);
	if (!response)
		free_body(body);
	return response;
}

static struct MHD_Response *make_body(struct wfs_ask *ask,
				      const struct wfs_range *range)
{
	int fd = wfs_region_descriptor(ask->file->region);
	struct MHD_Response *response;

	if (range->len == 0)
		return MHD_create_response_from_buffer(0, NULL,
						       MHD_RESPMEM_PERSISTENT);
	if (fd < 0 || ask->seed->capped)
		return piecewise(ask, range);
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return NULL;
	response = MHD_create_response_from_fd_at_offset64(range->len, fd,
							   range->off);
	if (!response)
		close(fd);
	return response;
}

bool wfs_ask_region(struct wfs_ask *ask, const char *id,
		    enum MHD_Result *ret_result)
{
	uint8_t bytes[WFS_WIRE_ID_BYTES];
	int rc;

	if (wfs_hex_parse(id, strlen(id), bytes, sizeof(bytes))) {
		*ret_result = wfs_ask_refuse(ask, MHD_HTTP_NOT_FOUND,
					     "'%s' is no id of a region", id);
		return false;
	}
	rc = wfs_stock_region(ask->seed->stock, bytes, &ask->model, &ask->file);
	if (rc == 0)
		return true;
	if (rc == -ESTALE)
		atomic_fetch_add(&ask->seed->stale, 1);
	*ret_result = rc == -ESTALE ?
			      wfs_ask_refuse(ask, MHD_HTTP_GONE,
					     "the file behind region '%s' was "
					     "rewritten or replaced",
					     id) :
			      wfs_ask_refuse(ask, MHD_HTTP_NOT_FOUND,
					     "there is no region '%s' here",
					     id);
	return false;
}

static void add_etag(struct MHD_Response *response, const char *id)
{
	char quoted[WFS_NAME_BYTES + 2];

	snprintf(quoted, sizeof(quoted), "\"%s\"", id);
	MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, quoted);
}

static enum MHD_Result unsatisfiable(struct wfs_ask *ask, int rc)
{
	const struct wfs_region *region = ask->file->region;

	if (rc == -EINVAL)
		return wfs_ask_refuse(ask, MHD_HTTP_BAD_REQUEST,
				      "that is no range of bytes, such as "
				      "bytes=0-1048575");
	if (rc == -E2BIG)
		return wfs_ask_refuse(ask, MHD_HTTP_RANGE_NOT_SATISFIABLE,
				      "one range at a time");
	return wfs_ask_refuse(ask, MHD_HTTP_RANGE_NOT_SATISFIABLE,
			      "the region has %" PRIu64 " bytes", region->size);
}

/* The range asked for, or all of it: 0, or what wfs_range_parse says. */
static int find_range(const struct wfs_ask *ask, const char *id,
		      struct wfs_range *ret_range, bool *ret_part)
{
	const char *text = wfs_ask_header(ask, MHD_HTTP_HEADER_RANGE);
	const char *only_if = wfs_ask_header(ask, MHD_HTTP_HEADER_IF_RANGE);
	uint64_t size = ask->file->region->size;
	int rc;

	*ret_part = false;
	*ret_range = (struct wfs_range){ 0, size };
	/* If-Range names one tag, and "*" is none. */
	if (!text || (only_if && (only_if[0] == '*' ||
				  !wfs_etag_listed(only_if, id, false))))
		return 0;
	rc = wfs_range_parse(text, size, ret_range);
	*ret_part = rc == 0;
	return rc == -ENOENT ? 0 : rc;
}

static enum MHD_Result send_range(struct wfs_ask *ask, const char *id,
				  const struct wfs_range *range, bool part)
{
	uint64_t size = ask->file->region->size;
	struct MHD_Response *response = make_body(ask, range);
	char text[80];

	if (!response)
		return wfs_ask_refuse(ask, MHD_HTTP_SERVICE_UNAVAILABLE,
				      "no descriptor or memory is left");
	add_etag(response, id);
	MHD_add_response_header(response, MHD_HTTP_HEADER_ACCEPT_RANGES,
				"bytes");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				"application/octet-stream");
	if (part) {
		snprintf(text, sizeof(text),
			 "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range->off,
			 range->off + range->len - 1, size);
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_RANGE,
					text);
	}
	if (!ask->head)
		ask->announced = range->len;
	wfs_client_sends(&ask->seed->clients, ask->client, ask->file->region);
	return wfs_ask_send(ask, part ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK,
			    response);
}

enum MHD_Result wfs_seed_region(struct wfs_ask *ask, const char *name)
{
	const char *only_if = wfs_ask_header(ask, MHD_HTTP_HEADER_IF_MATCH);
	const char *held = wfs_ask_header(ask, MHD_HTTP_HEADER_IF_NONE_MATCH);
	char id[2 * WFS_WIRE_ID_BYTES + 1];
	struct wfs_range range;
	enum MHD_Result result;
	bool part;
	int rc;

	if (!wfs_ask_region(ask, name, &result))
		return result;
	wfs_hex_format(ask->file->id, WFS_WIRE_ID_BYTES, id);
	if (only_if && !wfs_etag_listed(only_if, id, false))
		return wfs_ask_refuse(ask, MHD_HTTP_PRECONDITION_FAILED,
				      "the region is another: \"%s\"", id);
	if (held && wfs_etag_listed(held, id, true)) {
		struct wfs_text nothing = { 0 };

		return wfs_ask_answer(ask, "application/octet-stream", &nothing,
				      id);
	}
	rc = find_range(ask, id, &range, &part);
	if (rc)
		return unsatisfiable(ask, rc);
	if (range.len &&
	    !wfs_stock_holds(ask->model, ask->file, range.off, range.len))
		return wfs_ask_refuse(ask, MHD_HTTP_SERVICE_UNAVAILABLE,
				      "not all of that is held here");
	return send_range(ask, id, &range, part);
}

static bool list_known(struct wfs_ask *ask, void *ctx)
{
	enum wfs_digest_algorithm *algorithm = ctx;
	struct wfs_known_digests known;
	struct wfs_page *page;

	if (wfs_stock_digests(ask->model, ask->file, *algorithm, &known) &&
	    known.list)
		return true;
	/* What comes from elsewhere is not for us to compute. */
	page = wfs_stock_page(ask->model, ask->file);
	return page && wfs_page_list(page, *algorithm, true);
}

static enum MHD_Result not_yet(struct wfs_ask *ask)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		0, NULL, MHD_RESPMEM_PERSISTENT);

	if (response)
		MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER,
					"1");
	return wfs_ask_send(ask, MHD_HTTP_ACCEPTED, response);
}

enum MHD_Result wfs_seed_digests(struct wfs_ask *ask, const char *name)
{
	const char *wait = wfs_ask_query(ask, "wait");
	const char *kind = wfs_ask_query(ask, "algorithm");
	enum wfs_digest_algorithm algorithm = WFS_XXH3_128;
	struct wfs_known_digests known;
	struct wfs_text text = { 0 };
	uint8_t head[WFS_DIGESTS_HEAD];
	enum MHD_Result result;
	uint64_t ns = 0;

	if (kind && strcmp(kind, "sha256") == 0)
		algorithm = WFS_SHA256;
	else if (kind && strcmp(kind, "xxh3") != 0)
		return wfs_ask_refuse(ask, MHD_HTTP_BAD_REQUEST,
				      "algorithm='%s' is neither xxh3 nor "
				      "sha256",
				      kind);
	if (wait && wfs_wait_parse(wait, &ns))
		return wfs_ask_refuse(ask, MHD_HTTP_BAD_REQUEST,
				      "wait='%s' is not a number of seconds, "
				      "0 to %d",
				      wait, WFS_WAIT_MAX_S);
	if (!wfs_ask_region(ask, name, &result))
		return result;
	if (!wfs_stock_page(ask->model, ask->file) &&
	    !wfs_stock_digests(ask->model, ask->file, algorithm, &known))
		return wfs_ask_refuse(ask, MHD_HTTP_SERVICE_UNAVAILABLE,
				      "the digests of this region cannot be "
				      "had");
	if (!wfs_ask_wait(ask, ns, list_known, &algorithm))
		return not_yet(ask);
	if (!wfs_stock_digests(ask->model, ask->file, algorithm, &known) ||
	    !known.list)
		return not_yet(ask);
	wfs_digests_head(known.list, head);
	wfs_text_add_bytes(&text, head, sizeof(head));
	wfs_text_add_bytes(&text, known.list->bytes,
			   known.list->count * wfs_digest_size(algorithm));
	return wfs_ask_answer(ask, "application/octet-stream", &text, NULL);
}
