/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking a seed for the digest manifest of a model, and believing it or not.
 *
 * It is believed when its root is the one that a model was configured with,
 * or when it has a signature of a key that was.  A seed whose digest manifest
 * is not believed may still offer the model, to names without a root, at the
 * trust class that every seed has.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/digest/sign.h"
#include "transport/remote/inner.h"

#define FILE_MS 30000

/* Has the copy that is to vouch for it said of which tree it is? */
static bool is_known(const struct wfs_choice *choice)
{
	static const uint8_t none[WFS_ROOT_BYTES];

	return memcmp(choice->root, none, sizeof(none)) != 0;
}

/* The roots that models of this seed and name must have. */
static bool is_pinned(const struct wfs_choice *choice,
		      const struct remote_seed *seed, const char *name)
{
	return choice->pinned && is_known(choice) &&
	       wfs_remote_may_offer(choice, seed) &&
	       !strcmp(choice->remote_name, name);
}

static bool wants_proof(struct remote_seed *seed, const char *name)
{
	struct wfs_remote *remote = seed->remote;
	bool wants = remote->trust_key;

	pthread_mutex_lock(&remote->lock);
	for (size_t i = 0; i < remote->choice_count; i++)
		wants |= is_pinned(&remote->choices[i], seed, name);
	pthread_mutex_unlock(&remote->lock);
	return wants;
}

int wfs_remote_get_bytes(struct remote_seed *seed,
			 const struct wfs_manifest_file *file, uint64_t len,
			 struct wfs_http *ret, struct wfs_err *err)
{
	char url[64], hex[2 * WFS_WIRE_ID_BYTES + 1];
	struct wfs_get request = {
		.path = url,
		.range = len < file->size ? len : 0,
		.limit = len,
		.timeout_ms = FILE_MS,
		.stop = &seed->remote->stop,
	};
	struct wfs_http http = { 0 };
	int rc;

	snprintf(url, sizeof(url), "/v1/regions/%s",
		 wfs_hex_format(file->id, sizeof(file->id), hex));
	rc = wfs_http_get(seed->link, seed->curl, &request, &http, err);
	if (!rc && (!http.body || http.len != len))
		rc = wfs_err_set(err, -EBADMSG,
				 "seed '%s': '%s' has not its size",
				 seed->link->label, file->path);
	if (rc)
		wfs_http_clear(&http);
	else
		*ret = http;
	return rc;
}

/* The whole of a file of the model's top; -ENOENT when it is not listed. */
static int get_file(struct remote_seed *seed,
		    const struct wfs_manifest *manifest, const char *path,
		    size_t limit, struct wfs_http *ret, struct wfs_err *err)
{
	const struct wfs_manifest_file *file =
		wfs_manifest_find(manifest, path);

	if (!file || file->is_dir)
		return wfs_err_set(err, -ENOENT, "there is no '%s'", path);
	if (file->size > limit)
		return wfs_err_set(err, -EFBIG, "'%s' has more than %zu bytes",
				   path, limit);
	return wfs_remote_get_bytes(seed, file, file->size, ret, err);
}

static int get_proof(struct remote_seed *seed,
		     const struct wfs_manifest *manifest,
		     struct wfs_proof **ret_proof, struct wfs_err *err)
{
	struct wfs_http text = { 0 }, signature = { 0 };
	int rc = get_file(seed, manifest, WFS_DIGEST_TREE_FILE,
			  WFS_DIGEST_TREE_MAX, &text, err);

	if (rc)
		return rc;
	rc = get_file(seed, manifest, WFS_DIGEST_TREE_SIGNATURE,
		      WFS_SIGNATURE_BYTES, &signature, err);
	if (rc && rc != -ENOENT && rc != -EBADMSG) {
		wfs_http_clear(&text);
		return rc;
	}
	return wfs_proof_new(wfs_steal_ptr(&text.body), text.len,
			     wfs_steal_ptr(&signature.body), signature.len,
			     ret_proof, err);
}

static int check_signature(const struct wfs_remote *remote,
			   struct wfs_proof *proof, struct wfs_err *err)
{
	int rc;

	if (!proof->signature)
		return wfs_err_set(err, -ENOKEY,
				   "its digest manifest has no signature "
				   "(weightfs digest --key)");
	rc = wfs_sign_verify(remote->trust_key, proof->text, proof->len,
			     proof->signature, proof->signature_len, err);
	proof->is_signed = !rc;
	return rc;
}

