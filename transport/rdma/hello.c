/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See hello.h.
 */
#include "transport/rdma/hello.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bytes.h"

static const uint8_t magic[4] = { 'W', 'F', 'R', 'D' };

enum {
	AT_VERSION = 4,
	AT_RAIL = 6,
	AT_FLAGS = 7,
	AT_SESSION = 8,
	AT_EXPIRES = 16,
	AT_NONCE = 24,
	AT_TOKEN = 32,
};

/* All but the token. */
static void put_head(const struct wfs_hello *hello, uint8_t bytes[AT_TOKEN])
{
	memcpy(bytes, magic, sizeof(magic));
	wfs_put_le16(bytes + AT_VERSION, WFS_HELLO_VERSION);
	bytes[AT_RAIL] = hello->rail;
	bytes[AT_FLAGS] = hello->flags;
	wfs_put_le64(bytes + AT_SESSION, hello->session);
	wfs_put_le64(bytes + AT_EXPIRES, hello->expires);
	wfs_put_le64(bytes + AT_NONCE, hello->nonce);
}

static void make_token(const struct wfs_hello *hello, const uint8_t *key,
		       uint32_t queue_pair, uint8_t token[WFS_HELLO_TOKEN])
{
	uint8_t text[AT_TOKEN + 4], whole[32];

	put_head(hello, text);
	wfs_put_le32(text + AT_TOKEN, queue_pair);
	if (!HMAC(EVP_sha256(), key, WFS_HELLO_KEY, text, sizeof(text), whole,
		  NULL))
		abort(); /* out of memory */
	memcpy(token, whole, WFS_HELLO_TOKEN);
}

void wfs_hello_sign(struct wfs_hello *hello, const uint8_t key[WFS_HELLO_KEY],
		    uint32_t queue_pair)
{
	make_token(hello, key, queue_pair, hello->token);
}

bool wfs_hello_is_signed(const struct wfs_hello *hello,
			 const uint8_t key[WFS_HELLO_KEY], uint32_t queue_pair)
{
	uint8_t token[WFS_HELLO_TOKEN];

	make_token(hello, key, queue_pair, token);
	return CRYPTO_memcmp(token, hello->token, sizeof(token)) == 0;
}

void wfs_hello_put(const struct wfs_hello *hello,
		   uint8_t bytes[WFS_HELLO_BYTES])
{
	put_head(hello, bytes);
	memcpy(bytes + AT_TOKEN, hello->token, sizeof(hello->token));
}

int wfs_hello_get(const uint8_t *bytes, size_t len, struct wfs_hello *ret_hello)
{
	if (!bytes || len < WFS_HELLO_BYTES ||
	    memcmp(bytes, magic, sizeof(magic)) != 0 ||
	    wfs_get_le16(bytes + AT_VERSION) != WFS_HELLO_VERSION)
		return -EBADMSG;
	ret_hello->rail = bytes[AT_RAIL];
	ret_hello->flags = bytes[AT_FLAGS];
	ret_hello->session = wfs_get_le64(bytes + AT_SESSION);
	ret_hello->expires = wfs_get_le64(bytes + AT_EXPIRES);
	ret_hello->nonce = wfs_get_le64(bytes + AT_NONCE);
	memcpy(ret_hello->token, bytes + AT_TOKEN, sizeof(ret_hello->token));
	return 0;
}
