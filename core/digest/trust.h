/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trust classes: what stands behind the bytes of a region.
 *
 * In the order of what they are worth, so that a mount can be told the least
 * that it may serve.
 */
#ifndef WFS_CORE_DIGEST_TRUST_H
#define WFS_CORE_DIGEST_TRUST_H

enum wfs_trust {
	WFS_TRUST_NONE,	  /* nothing was checked */
	WFS_TRUST_SEED,	  /* as whoever sent them meant them: XXH3-128 guards
			     against accidents, not against liars; an engine's
			     memory that is read by RDMA has the fabric's own
			     checksum and its epoch for that */
	WFS_TRUST_ORIGIN, /* from where the operator said: a local file, or a
			     SHA-256 root that the operator configured */
	WFS_TRUST_SIGNED, /* SHA-256 under a manifest with a signature of a
			     key that the operator configured */
};

/* "none", "seed", "origin" or "signed". */
const char *wfs_trust_name(enum wfs_trust trust);
/* 0, or -EINVAL for any other word. */
int wfs_trust_parse(const char *text, enum wfs_trust *ret_trust);

#endif
