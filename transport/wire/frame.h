/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of /v1/stream: see transport/PROTOCOL.md, whose tables these
 * functions are.  Nothing here does I/O.
 */
#ifndef WFS_TRANSPORT_WIRE_FRAME_H
#define WFS_TRANSPORT_WIRE_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#define WFS_PROTOCOL	 1
#define WFS_STREAM_NAME	 "weightfs-stream/1" /* in Upgrade: */
#define WFS_DEFAULT_PORT 7420

#define WFS_REQUEST_BYTES  48
#define WFS_ANSWER_BYTES   32
#define WFS_WIRE_TEXT_MAX  512 /* bytes of the sentence of an error */
#define WFS_WIRE_ID_BYTES  16  /* of a region's id */
#define WFS_WIRE_HASH_SIZE 16  /* of a chunk's XXH3-128 */

enum wfs_wire_op {
	WFS_WIRE_READ = 1,
};

enum wfs_wire_status {
	WFS_WIRE_OK,
	WFS_WIRE_UNKNOWN,
	WFS_WIRE_STALE,
	WFS_WIRE_IO,
	WFS_WIRE_NOT_HELD,
	WFS_WIRE_MALFORMED,
	WFS_WIRE_BUSY,
};

/* A region that a seed has. */
struct wfs_wire_region {
	uint8_t id[WFS_WIRE_ID_BYTES];
	uint64_t size;
};

struct wfs_wire_request {
	uint16_t op; /* enum wfs_wire_op */
	uint32_t tag;
	uint32_t len; /* bytes: those of the chunk at `off` */
	uint8_t region[WFS_WIRE_ID_BYTES];
	uint64_t off;
};

struct wfs_wire_answer {
	uint32_t tag;
	uint32_t status; /* enum wfs_wire_status, or one of a later version */
	uint32_t len;	 /* bytes that follow */
	uint8_t digest[WFS_WIRE_HASH_SIZE];
	/* Never of an answer of the wire: */
	bool bare; /* there is no digest */
	bool torn; /* its bytes were of two epochs, so they are refused */
};

void wfs_wire_put_request(const struct wfs_wire_request *request,
			  uint8_t bytes[WFS_REQUEST_BYTES]);
/* 0, or -EBADMSG: another magic, an unknown operation, flags, a length of 0
 * or of more than a chunk, an offset that no chunk starts at. */
int wfs_wire_get_request(const uint8_t bytes[WFS_REQUEST_BYTES],
			 struct wfs_wire_request *ret_request);

void wfs_wire_put_answer(const struct wfs_wire_answer *answer,
			 uint8_t bytes[WFS_ANSWER_BYTES]);
/* 0, or -EBADMSG: another magic, or a length beyond what its status allows. */
int wfs_wire_get_answer(const uint8_t bytes[WFS_ANSWER_BYTES],
			struct wfs_wire_answer *ret_answer);

/* "no such region" …: what to say of a status. */
const char *wfs_wire_status_text(uint32_t status);

#endif
