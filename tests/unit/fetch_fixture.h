/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fetch's tests share: a file of some 37 chunks, and peers that have
 * it in memory and are late, fail, lie or hang when told to.  Every other one
 * lands bytes by itself, from the first on, and spoils until its connection is
 * closed the memory of what it could not answer.
 */
#ifndef WFS_TESTS_UNIT_FETCH_FIXTURE_H
#define WFS_TESTS_UNIT_FETCH_FIXTURE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/fetch/fetch.h"

#define SIZE	  (37ull * WFS_CHUNK + 12345)
#define MS	  1000000ull
#define PEERS_MAX 200
/* Of reads that must not fail: never the reason for what a test says. */
#define PATIENT (600ull * 1000 * MS)

/* A seed of the test; its conns are cut off by `down`. */
struct fake {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const uint8_t *bytes;
	bool down;	  /* connections fail, those that are there are cut */
	bool frozen;	  /* nothing is answered */
	bool stuck;	  /* answers end in the middle of a chunk */
	bool lies;	  /* wrong bytes under the right digest */
	uint32_t refuse;  /* a status, instead of bytes */
	unsigned fail_in; /* every so many answers a connection breaks */
	unsigned asked, opened;
	unsigned halves; /* chunks that did */
};

struct fetch_bench {
	uint8_t *bytes;
	struct wfs_fetch *fetch;
	struct fake fakes[PEERS_MAX];
	struct wfs_peer *peers[PEERS_MAX];
	unsigned n;
	struct wfs_far *far;
	struct wfs_far_group group; /* the file's */
	atomic_uint differing;	    /* what was said of copies */
};

/* `deadline_ns` 0: PATIENT. */
struct fetch_bench *fetch_bench_open(unsigned peers, uint64_t deadline_ns);
void fetch_bench_close(struct fetch_bench *b);

/* -EBADMSG: it succeeded, with other bytes.  From any thread. */
int fetch_bench_read(struct fetch_bench *b, uint64_t off, size_t len);
/* Asserts that it does, with the right ones. */
void fetch_bench_reads(struct fetch_bench *b, uint64_t off, size_t len);
/*
 * What a read of a byte at `off` fails with: -EIO if nobody was asked in time,
 * which on a busy machine means nothing, so that it is tried again.
 */
int fetch_bench_failure(struct fetch_bench *b, uint64_t off);
/* One more peer, doubted and of the rank 1, that says it has the file. */
void fetch_bench_add_copy(struct fetch_bench *b);
struct wfs_peer_stats fetch_bench_stats(struct fetch_bench *b, unsigned peer);

#define SET(fake, field, value)                                                \
	do {                                                                   \
		pthread_mutex_lock(&(fake)->lock);                             \
		(fake)->field = (value);                                       \
		pthread_cond_broadcast(&(fake)->changed);                      \
		pthread_mutex_unlock(&(fake)->lock);                           \
	} while (0)

#endif
