/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds what a stranger may write to a seed: a frame of the stream, and as
 * text a range, a token, a wait, tags, an address.  What is accepted must keep
 * what the headers promise.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "core/digest/digests.h"
#include "transport/seed/listen.h"
#include "transport/seed/parse.h"
#include "transport/wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth)
{
	if (!truth)
		abort();
}

static void check_frames(const uint8_t *data, size_t size)
{
	struct wfs_wire_request request;
	struct wfs_wire_answer answer;
	uint8_t again[WFS_REQUEST_BYTES];

	if (size >= WFS_REQUEST_BYTES &&
	    wfs_wire_get_request(data, &request) == 0) {
		must(request.len && request.len <= WFS_CHUNK);
		must(request.off % WFS_CHUNK == 0);
		wfs_wire_put_request(&request, again);
		must(memcmp(again, data, WFS_REQUEST_BYTES) == 0);
	}
	if (size >= WFS_ANSWER_BYTES &&
	    wfs_wire_get_answer(data, &answer) == 0) {
		must(answer.len <=
		     (answer.status ? WFS_WIRE_TEXT_MAX : WFS_CHUNK));
		must(wfs_wire_status_text(answer.status) != NULL);
	}
}

static void check_range(const char *text, uint64_t size)
{
	struct wfs_range range;

	if (wfs_range_parse(text, size, &range))
		return;
	must(range.len > 0 && range.off < size);
	must(range.len <= size - range.off);
}

static void check_text(const char *text)
{
	char host[WFS_LISTEN_HOST], port[WFS_LISTEN_PORT];
	const char *token = wfs_bearer_parse(text);
	unsigned number;
	uint64_t ns;

	check_range(text, 0);
	check_range(text, 1);
	check_range(text, 1000000);
	check_range(text, UINT64_MAX);
	must(!token || (*token && *token != ' '));
	if (wfs_wait_parse(text, &ns) == 0)
		must(ns <= WFS_WAIT_MAX_S * 1000000000ull);
	if (wfs_number_parse(text, &number) == 0)
		must(number <= INT32_MAX);
	if (wfs_listen_parse(text, host, port) == 0)
		must(strlen(host) <= strlen(text) &&
		     strtoul(port, NULL, 10) <= UINT16_MAX);
	wfs_etag_listed(text, "0123", false);
	wfs_etag_listed(text, "", true);
	wfs_word_listed(text, "upgrade");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text wfs_autofree = wfs_malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	check_frames(data, size);
	check_text(text);
	return 0;
}
