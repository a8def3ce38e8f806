/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests of arena files with libxxhash.
 *
 * The bytes are read into a buffer that stays in the cache instead of being
 * mapped: a map of ours would keep the memory of a file that is evicted
 * meanwhile.
 */
#include "core/store/digest.h"

#include <stdio.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/base/text.h"
#include "core/digest/xxh3.h"

#define BUFFER (256u << 10)

struct wfs_digester {
	XXH3_state_t *state;
	char *buffer;
};

struct wfs_digester *wfs_digester_new(void)
{
	struct wfs_digester *digester = wfs_calloc(1, sizeof(*digester));

	digester->state = XXH3_createState();
	if (!digester->state)
		abort();
	digester->buffer = wfs_malloc(BUFFER);
	return digester;
}

void wfs_digester_free(struct wfs_digester *digester)
{
	if (!digester)
		return;
	XXH3_freeState(digester->state);
	free(digester->buffer);
	free(digester);
}

void wfs_digester_start(struct wfs_digester *digester)
{
	XXH3_128bits_reset(digester->state);
}

int64_t wfs_digester_step(struct wfs_digester *digester, int fd, uint64_t off)
{
	int64_t done = 0;

	while (done < WFS_DIGEST_STEP) {
		ssize_t n = wfs_pread_all(fd, digester->buffer, BUFFER,
					  off + (uint64_t)done);

		if (n < 0)
			return n;
		if (n == 0)
			break;
		XXH3_128bits_update(digester->state, digester->buffer,
				    (size_t)n);
		done += n;
	}
	return done;
}

void wfs_digester_finish(struct wfs_digester *digester,
			 uint8_t ret_digest[WFS_DIGEST_BYTES])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical,
				 XXH3_128bits_digest(digester->state));
	_Static_assert(sizeof(canonical.digest) == WFS_DIGEST_BYTES, "");
	memcpy(ret_digest, canonical.digest, WFS_DIGEST_BYTES);
}

void wfs_digest_format(const uint8_t digest[WFS_DIGEST_BYTES], char *text)
{
	int len = sprintf(text, "xxh3-128:");

	wfs_hex_format(digest, WFS_DIGEST_BYTES, text + len);
}
