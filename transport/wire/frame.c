/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of the stream, laid out byte by byte as the tables of PROTOCOL.md
 * say, so that no compiler and no machine has a word in it.  Everything that a
 * peer sent is checked here; whoever calls this may rely on it.
 */
#include <errno.h>
#include <string.h>

#include "core/base/bytes.h"
#include "core/digest/digests.h"
#include "transport/wire/frame.h"

static const uint8_t request_magic[4] = { 'W', 'F', 'R', '1' };
static const uint8_t answer_magic[4] = { 'W', 'F', 'A', '1' };

void wfs_wire_put_request(const struct wfs_wire_request *request,
			  uint8_t bytes[WFS_REQUEST_BYTES])
{
	memset(bytes, 0, WFS_REQUEST_BYTES);
	memcpy(bytes, request_magic, sizeof(request_magic));
	wfs_put_le16(bytes + 4, request->op);
	wfs_put_le32(bytes + 8, request->tag);
	wfs_put_le32(bytes + 12, request->len);
	memcpy(bytes + 16, request->region, WFS_WIRE_ID_BYTES);
	wfs_put_le64(bytes + 32, request->off);
}

int wfs_wire_get_request(const uint8_t bytes[WFS_REQUEST_BYTES],
			 struct wfs_wire_request *ret_request)
{
	struct wfs_wire_request request = {
		.op = wfs_get_le16(bytes + 4),
		.tag = wfs_get_le32(bytes + 8),
		.len = wfs_get_le32(bytes + 12),
		.off = wfs_get_le64(bytes + 32),
	};

	memcpy(request.region, bytes + 16, WFS_WIRE_ID_BYTES);
	if (memcmp(bytes, request_magic, sizeof(request_magic)) != 0 ||
	    request.op != WFS_WIRE_READ || wfs_get_le16(bytes + 6) != 0 ||
	    wfs_get_le64(bytes + 40) != 0)
		return -EBADMSG;
	if (request.len == 0 || request.len > WFS_CHUNK ||
	    request.off % WFS_CHUNK != 0)
		return -EBADMSG;
	*ret_request = request;
	return 0;
}

void wfs_wire_put_answer(const struct wfs_wire_answer *answer,
			 uint8_t bytes[WFS_ANSWER_BYTES])
{
	memcpy(bytes, answer_magic, sizeof(answer_magic));
	wfs_put_le32(bytes + 4, answer->tag);
	wfs_put_le32(bytes + 8, answer->status);
	wfs_put_le32(bytes + 12, answer->len);
	memcpy(bytes + 16, answer->digest, WFS_WIRE_HASH_SIZE);
}

int wfs_wire_get_answer(const uint8_t bytes[WFS_ANSWER_BYTES],
			struct wfs_wire_answer *ret_answer)
{
	struct wfs_wire_answer answer = {
		.tag = wfs_get_le32(bytes + 4),
		.status = wfs_get_le32(bytes + 8),
		.len = wfs_get_le32(bytes + 12),
	};

	memcpy(answer.digest, bytes + 16, WFS_WIRE_HASH_SIZE);
	if (memcmp(bytes, answer_magic, sizeof(answer_magic)) != 0)
		return -EBADMSG;
	if (answer.status == WFS_WIRE_OK) {
		if (answer.len == 0 || answer.len > WFS_CHUNK)
			return -EBADMSG;
	} else if (answer.len > WFS_WIRE_TEXT_MAX) {
		return -EBADMSG;
	}
	*ret_answer = answer;
	return 0;
}

const char *wfs_wire_status_text(uint32_t status)
{
	static const char *const texts[] = {
		[WFS_WIRE_OK] = "here it is",
		[WFS_WIRE_UNKNOWN] = "no such region",
		[WFS_WIRE_STALE] = "the file behind the region was rewritten",
		[WFS_WIRE_IO] = "the seed cannot read it",
		[WFS_WIRE_NOT_HELD] = "not held here",
		[WFS_WIRE_MALFORMED] = "malformed request",
		[WFS_WIRE_BUSY] = "busy: ask another, or later",
	};

	return status < sizeof(texts) / sizeof(texts[0]) ?
		       texts[status] :
		       "a status of a later version";
}
