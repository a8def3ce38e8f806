/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digest manifest, and signatures under it.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/digest/digest_tree.h"
#include "core/digest/digests.h"
#include "core/digest/sign.h"
#include "tests/unit/memory_source.h"
#include "tests/unit/scratch.h"

static void add(struct wfs_digest_tree *tree, const char *path, uint64_t size)
{
	uint8_t root[WFS_ROOT_BYTES];
	struct wfs_err err = { 0 };

	wfs_digest_bytes(WFS_SHA256, path, strlen(path), root);
	if (wfs_digest_tree_add(tree, path, size, root, &err))
		fail_msg("%s", err.text);
}

static struct wfs_digest_tree three(void)
{
	struct wfs_digest_tree tree = { 0 };

	add(&tree, "a \"quoted\" \xc3\xa9", 0);
	add(&tree, "a/b.safetensors", UINT64_MAX);
	add(&tree, "config.json", 12);
	return tree;
}

static void the_root_is_the_hash_of_a_line_for_each_file(void **state)
{
	static const char lines[] =
		"bde8d7c7ff41e92b1c4a2cd6b96d6b2b6f5ab4dbb6f01b6e5bd8a8e9c2b3a7f1"
		"  7  a\n";
	struct wfs_digest_tree tree = { 0 };
	uint8_t root[WFS_ROOT_BYTES], want[WFS_ROOT_BYTES];

	(void)state;
	assert_int_equal(wfs_hex_parse(lines, 64, root, sizeof(root)), 0);
	assert_int_equal(wfs_digest_tree_add(&tree, "a", 7, root, NULL), 0);
	wfs_digest_tree_root(&tree, root);
	wfs_digest_bytes(WFS_SHA256, lines, strlen(lines), want);
	assert_memory_equal(root, want, sizeof(root));
	wfs_digest_tree_clear(&tree);
	wfs_digest_tree_root(&tree, root);
	wfs_digest_bytes(WFS_SHA256, "", 0, want);
	assert_memory_equal(root, want, sizeof(root));
}

static void what_is_written_is_read(void **state)
{
	struct wfs_digest_tree tree = three(), back = { 0 };
	struct wfs_text text = { 0 };
	struct wfs_err err = { 0 };

	(void)state;
	wfs_digest_tree_encode(&tree, &text);
	if (wfs_digest_tree_parse(text.data, text.len, &back, &err))
		fail_msg("%s", err.text);
	assert_int_equal(back.count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_string_equal(back.files[i].path, tree.files[i].path);
		assert_int_equal(back.files[i].size, tree.files[i].size);
		assert_memory_equal(back.files[i].root, tree.files[i].root,
				    WFS_ROOT_BYTES);
		assert_ptr_equal(wfs_digest_tree_find(&back,
						      tree.files[i].path),
				 &back.files[i]);
	}
	assert_null(wfs_digest_tree_find(&back, "a"));
	assert_null(wfs_digest_tree_find(&back, "zz"));
	free(text.data);
	wfs_digest_tree_clear(&tree);
	wfs_digest_tree_clear(&back);
	assert_null(wfs_digest_tree_find(&back, "a"));
}

static void paths_that_lead_away_or_forge_a_line_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"/a",
		"a/",
		"a//b",
		".",
		"..",
		"../a",
		"a/..",
		"a/./b",
		"a\nb",
		"a\tb",
		"\x7f",
		"\xff",
		"\xc0\x80",
		WFS_DIGEST_TREE_FILE,
		"a\x1b[1m",
		WFS_DIGEST_TREE_SIGNATURE,
	};
	static const uint8_t root[WFS_ROOT_BYTES];
	struct wfs_digest_tree tree = { 0 };
	struct wfs_err err = { 0 };

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(wfs_digest_tree_add(&tree, bad[i], 1, root,
						     &err),
				 -EINVAL);
	assert_int_equal(tree.count, 0);
	/* In a sub-directory it is a file as any other. */
	add(&tree, "...", 1);
	add(&tree, "a/" WFS_DIGEST_TREE_FILE, 1);
	assert_int_equal(wfs_digest_tree_add(&tree, "a", 1, root, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "byte order"));
	assert_int_equal(wfs_digest_tree_add(&tree, tree.files[1].path, 1, root,
					     &err),
			 -EINVAL);
	wfs_digest_tree_clear(&tree);
}

static void refused(const char *text, size_t len)
{
	struct wfs_digest_tree tree = { 0 };
	struct wfs_err err = { 0 };

	assert_int_equal(wfs_digest_tree_parse(text, len, &tree, &err),
			 -EBADMSG);
	assert_int_equal(err.code, -EBADMSG);
	assert_true(*err.text);
	assert_null(tree.files);
}

static void any_other_spelling_is_refused(void **state)
{
	struct wfs_digest_tree tree = three();
	struct wfs_text text = { 0 };

	(void)state;
	wfs_digest_tree_encode(&tree, &text);
	for (size_t i = 0; i < text.len; i++) {
		refused(text.data, i);
		text.data[i] ^= 1;
		refused(text.data, text.len);
		text.data[i] ^= 1;
	}
	wfs_text_add(&text, "\n");
	refused(text.data, text.len);
	free(text.data);
	wfs_digest_tree_clear(&tree);
}

static void another_version_is_refused_naming_both(void **state)
{
	static const char text[] = "{\"version\": 2, \"files\": []}";
	struct wfs_digest_tree tree = { 0 };
	struct wfs_err err = { 0 };

	(void)state;
	assert_int_equal(wfs_digest_tree_parse(text, strlen(text), &tree, &err),
			 -EBADMSG);
	assert_non_null(strstr(err.text, "version 2"));
	assert_non_null(strstr(err.text, "version 1"));
}