/* Is it the one of a name that was configured with a root? */
static int check_pins(struct remote_seed *seed, const char *name,
		      const struct wfs_proof *proof, struct wfs_err *err)
{
	struct wfs_remote *remote = seed->remote;
	char is[2 * WFS_ROOT_BYTES + 1], want[2 * WFS_ROOT_BYTES + 1] = "";
	bool good = false;

	pthread_mutex_lock(&remote->lock);
	for (size_t i = 0; i < remote->choice_count; i++) {
		const struct wfs_choice *choice = &remote->choices[i];

		if (!is_pinned(choice, seed, name))
			continue;
		wfs_hex_format(choice->root, WFS_ROOT_BYTES, want);
		good |= !memcmp(choice->root, proof->root, WFS_ROOT_BYTES);
	}
	pthread_mutex_unlock(&remote->lock);
	if (good || !*want)
		return 0;
	return wfs_err_set(err, -EBADMSG,
			   "its digest manifest is sha256:%s, not sha256:%s",
			   wfs_hex_format(proof->root, WFS_ROOT_BYTES, is),
			   want);
}

static bool any_pin(struct remote_seed *seed, const char *name)
{
	bool any = false;

	pthread_mutex_lock(&seed->remote->lock);
	for (size_t i = 0; i < seed->remote->choice_count; i++)
		any |= is_pinned(&seed->remote->choices[i], seed, name);
	pthread_mutex_unlock(&seed->remote->lock);
	return any;
}

/* 0 when somebody whom the operator named stands behind it. */
static int check(struct remote_seed *seed, const char *name,
		 struct wfs_proof *proof, struct wfs_err *err)
{
	struct wfs_err unsigned_why = { 0 };
	int rc;

	if (seed->remote->trust_key)
		check_signature(seed->remote, proof, &unsigned_why);
	rc = check_pins(seed, name, proof, err);
	if (rc || proof->is_signed || any_pin(seed, name))
		return rc;
	return wfs_err_set(err, unsigned_why.code, "%s", unsigned_why.text);
}

static int prove(struct remote_seed *seed, const struct remote_model *model,
		 struct wfs_manifest *manifest, struct wfs_err *err)
{
	const struct wfs_manifest *had = model->manifest;
	struct wfs_proof *proof;
	int rc;

	if (had && had->proof && !strcmp(had->version, manifest->version))
		return wfs_proof_apply(had->proof, manifest, err);
	rc = get_proof(seed, manifest, &proof, err);
	if (rc)
		return rc;
	rc = check(seed, model->name, proof, err);
	if (!rc)
		rc = wfs_proof_apply(proof, manifest, err);
	wfs_proof_put(proof);
	return rc;
}

void wfs_remote_prove(struct remote_seed *seed, struct remote_model *model,
		      struct wfs_manifest *manifest)
{
	char *text wfs_autofree = NULL;
	struct wfs_err err = { 0 };
	int rc;

	if (!wants_proof(seed, model->name))
		return;
	rc = prove(seed, model, manifest, &err);
	if (!rc) {
		free(wfs_steal_ptr(&model->doubt));
		return;
	}
	if (atomic_load(&seed->remote->stop))
		return;
	/* What failed on the way may be had next time. */
	model->again |= rc != -EBADMSG && rc != -ENOENT && rc != -ENOKEY;
	text = wfs_asprintf("seed '%s', model '%s': %s", seed->link->label,
			    model->name, err.text);
	wfs_remote_complain(&model->doubt, text);
}

bool wfs_choice_accepts(const struct wfs_choice *choice,
			const struct wfs_manifest *manifest)
{
	return !choice->pinned ||
	       (manifest->proof &&
		!memcmp(manifest->proof->root, choice->root, WFS_ROOT_BYTES));
}

enum wfs_trust wfs_choice_trust(const struct wfs_choice *choice,
				const struct wfs_manifest *manifest)
{
	if (!manifest->proof)
		return WFS_TRUST_SEED;
	if (manifest->proof->is_signed)
		return WFS_TRUST_SIGNED;
	return choice->pinned ? WFS_TRUST_ORIGIN : WFS_TRUST_SEED;
}

void wfs_remote_copy_vouch(struct wfs_remote_copy *copy,
			   const uint8_t root[WFS_ROOT_BYTES])
{
	struct wfs_remote *remote = copy->remote;
	struct wfs_choice *choice;

	pthread_mutex_lock(&remote->lock);
	choice = wfs_remote_choice_locked(remote, copy->name);
	if (choice && choice->vouched &&
	    memcmp(choice->root, root, WFS_ROOT_BYTES) != 0) {
		memcpy(choice->root, root, WFS_ROOT_BYTES);
		wfs_remote_choose_locked(remote);
		/* They are to prove that they have it. */
		for (size_t i = 0; i < remote->seed_count; i++) {
			remote->seeds[i]->doubted++;
			remote->seeds[i]->kicked = true;
		}
		pthread_cond_broadcast(&remote->changed);
	}
	pthread_mutex_unlock(&remote->lock);
}
