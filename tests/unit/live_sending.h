/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks on a socket, sent from where an image has them.
 */
#ifndef WFS_TESTS_UNIT_LIVE_SENDING_H
#define WFS_TESTS_UNIT_LIVE_SENDING_H

#include "tests/unit/live_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/model/model.h"
#include "transport/live/direct.h"

#define BYTES ((size_t)3 * WFS_CHUNK) /* of the tensors */
#define ROOM  65536		      /* of a socket: a chunk is many pieces */

/* A chunk, and the two ends of what it is sent on. */
struct sending {
	struct wfs_live_direct *direct;
	size_t at, len, had;
	char *got;
	int ends[2];
};

/* False: the epoch of the region is over. */
static inline bool try_start(struct sending *s, struct wfs_region *region,
			     uint64_t off, size_t len)
{
	int room = ROOM;

	*s = (struct sending){ .len = len };
	s->direct = wfs_live_direct_new(region, off, len);
	if (!s->direct)
		return false;
	s->got = wfs_malloc(len);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s->ends), 0);
	setsockopt(s->ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return true;
}

static inline void start(struct sending *s, struct wfs_region *region,
			 uint64_t off, size_t len)
{
	assert_true(try_start(s, region, off, len));
}

static inline void drain(struct sending *s)
{
	ssize_t n;

	while (s->had < s->len && (n = recv(s->ends[1], s->got + s->had,
					    s->len - s->had, MSG_DONTWAIT)) > 0)
		s->had += (size_t)n;
}

/* Up to `until`, at least: 0, or what it failed with. */
static inline int push(struct sending *s, size_t until)
{
	while (s->at < until) {
		ssize_t n = wfs_live_direct_send(s->direct, s->ends[0], s->at,
						 s->len - s->at);

		if (n < 0 && n != -EAGAIN)
			return (int)n;
		if (n > 0)
			s->at += (size_t)n;
		else
			drain(s);
	}
	return 0;
}

/* As often as the socket takes some. */
static inline void fill_up(struct sending *s)
{
	ssize_t n;

	while ((n = wfs_live_direct_send(s->direct, s->ends[0], s->at,
					 s->len - s->at)) > 0)
		s->at += (size_t)n;
	assert_int_equal(n, -EAGAIN);
	assert_in_range(s->at, 1, s->len - 1);
}

static inline void finish(struct sending *s)
{
	close(s->ends[0]);
	close(s->ends[1]);
	wfs_live_direct_free(s->direct);
	free(s->got);
}

static inline char *pattern(size_t len)
{
	char *bytes = wfs_malloc(len);

	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)(i * 31 + i / 4099);
	return bytes;
}

static inline struct wfs_region *region_of(const struct wfs_model *model)
{
	return model->entries[1].region;
}

#endif
