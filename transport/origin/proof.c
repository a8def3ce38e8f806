/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes an origin's bytes more than its word: the digest manifest that
 * lies among the files, under a root or a key of the operator's.  The lists
 * of chunk digests lie beside it, in the manifest's order; that of a file is
 * asked for when the file is first read, and hashes to its root or is none.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cond.h"
#include "core/base/hex.h"
#include "core/base/text.h"
#include "core/digest/proof.h"
#include "core/digest/sign.h"
#include "transport/origin/inner.h"
#include "transport/origin/s3.h"

#define NS_PER_S 1000000000ull
#define RETRY_NS NS_PER_S
#define NAP_NS	 (NS_PER_S / 10)

struct origin_proof {
	struct wfs_proof *of;
	uint64_t *at;	    /* where each file's list begins */
	uint64_t lists_len; /* bytes of all of them */
};

const uint8_t *wfs_origin_proof_root(const struct origin_proof *proof)
{
	return proof->of->root;
}

void wfs_origin_proof_free(struct origin_proof *proof)
{
	if (!proof)
		return;
	wfs_proof_put(proof->of);
	free(proof->at);
	free(proof);
}

enum wfs_trust wfs_origin_proof_trust(const struct origin_proof *proof)
{
	return proof->of->is_signed ? WFS_TRUST_SIGNED : WFS_TRUST_ORIGIN;
}

const char *wfs_origin_proof_bytes(const struct origin_proof *proof,
				   const char *path)
{
	size_t len;

	return wfs_proof_bytes(proof->of, path, &len);
}

/* A whole small file, or with `range` that of a large one. */
static int get(struct origin *o, CURL *curl, const char *path,
	       struct wfs_web_request *request, char **ret_text,
	       size_t *ret_len, struct wfs_err *err)
{
	char *url wfs_autofree = wfs_web_url(&o->site, path);
	char *text wfs_autofree = NULL;
	struct wfs_web_head head;
	int rc;

	request->url = url;
	rc = wfs_web_ask(&o->site, curl, request, &head, &text, ret_len, err);
	if (rc)
		return rc;
	if (head.status == 404 || head.status == 410)
		return wfs_err_set(err, -ENOENT,
				   "'%s%s' is not there: weightfs digest "
				   "writes it",
				   o->site.label, path);
	if (head.status != 200 && head.status != 206)
		return o->site.aws ?
			       wfs_s3_explain(&o->site, path, &head, text,
					      *ret_len, err) :
			       wfs_err_set(err, -EIO,
					   "'%s%s': the server answers %ld",
					   o->site.label, path, head.status);
	*ret_text = wfs_steal_ptr(&text);
	return 0;
}

static int read_proof(struct origin *o, struct wfs_proof **ret_proof,
		      struct wfs_err *err)
{
	char *text wfs_autofree = NULL, *signed_by wfs_autofree = NULL;
	size_t len = 0, signed_len = 0;
	struct wfs_web_request manifest = { .limit = WFS_DIGEST_TREE_MAX };
	struct wfs_web_request signature = { .limit = 4096 };
	CURL *curl = curl_easy_init();
	int rc;

	if (!curl) {
		wfs_err_set(err, -ENOMEM, "libcurl gives no handle");
		return -ENOMEM;
	}
	rc = get(o, curl, WFS_DIGEST_TREE_FILE, &manifest, &text, &len, err);
	if (!rc && o->origins->trust_key) {
		rc = get(o, curl, WFS_DIGEST_TREE_SIGNATURE, &signature,
			 &signed_by, &signed_len, err);
		rc = rc == -ENOENT ? 0 : rc;
	}
	curl_easy_cleanup(curl);
	if (rc)
		return rc;
	rc = wfs_proof_new(wfs_steal_ptr(&text), len, wfs_steal_ptr(&signed_by),
			   signed_len, ret_proof, err);
	if (rc)
		wfs_err_prefix(err, "'%s" WFS_DIGEST_TREE_FILE "'",
			       o->site.label);
	return rc;
}

/* Is it the operator's? */
static int check_proof(struct origin *o, struct wfs_proof *proof,
		       const uint8_t *root, struct wfs_err *err)
{
	char has[2 * WFS_ROOT_BYTES + 1], want[2 * WFS_ROOT_BYTES + 1];
	struct wfs_err why = { 0 };
	int rc = -ENOKEY;

	if (o->origins->trust_key && proof->signature)
		rc = wfs_sign_verify(o->origins->trust_key, proof->text,
				     proof->len, proof->signature,
				     proof->signature_len, &why);
	proof->is_signed = !rc;
	if (root && memcmp(root, proof->root, WFS_ROOT_BYTES) != 0)
		return wfs_err_set(
			err, -EBADMSG,
			"the digest manifest of '%s' is sha256:%s, not "
			"sha256:%s",
			o->site.label,
			wfs_hex_format(proof->root, WFS_ROOT_BYTES, has),
			wfs_hex_format(root, WFS_ROOT_BYTES, want));
	if (root || proof->is_signed)
		return 0;
	return wfs_err_set(err, rc, "the digest manifest of '%s' %s",
			   o->site.label,
			   why.code ? why.text :
				      "has no signature (weightfs digest "
				      "--key)");
}

static int find_by_path(const void *key, const void *member)
{
	return strcmp(key, ((const struct wfs_web_file *)member)->path);
}

