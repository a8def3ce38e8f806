/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ed25519 with libcrypto.
 */
#include "core/digest/sign.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#include "core/base/mem.h"

#define KEY_FILE_MAX (64u << 10)

/* libcrypto would ask on the terminal. */
static int no_password(char *buf, int size, int writing, void *ctx)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)ctx;
	return -1;
}

static int open_keys(const char *key_file, char **ret_text, BIO **ret_bio,
		     struct wfs_err *err)
{
	size_t len;
	int rc = wfs_file_slurp(key_file, KEY_FILE_MAX, ret_text, &len);

	if (rc)
		return wfs_err_set(err, rc, "cannot read the key '%s': %s",
				   key_file, strerror(-rc));
	*ret_bio = BIO_new_mem_buf(*ret_text, (int)len);
	if (!*ret_bio)
		abort(); /* out of memory, as everywhere */
	return 0;
}

static bool is_ed25519(const EVP_PKEY *key)
{
	return EVP_PKEY_get_id(key) == EVP_PKEY_ED25519;
}

int wfs_sign(const char *key_file, const void *text, size_t len,
	     uint8_t ret_signature[WFS_SIGNATURE_BYTES], struct wfs_err *err)
{
	char *pem wfs_autofree = NULL;
	EVP_MD_CTX *ctx = NULL;
	EVP_PKEY *key;
	BIO *bio = NULL;
	size_t size = WFS_SIGNATURE_BYTES;
	int rc = open_keys(key_file, &pem, &bio, err);

	if (rc)
		return rc;
	key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	BIO_free(bio);
	OPENSSL_cleanse(pem, strlen(pem));
	if (key && is_ed25519(key))
		ctx = EVP_MD_CTX_new();
	if (!ctx || EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) != 1 ||
	    EVP_DigestSign(ctx, ret_signature, &size, text, len) != 1)
		rc = wfs_err_set(err, -EINVAL,
				 "'%s' is no private Ed25519 key in PEM "
				 "without a password (openssl genpkey "
				 "-algorithm ed25519)",
				 key_file);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return rc;
}

static bool verify(EVP_PKEY *key, const void *text, size_t len,
		   const void *signature)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool good = ctx &&
		    EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
		    EVP_DigestVerify(ctx, signature, WFS_SIGNATURE_BYTES, text,
				     len) == 1;

	EVP_MD_CTX_free(ctx);
	return good;
}

int wfs_sign_verify(const char *key_file, const void *text, size_t len,
		    const void *signature, size_t signature_len,
		    struct wfs_err *err)
{
	char *pem wfs_autofree = NULL;
	unsigned keys = 0;
	bool good = false;
	EVP_PKEY *key;
	BIO *bio = NULL;
	int rc = open_keys(key_file, &pem, &bio, err);

	if (rc)
		return rc;
	while (!good &&
	       (key = PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL))) {
		if (is_ed25519(key)) {
			keys++;
			good = signature_len == WFS_SIGNATURE_BYTES &&
			       verify(key, text, len, signature);
		}
		EVP_PKEY_free(key);
	}
	BIO_free(bio);
	if (good)
		return 0;
	if (!keys)
		return wfs_err_set(err, -EINVAL,
				   "'%s' holds no public Ed25519 key in PEM "
				   "(openssl pkey -pubout)",
				   key_file);
	return wfs_err_set(err, -EBADMSG,
			   "the signature is not one of the key '%s'",
			   key_file);
}
