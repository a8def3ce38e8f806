/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fetch_fixture.h.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "tests/unit/fetch_fixture.h"

struct fake_conn {
	struct fake *fake;
	bool stopped;
	struct wfs_lane_ask asks[2];
	unsigned n;
};

static bool is_cut(const struct fake_conn *c)
{
	return c->stopped || c->fake->down;
}

static int fake_open(void *ctx, const atomic_bool *stop, void **ret,
		     struct wfs_err *err)
{
	struct fake *fake = ctx;
	struct fake_conn *c;
	bool down;

	(void)stop;
	pthread_mutex_lock(&fake->lock);
	down = fake->down;
	fake->opened += !down;
	pthread_mutex_unlock(&fake->lock);
	if (down)
		return wfs_err_set(err, -ECONNREFUSED, "it is down");
	c = wfs_calloc(1, sizeof(*c));
	c->fake = fake;
	*ret = c;
	return 0;
}

static int fake_ask(void *conn, const struct wfs_lane_ask *ask)
{
	struct fake_conn *c = conn;
	struct fake *fake = c->fake;
	int rc;

	pthread_mutex_lock(&fake->lock);
	rc = is_cut(c) ? -ECONNRESET : 0;
	if (c->n == 2)
		abort();
	c->asks[c->n++] = *ask;
	fake->asked++;
	pthread_mutex_unlock(&fake->lock);
	return rc ? rc : ask->to != NULL;
}

static int fake_head(void *conn, struct wfs_wire_answer *ret)
{
	struct fake_conn *c = conn;
	struct fake *fake = c->fake;
	int rc = 0;

	pthread_mutex_lock(&fake->lock);
	while (fake->frozen && !is_cut(c))
		pthread_cond_wait(&fake->changed, &fake->lock);
	if (is_cut(c))
		rc = -ECONNRESET;
	if (fake->fail_in && fake->asked % fake->fail_in == 0) {
		fake->asked++;
		rc = -ECONNRESET;
	}
	*ret = (struct wfs_wire_answer){ .tag = c->asks[0].tag,
					 .status = fake->refuse,
					 .len = fake->refuse ? 3 :
							       c->asks[0].len };
	pthread_mutex_unlock(&fake->lock);
	if (!rc && !ret->status)
		wfs_digest_bytes(WFS_XXH3_128, fake->bytes + c->asks[0].off,
				 c->asks[0].len, ret->digest);
	return rc;
}

static int fake_body(void *conn, void *to, uint32_t len)
{
	struct fake_conn *c = conn;
	struct fake *fake = c->fake;
	const uint8_t *from = fake->bytes + c->asks[0].off;
	bool lies;
	int rc = 0;

	if (len < WFS_CHUNK && len == 3) {
		memcpy(to, "no!", 3);
	} else {
		/* In two parts, so that it can be cut off in between. */
		memcpy(to, from, len / 2);
		pthread_mutex_lock(&fake->lock);
		fake->halves += fake->stuck;
		while ((fake->frozen || fake->stuck) && !is_cut(c))
			pthread_cond_wait(&fake->changed, &fake->lock);
		rc = is_cut(c) ? -ECONNRESET : 0;
		lies = fake->lies;
		pthread_mutex_unlock(&fake->lock);
		if (!rc)
			memcpy((uint8_t *)to + len / 2, from + len / 2,
			       len - len / 2);
		if (lies)
			((uint8_t *)to)[len / 3] ^= 1;
	}
	c->asks[0] = c->asks[1];
	c->n--;
	return rc;
}

static void fake_stop(void *conn)
{
	struct fake_conn *c = conn;

	pthread_mutex_lock(&c->fake->lock);
	c->stopped = true;
	pthread_cond_broadcast(&c->fake->changed);
	pthread_mutex_unlock(&c->fake->lock);
}

/* What lands by itself does so until the end, whatever became of the chunk. */
static void fake_close(void *conn)
{
	struct fake_conn *c = conn;

	for (unsigned i = 0; i < c->n; i++)
		if (c->asks[i].to)
			memset(c->asks[i].to, 0xee, c->asks[i].len);
	free(c);
}

#define FAKE_CALLS                                                             \
	.open = fake_open, .ask = fake_ask, .head = fake_head,                 \
	.body = fake_body, .stop = fake_stop, .close = fake_close

