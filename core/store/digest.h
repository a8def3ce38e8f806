/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XXH3-128 of a whole arena file: a guard against accidents, not liars.
 *
 * Taken after the file was exposed and a step at a time, since nobody waits
 * for it.
 */
#ifndef WFS_CORE_STORE_DIGEST_H
#define WFS_CORE_STORE_DIGEST_H

#include <stdint.h>

#define WFS_DIGEST_BYTES 16
#define WFS_DIGEST_STEP	 (1u << 20) /* bytes hashed in one call */

struct wfs_digester;

/* wfs_digester_free: NULL is fine. */
struct wfs_digester *wfs_digester_new(void);
void wfs_digester_free(struct wfs_digester *digester);

void wfs_digester_start(struct wfs_digester *digester);

/*
 * Hashes up to WFS_DIGEST_STEP bytes of `fd` at `off`, in order from 0.
 * Bytes hashed, 0 at the end, or a negative errno.
 */
int64_t wfs_digester_step(struct wfs_digester *digester, int fd, uint64_t off);

/* The canonical (big-endian) bytes of what was hashed since the start. */
void wfs_digester_finish(struct wfs_digester *digester,
			 uint8_t ret_digest[WFS_DIGEST_BYTES]);

/* "xxh3-128:<32 hex digits>"; `text` has room for 48 bytes. */
void wfs_digest_format(const uint8_t digest[WFS_DIGEST_BYTES], char *text);

#endif