static void a_source_has_a_manifest_or_not(void **state)
{
	struct wfs_digest_tree tree = three(), back = { 0 };
	struct wfs_text text = { 0 };
	struct wfs_err err = { 0 };
	struct memory_source *m;

	(void)state;
	wfs_digest_tree_encode(&tree, &text);
	m = memory_source_new((unsigned char *)text.data, text.len);
	assert_int_equal(wfs_digest_tree_load(&m->base, &back, &err), -ENOENT);
	m->entry.path = m->region.path = WFS_DIGEST_TREE_FILE;
	assert_int_equal(wfs_digest_tree_load(&m->base, &back, &err), 0);
	assert_int_equal(back.count, 3);
	wfs_digest_tree_clear(&back);
	text.data[0] = '[';
	assert_int_equal(wfs_digest_tree_load(&m->base, &back, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "'" WFS_DIGEST_TREE_FILE "' of '"));
	atomic_store(&m->fail_read, -EIO);
	assert_int_equal(wfs_digest_tree_load(&m->base, &back, &err), -EIO);
	wfs_source_put(&m->base);
	free(text.data);
	wfs_digest_tree_clear(&tree);
}

/* A new key of that kind, as two PEM files; `mode` is of fopen. */
static void make_keys(const struct scratch *s, int kind, const char *mode)
{
	char *path wfs_autofree = scratch_path(s, "key");
	char *public_path wfs_autofree = scratch_path(s, "key.pub");
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(kind, NULL);
	EVP_PKEY *key = NULL;
	FILE *file;

	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
	file = fopen(path, mode);
	assert_int_equal(
		PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(file);
	file = fopen(public_path, mode);
	assert_int_equal(PEM_write_PUBKEY(file, key), 1);
	fclose(file);
	EVP_PKEY_free(key);
	EVP_PKEY_CTX_free(ctx);
}

static void a_signature_is_good_for_its_text_and_key_alone(void **state)
{
	struct scratch *s = *state;
	char *key wfs_autofree = scratch_path(s, "key");
	char *public_key wfs_autofree = scratch_path(s, "key.pub");
	uint8_t sig[WFS_SIGNATURE_BYTES];
	struct wfs_err err = { 0 };

	make_keys(s, EVP_PKEY_ED25519, "w");
	assert_int_equal(wfs_sign(key, "text", 4, sig, &err), 0);
	assert_int_equal(wfs_sign_verify(public_key, "text", 4, sig,
					 sizeof(sig), &err),
			 0);
	assert_int_equal(wfs_sign_verify(public_key, "texT", 4, sig,
					 sizeof(sig), &err),
			 -EBADMSG);
	assert_int_equal(wfs_sign_verify(public_key, "text", 4, sig,
					 sizeof(sig) - 1, &err),
			 -EBADMSG);
	for (unsigned i = 0; i < sizeof(sig); i++) {
		sig[i] ^= 4;
		assert_int_equal(wfs_sign_verify(public_key, "text", 4, sig,
						 sizeof(sig), &err),
				 -EBADMSG);
		sig[i] ^= 4;
	}
	/* One more key in the file, for when keys are changed. */
	make_keys(s, EVP_PKEY_ED25519, "a");
	assert_int_equal(wfs_sign_verify(public_key, "text", 4, sig,
					 sizeof(sig), &err),
			 0);
	make_keys(s, EVP_PKEY_ED25519, "w");
	assert_int_equal(wfs_sign_verify(public_key, "text", 4, sig,
					 sizeof(sig), &err),
			 -EBADMSG);
	assert_non_null(strstr(err.text, public_key));
}

static void what_is_no_such_key_is_refused_by_name(void **state)
{
	struct scratch *s = *state;
	char *key wfs_autofree = scratch_path(s, "key");
	char *public_key wfs_autofree = scratch_path(s, "key.pub");
	char *none wfs_autofree = scratch_path(s, "none");
	uint8_t sig[WFS_SIGNATURE_BYTES] = { 0 };
	struct wfs_err err = { 0 };

	assert_int_equal(wfs_sign(none, "", 0, sig, &err), -ENOENT);
	assert_int_equal(wfs_sign_verify(none, "", 0, sig, 64, &err), -ENOENT);
	make_keys(s, EVP_PKEY_X25519, "w");
	assert_int_equal(wfs_sign(key, "", 0, sig, &err), -EINVAL);
	assert_non_null(strstr(err.text, key));
	assert_int_equal(wfs_sign_verify(public_key, "", 0, sig, 64, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, public_key));
	make_keys(s, EVP_PKEY_ED25519, "w");
	/* The wrong half of the pair. */
	assert_int_equal(wfs_sign(public_key, "", 0, sig, &err), -EINVAL);
	assert_int_equal(wfs_sign_verify(key, "", 0, sig, 64, &err), -EINVAL);
	scratch_write(s, "key", "not PEM\n", 0);
	assert_int_equal(wfs_sign(key, "", 0, sig, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_root_is_the_hash_of_a_line_for_each_file),
		T(what_is_written_is_read),
		T(paths_that_lead_away_or_forge_a_line_are_refused),
		T(any_other_spelling_is_refused),
		T(another_version_is_refused_naming_both),
		T(a_source_has_a_manifest_or_not),
		cmocka_unit_test_setup_teardown(
			a_signature_is_good_for_its_text_and_key_alone,
			scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			what_is_no_such_key_is_refused_by_name, scratch_setup,
			scratch_teardown),
	};

	return cmocka_run_group_tests_name("digest_tree", tests, NULL, NULL);
}
