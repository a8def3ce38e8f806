/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunk digests of one region, and their root.
 *
 * A region is cut in chunks of 1 MiB from its start; each has a digest, and
 * the hash of the digests, one after the other, is the region's root.  Whoever
 * trusts a root can check a list, and with the list each chunk by itself.
 * XXH3-128 guards against accidents, SHA-256 against liars.  The encoding is
 * that of transport/PROTOCOL.md.
 */
#ifndef WFS_CORE_DIGEST_DIGESTS_H
#define WFS_CORE_DIGEST_DIGESTS_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

#define WFS_CHUNK	 (1u << 20) /* bytes */
#define WFS_DIGEST_MAX	 32	    /* bytes of the longest digest */
#define WFS_DIGESTS_HEAD 32	    /* bytes before the first, encoded */

enum wfs_digest_algorithm {
	WFS_XXH3_128 = 1,
	WFS_SHA256 = 2,
};

/* 16 or 32. */
size_t wfs_digest_size(enum wfs_digest_algorithm algorithm);
/* "xxh3-128" or "sha256". */
const char *wfs_digest_name(enum wfs_digest_algorithm algorithm);

/* Of one piece of memory; wfs_digest_size bytes. */
void wfs_digest_bytes(enum wfs_digest_algorithm algorithm, const void *bytes,
		      size_t len, uint8_t *ret_digest);

/* Chunks of a region of `size` bytes, and the bytes of chunk `index`. */
static inline uint64_t wfs_chunk_count(uint64_t size)
{
	return size / WFS_CHUNK + (size % WFS_CHUNK != 0);
}

static inline uint32_t wfs_chunk_len(uint64_t size, uint64_t index)
{
	uint64_t left = size - index * WFS_CHUNK;

	return left < WFS_CHUNK ? (uint32_t)left : WFS_CHUNK;
}

/* A whole list: immutable once made.  Freed by free(). */
struct wfs_digests {
	enum wfs_digest_algorithm algorithm;
	uint64_t size; /* bytes of the region */
	uint64_t count;
	uint8_t bytes[]; /* count digests */
};

struct wfs_digests *wfs_digests_new(enum wfs_digest_algorithm algorithm,
				    uint64_t size);
static inline uint8_t *wfs_digests_at(struct wfs_digests *digests,
				      uint64_t index)
{
	return digests->bytes + index * wfs_digest_size(digests->algorithm);
}

void wfs_digests_root(const struct wfs_digests *digests, uint8_t *ret_root);

/* Does `len` bytes equal chunk `index`?  0 or -EBADMSG. */
int wfs_digests_verify(const struct wfs_digests *digests, uint64_t index,
		       const void *bytes, size_t len);

/* Bytes of the encoded list of a region of `size` bytes. */
static inline uint64_t
wfs_digests_encoded_size(enum wfs_digest_algorithm algorithm, uint64_t size)
{
	return WFS_DIGESTS_HEAD +
	       wfs_chunk_count(size) * wfs_digest_size(algorithm);
}

/* What is sent before the digests themselves. */
void wfs_digests_head(const struct wfs_digests *digests,
		      uint8_t ret_head[WFS_DIGESTS_HEAD]);

/*
 * Reads an encoded list of a region of `size` bytes.  -EBADMSG with a
 * sentence when it is not one, of another size, algorithm or chunk, or, unless
 * `root` is NULL, when its root is another.
 */
int wfs_digests_parse(const void *bytes, size_t len,
		      enum wfs_digest_algorithm algorithm, uint64_t size,
		      const uint8_t *root, struct wfs_digests **ret_digests,
		      struct wfs_err *err);

#endif
