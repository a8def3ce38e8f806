/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a seed says of its files, held against a proof.
 */
#ifndef WFS_TRANSPORT_REMOTE_PROOF_H
#define WFS_TRANSPORT_REMOTE_PROOF_H

#include "core/digest/proof.h"

struct wfs_manifest;
/*
 * Holds a seed's manifest against the proof, and gives its files their SHA-256
 * roots.  What the proof does not speak of is dropped; -EBADMSG with a
 * sentence when something is missing or of another size.
 */
int wfs_proof_apply(struct wfs_proof *proof, struct wfs_manifest *manifest,
		    struct wfs_err *err);

#endif
