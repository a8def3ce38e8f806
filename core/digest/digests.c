/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of chunk digests with libxxhash and libcrypto.
 *
 * What is parsed comes from a peer or a disk: nothing is allocated before its
 * length was found to be what the size of the region asks for.
 */
#include "core/digest/digests.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "core/base/bytes.h"
#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/digest/xxh3.h"

static const char magic[8] = { 'W', 'F', 'S', 'D', 'I', 'G', '0', '1' };

/* Where the fields of an encoded list are. */
#define AT_ALGORITHM 8
#define AT_WIDTH     12
#define AT_CHUNK     16
#define AT_SIZE	     24

size_t wfs_digest_size(enum wfs_digest_algorithm algorithm)
{
	return algorithm == WFS_SHA256 ? 32 : 16;
}

const char *wfs_digest_name(enum wfs_digest_algorithm algorithm)
{
	return algorithm == WFS_SHA256 ? "sha256" : "xxh3-128";
}

static void xxh3_bytes(const void *bytes, size_t len, uint8_t *ret_digest)
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, len));
	memcpy(ret_digest, canonical.digest, sizeof(canonical.digest));
}

/* Without a hash nothing can be said to be right: it is as out of memory. */
static void sha256_bytes(const void *bytes, size_t len, uint8_t *ret_digest)
{
	if (EVP_Digest(bytes, len, ret_digest, NULL, EVP_sha256(), NULL) == 1)
		return;
	wfs_error("libcrypto computes no sha256");
	abort();
}

void wfs_digest_bytes(enum wfs_digest_algorithm algorithm, const void *bytes,
		      size_t len, uint8_t *ret_digest)
{
	if (algorithm == WFS_SHA256)
		sha256_bytes(bytes, len, ret_digest);
	else
		xxh3_bytes(bytes, len, ret_digest);
}

struct wfs_digests *wfs_digests_new(enum wfs_digest_algorithm algorithm,
				    uint64_t size)
{
	uint64_t count = wfs_chunk_count(size);
	struct wfs_digests *digests = wfs_calloc(
		1, sizeof(*digests) + count * wfs_digest_size(algorithm));

	digests->algorithm = algorithm;
	digests->size = size;
	digests->count = count;
	return digests;
}

void wfs_digests_root(const struct wfs_digests *digests, uint8_t *ret_root)
{
	wfs_digest_bytes(digests->algorithm, digests->bytes,
			 digests->count * wfs_digest_size(digests->algorithm),
			 ret_root);
}

int wfs_digests_verify(const struct wfs_digests *digests, uint64_t index,
		       const void *bytes, size_t len)
{
	size_t width = wfs_digest_size(digests->algorithm);
	uint8_t digest[WFS_DIGEST_MAX];

	if (index >= digests->count ||
	    len != wfs_chunk_len(digests->size, index))
		return -EBADMSG;
	wfs_digest_bytes(digests->algorithm, bytes, len, digest);
	return memcmp(digest, digests->bytes + index * width, width) ?
		       -EBADMSG :
		       0;
}

void wfs_digests_head(const struct wfs_digests *digests,
		      uint8_t ret_head[WFS_DIGESTS_HEAD])
{
	memcpy(ret_head, magic, sizeof(magic));
	wfs_put_le32(ret_head + AT_ALGORITHM, digests->algorithm);
	wfs_put_le32(ret_head + AT_WIDTH,
		     (uint32_t)wfs_digest_size(digests->algorithm));
	wfs_put_le64(ret_head + AT_CHUNK, WFS_CHUNK);
	wfs_put_le64(ret_head + AT_SIZE, digests->size);
}

static int check_head(const uint8_t *head, size_t len,
		      enum wfs_digest_algorithm algorithm, uint64_t size,
		      struct wfs_err *err)
{
	if (len < WFS_DIGESTS_HEAD || memcmp(head, magic, sizeof(magic)) != 0)
		return wfs_err_set(err, -EBADMSG, "not a list of digests");
	if (wfs_get_le32(head + AT_ALGORITHM) != (uint32_t)algorithm ||
	    wfs_get_le32(head + AT_WIDTH) != wfs_digest_size(algorithm))
		return wfs_err_set(err, -EBADMSG,
				   "digests of another kind than %s",
				   wfs_digest_name(algorithm));
	if (wfs_get_le64(head + AT_CHUNK) != WFS_CHUNK)
		return wfs_err_set(
			err, -EBADMSG,
			"digests of chunks of %llu bytes instead of %u",
			(unsigned long long)wfs_get_le64(head + AT_CHUNK),
			WFS_CHUNK);
	if (wfs_get_le64(head + AT_SIZE) != size)
		return wfs_err_set(
			err, -EBADMSG, "digests of %llu bytes instead of %llu",
			(unsigned long long)wfs_get_le64(head + AT_SIZE),
			(unsigned long long)size);
	return 0;
}

int wfs_digests_parse(const void *bytes, size_t len,
		      enum wfs_digest_algorithm algorithm, uint64_t size,
		      const uint8_t *root, struct wfs_digests **ret_digests,
		      struct wfs_err *err)
{
	size_t width = wfs_digest_size(algorithm);
	uint64_t want = wfs_chunk_count(size) * width;
	struct wfs_digests *digests wfs_autofree = NULL;
	const uint8_t *head = bytes;
	uint8_t found[WFS_DIGEST_MAX];
	int rc = check_head(head, len, algorithm, size, err);

	if (rc)
		return rc;
	if (len - WFS_DIGESTS_HEAD != want)
		return wfs_err_set(err, -EBADMSG,
				   "%zu bytes of digests instead of %llu",
				   len - WFS_DIGESTS_HEAD,
				   (unsigned long long)want);
	digests = wfs_digests_new(algorithm, size);
	memcpy(digests->bytes, head + WFS_DIGESTS_HEAD, want);
	if (root) {
		wfs_digests_root(digests, found);
		if (memcmp(found, root, width) != 0)
			return wfs_err_set(err, -EBADMSG,
					   "digests of another root");
	}
	*ret_digests = wfs_steal_ptr(&digests);
	return 0;
}
