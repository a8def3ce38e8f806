/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring that bytes land in over FAKE devices: a memfd stands for what a GPU
 * exports, and is filled with a pattern that is none of the file's.
 */
#ifndef WFS_TESTS_UNIT_RDMA_RING_H
#define WFS_TESTS_UNIT_RDMA_RING_H

#include "core/landing.h"
#include "tests/unit/rdma_live.h"

#define PAGE	   4096ull
#define RING_BYTES (SIZE / PAGE * PAGE + 8 * PAGE)
#define BLANK	   0x5a

struct ring {
	struct wfs_landing_ring *ring;
	uint8_t *bytes; /* what is in it */
};

/* For a thread of its own. */
struct landing {
	struct rdma_live *w;
	struct wfs_landing call;
	size_t len;
	uint64_t off;
	pthread_t thread;
	int rc;
};

struct ring ring_open(void);
/* Also one that was put already. */
void ring_close(struct ring *ring);

int ring_land(const struct rdma_live *w, const struct ring *ring, uint64_t at,
	      size_t len, uint64_t off);
void assert_blank(const struct ring *ring, uint64_t from, uint64_t to);
/* Asserts that they land where they are to, and nothing beside them. */
void ring_lands(const struct rdma_live *w, struct ring *ring, uint64_t at,
		size_t len, uint64_t off);

#endif
