/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Detached Ed25519 signatures, with keys in PEM files.
 *
 * A signature is the 64 bytes of RFC 8032 over the whole text, as
 * `openssl pkeyutl -sign -rawin` writes them.
 */
#ifndef WFS_CORE_DIGEST_SIGN_H
#define WFS_CORE_DIGEST_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

#define WFS_SIGNATURE_BYTES 64

/*
 * Signs with the private key in `key_file` (PKCS#8, not encrypted).  -ENOENT
 * …; -EINVAL for a file that holds no such key; with a sentence.
 */
int wfs_sign(const char *key_file, const void *text, size_t len,
	     uint8_t ret_signature[WFS_SIGNATURE_BYTES], struct wfs_err *err);

/*
 * Is it a signature of one of the public keys in `key_file`?  0; -EBADMSG
 * when it is not, and errors of the file as above; with a sentence.
 */
int wfs_sign_verify(const char *key_file, const void *text, size_t len,
		    const void *signature, size_t signature_len,
		    struct wfs_err *err);

#endif
