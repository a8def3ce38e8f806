/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node says when it connects: the private data of its request, see
 * transport/PROTOCOL.md.  The request travels in the clear, so it carries no
 * secret but the proof of one that both got over the control channel.
 */
#ifndef WFS_TRANSPORT_RDMA_HELLO_H
#define WFS_TRANSPORT_RDMA_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WFS_HELLO_BYTES	  56 /* all that a request has room for */
#define WFS_HELLO_KEY	  32
#define WFS_HELLO_TOKEN	  24
#define WFS_HELLO_VERSION 1

/* The queue pair takes an RDMA WRITE of no bytes: is the node there still? */
#define WFS_HELLO_PROBED 1

struct wfs_hello {
	uint8_t rail, flags;
	uint64_t session;
	uint64_t expires; /* as the seed said: its own clock */
	uint64_t nonce;	  /* the node never said it before */
	uint8_t token[WFS_HELLO_TOKEN];
};

/* HMAC-SHA256 over all of it and the queue pair, cut short, into its token. */
void wfs_hello_sign(struct wfs_hello *hello, const uint8_t key[WFS_HELLO_KEY],
		    uint32_t queue_pair);
/* In constant time. */
bool wfs_hello_is_signed(const struct wfs_hello *hello,
			 const uint8_t key[WFS_HELLO_KEY], uint32_t queue_pair);

void wfs_hello_put(const struct wfs_hello *hello,
		   uint8_t bytes[WFS_HELLO_BYTES]);
/* -EBADMSG: shorter, another magic or version.  More bytes are padding. */
int wfs_hello_get(const uint8_t *bytes, size_t len,
		  struct wfs_hello *ret_hello);

#endif
