/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seed's memory over FAKE devices: the exporter, what a node knows of it by
 * the control channel, and connections to it that read as they are told.
 */
#ifndef WFS_TESTS_UNIT_RDMA_SEED_H
#define WFS_TESTS_UNIT_RDMA_SEED_H

#include "tests/unit/fake_rdma.h"
#include "transport/rdma/export.h"
#include "transport/rdma/link.h"
#include "transport/rdma/peer.h"

/* What a seed has: `count` files of `size` bytes. */
struct rdma_stock {
	size_t count;
	uint64_t size;
	const uint8_t *bytes;	/* all have the same */
	const uint8_t *digests; /* XXH3-128 of its chunks; NULL: computed */
	atomic_bool gone;	/* none is listed */
};

/* Memory that it lends, with a region of it: the first of its names. */
struct rdma_lent {
	struct wfs_live_span span;
	struct wfs_live_memory memory;
	uint64_t size; /* of the region */
};

struct rdma_seed {
	struct rdma_stock stock; /* the first, so that it may be set before */
	const struct rdma_lent *lent; /* or, instead of files */
	uint64_t memory;	      /* for files; 0: enough */
	uint64_t lease_ns;	      /* 0: the usual one */
	const char *who;	      /* asks; NULL: anybody */
	struct wfs_exporter *exporter;
	struct wfs_rdma_peer *peer;
	atomic_uint asked; /* for /v1/rdma */
	atomic_bool mute;  /* it does not answer that */
};

/* With its stock set; starts, and fills its memory on its own. */
void rdma_seed_open(struct rdma_seed *seed);
void rdma_seed_close(struct rdma_seed *seed);
/* Until so many files are in its memory, and so many left out. */
void rdma_seed_await(const struct rdma_seed *seed, uint64_t in, uint64_t out);
/* Until so many queue pairs are connected. */
void rdma_seed_await_links(const struct rdma_seed *seed, uint64_t links);
/*
 * Until no queue pair is left, on either side: the seed counts one only when
 * the node may be gone again.
 */
void rdma_seed_await_none(const struct rdma_seed *seed);
struct wfs_export_stats rdma_seed_stats(const struct rdma_seed *seed);
/* What the region of that index is called. */
void rdma_seed_name(uint8_t id[WFS_WIRE_ID_BYTES], size_t index);

/* A connection with memory of its own, which READs go to. */
struct rdma_reader {
	struct wfs_rdma_link link;
	struct wfs_rdma_way way;
	struct ibv_mr *mr;
	uint8_t *bytes; /* of a chunk, 0x5a at first */
};

/* Where the seed says to connect now. */
struct wfs_rdma_way rdma_seed_way(struct rdma_seed *seed);
/* As `way` says, or NULL: as the seed does.  What wfs_rdma_link_open says. */
int rdma_reader_open(struct rdma_reader *reader, struct rdma_seed *seed,
		     const struct wfs_rdma_way *way);
/* Also one that was not opened, or failed to. */
void rdma_reader_close(struct rdma_reader *reader);
/* Posts a READ of one chunk or less; does not wait. */
void rdma_reader_post(struct rdma_reader *reader, uint64_t address,
		      uint32_t len, uint32_t rkey);
/* … waits, and says how it ended. */
enum ibv_wc_status rdma_reader_read(struct rdma_reader *reader,
				    uint64_t address, uint32_t len,
				    uint32_t rkey);
/* Where the file of that index lies, as the seed said to that session. */
struct wfs_rdma_place rdma_reader_find(const struct rdma_reader *reader,
				       struct rdma_seed *seed, size_t index);

#endif