static bool size_of(const void *origin, const char *path, uint64_t *ret_size)
{
	const struct origin *o = origin;
	const struct wfs_web_file *file = bsearch(path, o->listing.files,
						  o->listing.count,
						  sizeof(*file), find_by_path);

	if (file)
		*ret_size = file->size;
	return file;
}

static int check_complete(struct origin *o, const struct wfs_proof *proof,
			  struct wfs_err *err)
{
	const char *missing = wfs_proof_misses(proof, size_of, o);

	if (!missing)
		return 0;
	return wfs_err_set(err, -EBADMSG,
			   "'%s%s' is not there with the size that its digest "
			   "manifest says",
			   o->site.label, missing);
}

/* What nothing vouches for is not shown. */
static void apply(struct origin *o, struct wfs_proof *of)
{
	struct origin_proof *proof = wfs_calloc(1, sizeof(*proof));
	const struct wfs_digest_file *said;
	size_t kept = 0;

	for (size_t i = 0; i < o->listing.count; i++) {
		struct wfs_web_file *file = &o->listing.files[i];

		if (wfs_proof_covers(of, file->path, file->size, &said))
			o->listing.files[kept++] = *file;
		else
			free(file->path);
	}
	o->listing.count = kept;
	proof->of = of;
	proof->at = wfs_calloc(of->tree.count + 1, sizeof(*proof->at));
	for (size_t i = 0; i < of->tree.count; i++) {
		proof->at[i] = proof->lists_len;
		proof->lists_len += wfs_digests_encoded_size(
			WFS_SHA256, of->tree.files[i].size);
	}
	o->proof = proof;
}

int wfs_origin_prove(struct origin *o, const uint8_t *root, struct wfs_err *err)
{
	struct wfs_proof *proof = NULL;
	int rc = read_proof(o, &proof, err);

	if (!rc)
		rc = check_proof(o, proof, root, err);
	if (!rc)
		rc = check_complete(o, proof, err);
	if (!rc) {
		apply(o, proof);
		return 0;
	}
	wfs_proof_put(proof);
	if (root || rc == -ESHUTDOWN)
		return rc;
	/* It is worth what an origin without a proof is. */
	wfs_origin_tell(o->origins, "%s", err->text);
	*err = (struct wfs_err){ 0 };
	return 0;
}

static int get_list(struct origin *o, CURL *curl, size_t index,
		    struct wfs_digests **ret, struct wfs_err *err)
{
	const struct origin_proof *proof = o->proof;
	const struct wfs_digest_file *file = &proof->of->tree.files[index];
	uint64_t at = proof->at[index];
	size_t want = wfs_digests_encoded_size(WFS_SHA256, file->size), len;
	struct wfs_web_request request = { .limit = want };
	char *text wfs_autofree = NULL;
	char range[64];
	int rc;

	if (o->listing.no_ranges)
		request.limit = proof->lists_len;
	snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)at,
		 (unsigned long long)(at + want - 1));
	request.range = o->listing.no_ranges ? NULL : range;
	rc = get(o, curl, WFS_DIGEST_LISTS_FILE, &request, &text, &len, err);
	if (rc)
		return rc;
	if (o->listing.no_ranges && len == proof->lists_len)
		len = want;
	else
		at = 0;
	if (wfs_digests_parse(text + at, len, WFS_SHA256, file->size,
			      file->root, ret, err))
		return wfs_err_prefix(err,
				      "'%s" WFS_DIGEST_LISTS_FILE "', '%s'",
				      o->site.label, file->path);
	return 0;
}

/* One try. */
static int fetch_list(struct origin *o, struct origin_region *region,
		      const struct wfs_digest_file *file)
{
	const struct wfs_digest_tree *tree = &o->proof->of->tree;
	struct wfs_digests *digests = NULL;
	struct wfs_err err = { 0 };
	CURL *curl = curl_easy_init();
	int rc;

	if (!curl)
		return -ENOMEM;
	rc = get_list(o, curl, (size_t)(file - tree->files), &digests, &err);
	curl_easy_cleanup(curl);
	if (rc)
		wfs_origin_tell(o->origins, "%s", err.text);
	else
		wfs_far_trust(region->far, digests);
	return rc;
}

static int nap(const atomic_bool *stop, uint64_t end)
{
	if (atomic_load(stop))
		return -ESHUTDOWN;
	if (wfs_now_ns() >= end)
		return -EIO;
	usleep(NAP_NS / 1000);
	return 0;
}

int wfs_origin_await_list(struct origin *o, struct origin_region *region)
{
	const struct wfs_digest_file *file =
		wfs_digest_tree_find(&o->proof->of->tree, region->base.path);
	uint64_t end = wfs_now_ns() + o->origins->deadline_ns;
	bool asked = false;
	int rc = 0;

	while (!rc && !wfs_far_is_trusted(region->far)) {
		bool tried = false;

		pthread_mutex_lock(&o->list_lock);
		if (!wfs_far_is_trusted(region->far) &&
		    region->retry_at <= wfs_now_ns()) {
			tried = fetch_list(o, region, file) != 0;
			region->retry_at = wfs_now_ns() + RETRY_NS;
		}
		pthread_mutex_unlock(&o->list_lock);
		/* They may hang: the server has its time after that as well. */
		if (tried && !asked) {
			wfs_origin_ask_others(o, region, file->root);
			asked = true;
			end = wfs_now_ns() + o->origins->deadline_ns;
		}
		if (!wfs_far_is_trusted(region->far))
			rc = nap(&o->origins->stop, end);
	}
	return rc;
}