static const struct wfs_lane_ops fake_ops = { FAKE_CALLS };

static const struct wfs_lane_ops landing_ops = { .lands = true, FAKE_CALLS };

static const struct wfs_lane_ops copy_ops = {
	.bare = true,
	.doubted = true,
	FAKE_CALLS,
};

static void note_differs(void *ctx, struct wfs_peer *peer, uint64_t group,
			 const char *text)
{
	struct fetch_bench *b = ctx;

	assert_ptr_equal(peer, b->peers[b->n - 1]);
	assert_int_equal(group, b->group.id);
	assert_non_null(strstr(text, "model 'model', file 'file', offset "));
	atomic_fetch_add(&b->differing, 1);
}

static void add_peer(struct fetch_bench *b, const struct wfs_lane_ops *ops)
{
	static const uint8_t id[WFS_WIRE_ID_BYTES] = "region";
	unsigned i = b->n++;
	struct fake *fake = &b->fakes[i];
	char label[16];

	snprintf(label, sizeof(label), "seed-%u", i);
	pthread_mutex_init(&fake->lock, NULL);
	pthread_cond_init(&fake->changed, NULL);
	fake->bytes = b->bytes;
	assert_int_equal(
		wfs_peer_add(b->fetch, label, ops, fake, 3, &b->peers[i]), 0);
	if (ops->doubted)
		wfs_peer_set_rank(b->peers[i], 1);
	wfs_far_hold(b->far, b->peers[i], id);
}

void fetch_bench_add_copy(struct fetch_bench *b)
{
	add_peer(b, &copy_ops);
}

/* Made once: sanitizers take their time with each byte. */
static const uint8_t *pattern(void)
{
	static uint8_t bytes[SIZE];

	for (uint64_t i = 0; !bytes[SIZE - 1] && i < SIZE; i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 13);
	return bytes;
}

struct fetch_bench *fetch_bench_open(unsigned peers, uint64_t deadline_ns)
{
	struct fetch_bench *b = wfs_calloc(1, sizeof(*b));
	struct wfs_fetch_config config = {
		.deadline_ns = deadline_ns ? deadline_ns : PATIENT,
		.late_ns = 10 * MS,
		.quarantine_ns = 20 * MS,
		.retry_ns = MS,
		.retry_max_ns = 10 * MS,
		.differs = note_differs,
		.ctx = b,
	};

	b->bytes = wfs_malloc(SIZE);
	memcpy(b->bytes, pattern(), SIZE);
	wfs_fetch_new(&config, &b->fetch);
	b->far = wfs_far_new(b->fetch, "model", "file", SIZE);
	b->group.id = 7;
	wfs_far_set_group(b->far, &b->group);
	while (b->n < peers)
		add_peer(b, b->n % 2 ? &fake_ops : &landing_ops);
	return b;
}

void fetch_bench_close(struct fetch_bench *b)
{
	wfs_far_free(b->far);
	wfs_fetch_free(b->fetch);
	for (unsigned i = 0; i < b->n; i++) {
		pthread_mutex_destroy(&b->fakes[i].lock);
		pthread_cond_destroy(&b->fakes[i].changed);
	}
	free(b->bytes);
	free(b);
}

int fetch_bench_read(struct fetch_bench *b, uint64_t off, size_t len)
{
	uint8_t *buf = wfs_malloc(len + 1);
	int rc;

	memset(buf, 0x5a, len + 1);
	rc = wfs_far_read(b->far, buf, len, off);
	if (!rc && (memcmp(buf, b->bytes + off, len) || buf[len] != 0x5a))
		rc = -EBADMSG;
	free(buf);
	return rc;
}

int fetch_bench_failure(struct fetch_bench *b, uint64_t off)
{
	int rc = -EIO;
	char byte;

	for (int i = 0; i < 100 && rc == -EIO; i++)
		rc = wfs_far_read(b->far, &byte, 1, off);
	return rc;
}

void fetch_bench_reads(struct fetch_bench *b, uint64_t off, size_t len)
{
	assert_int_equal(fetch_bench_read(b, off, len), 0);
}

struct wfs_peer_stats fetch_bench_stats(struct fetch_bench *b, unsigned peer)
{
	struct wfs_peer_stats stats;

	wfs_peer_stats(b->peers[peer], &stats);
	return stats;
}
