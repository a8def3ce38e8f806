/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See listing.h.  First the names, then the head of each file.
 */
#include "transport/origin/listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/digest/digest_tree.h"
#include "core/model/index.h"
#include "core/model/names.h"

#define INDEX	  "model.safetensors.index.json"
#define PAGE_MAX  (16u << 20) /* bytes of a directory's page */
#define DEPTH_MAX 4

/* What checkpoints have beside their weights, where nothing lists it. */
static const char *const usual[] = {
	"config.json",
	"generation_config.json",
	"tokenizer.json",
	"tokenizer_config.json",
	"tokenizer.model",
	"special_tokens_map.json",
	"added_tokens.json",
	"vocab.json",
	"vocab.txt",
	"merges.txt",
	"chat_template.jinja",
	"chat_template.json",
	"preprocessor_config.json",
	"processor_config.json",
	"quantize_config.json",
	"hf_quant_config.json",
	"recipe.yaml",
	"README.md",
	"LICENSE",
	"model.safetensors",
	INDEX,
};

/* A look at one site. */
struct look {
	const struct wfs_site *site;
	CURL *curl;
	char **names; /* paths that may be there */
	size_t count, cap;
	bool sure; /* they are: somebody lists them */
	struct wfs_err *err;
};

static int add(struct look *look, const char *dir, const char *name)
{
	char *path = wfs_asprintf("%s%s", dir, name);
	const char *why = NULL;

	if (!wfs_name_is_path(path))
		why = "which is no path below it";
	else if (look->count == WFS_WEB_FILES_MAX)
		why = "one file more than a checkpoint may have";
	if (why) {
		int rc = wfs_err_set(look->err, -EBADMSG, "'%s' lists '%s', %s",
				     look->site->base, path, why);

		free(path);
		return rc;
	}
	if (look->count == look->cap) {
		look->cap = look->cap ? look->cap * 2 : 64;
		look->names = wfs_realloc(look->names,
					  look->cap * sizeof(*look->names));
	}
	look->names[look->count++] = path;
	return 0;
}

/* 1: the file is there, in *ret_body; 0: it is not; or a negative errno. */
static int get(struct look *look, const char *path, size_t limit,
	       struct wfs_web_head *head, char **ret_body, size_t *ret_len)
{
	char *body = NULL;
	int rc = wfs_web_get(look->site, look->curl, path, limit, head, &body,
			     ret_len, look->err);

	if (rc)
		return rc;
	if (head->status == 200) {
		if (ret_body)
			*ret_body = body;
		return 1;
	}
	free(body);
	if (head->status == 404 || head->status == 410)
		return 0;
	return wfs_err_set(
		look->err,
		head->status == 401 || head->status == 403 ? -EACCES : -EIO,
		"'%s%s': the server answers %ld", look->site->base, path,
		head->status);
}

static int names_of_manifest(struct look *look, bool *ret_found)
{
	struct wfs_digest_tree tree = { 0 };
	char *text wfs_autofree = NULL;
	struct wfs_web_head head;
	size_t len;
	int rc = get(look, WFS_DIGEST_TREE_FILE, WFS_DIGEST_TREE_MAX, &head,
		     &text, &len);

	if (rc <= 0 || head.is_html) /* some have a page for everything */
		return rc == -EACCES || rc > 0 ? 0 : rc;
	rc = wfs_digest_tree_parse(text, len, &tree, look->err);
	if (rc)
		return wfs_err_prefix(look->err, "'%s%s'", look->site->base,
				      WFS_DIGEST_TREE_FILE);
	for (size_t i = 0; i < tree.count && !rc; i++)
		rc = add(look, "", tree.files[i].path);
	if (!rc)
		rc = add(look, "", WFS_DIGEST_TREE_FILE);
	/* Those may be there. */
	if (!rc)
		rc = add(look, "", WFS_DIGEST_TREE_SIGNATURE);
	if (!rc)
		rc = add(look, "", WFS_DIGEST_LISTS_FILE);
	wfs_digest_tree_clear(&tree);
	*ret_found = true;
	return rc;
}

/* The directory's page and those below it. */
static int names_of_pages(struct look *look, const char *dir, int depth,
			  bool *ret_found)
{
	char *page wfs_autofree = NULL, *names wfs_autofree = NULL;
	struct wfs_web_head head;
	size_t len, count;
	const char *name;
	int rc = get(look, dir, PAGE_MAX, &head, &page, &len);

	if (rc <= 0 || !head.is_html)
		return rc == -EACCES || rc == -EFBIG || rc > 0 ? 0 : rc;
	count = wfs_web_links(page, len, &names);
	name = names;
	for (size_t i = 0; i < count; i++, name += strlen(name) + 1) {
		char *below wfs_autofree = NULL;

		if (name[strlen(name) - 1] != '/') {
			rc = add(look, dir, name);
		} else if (depth < DEPTH_MAX && name[0] != '.') {
			below = wfs_asprintf("%s%s", dir, name);
			rc = names_of_pages(look, below, depth + 1, ret_found);
		}
		if (rc < 0)
			return rc;
	}
	*ret_found |= count > 0;
	return 0;
}

static int names_of_index(struct look *look)
{
	struct wfs_index index;
	char *text wfs_autofree = NULL;
	struct wfs_web_head head;
	size_t len = 0;
	int rc = 0;

	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]) && !rc; i++)
		rc = add(look, "", usual[i]);
	if (!rc)
		rc = get(look, INDEX, WFS_INDEX_MAX, &head, &text, &len);
	if (rc <= 0)
		return rc;
	rc = wfs_index_parse(text, len, INDEX, &index, look->err);
	if (rc)
		return wfs_err_prefix(look->err, "'%s'", look->site->base);
	for (uint32_t i = 0; i < index.file_count && !rc; i++)
		rc = add(look, "", index.files[i]);
	wfs_index_clear(&index);
	return rc;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void take_head(struct wfs_web_file *file,
		      const struct wfs_web_head *head)
{
	time_t when = curl_getdate(head->modified, NULL);

	file->size = head->size;
	file->mtime.tv_sec = when > 0 ? when : 0;
	/* A weak one does not promise the same bytes. */
	if (head->etag[0] == '"')
		strcpy(file->etag, head->etag);
	strcpy(file->modified, head->modified);
}

/* Asks for the head of each name. */
static int read_heads(struct look *look, struct wfs_web_listing *listing)
{
	listing->files = wfs_calloc(look->count + 1, sizeof(*listing->files));
	for (size_t i = 0; i < look->count; i++) {
		struct wfs_web_file *file = &listing->files[listing->count];
		struct wfs_web_head head;
		size_t len;
		int rc;

		if (i && !strcmp(look->names[i - 1], look->names[i]))
			continue;
		rc = get(look, look->names[i], 0, &head, NULL, &len);
		if (rc < 0)
			return rc;
		if (!rc && look->sure &&
		    !wfs_digest_tree_leaves_out(look->names[i]))
			return wfs_err_set(look->err, -ENOENT,
					   "'%s' lists '%s', but does not have "
					   "it",
					   look->site->base, look->names[i]);
		if (!rc)
			continue;
		if (!head.has_size)
			return wfs_err_set(look->err, -EBADMSG,
					   "'%s%s': the server does not tell "
					   "how large it is",
					   look->site->base, look->names[i]);
		take_head(file, &head);
		file->path = wfs_strdup(look->names[i]);
		listing->count++;
	}
	return 0;
}

/* Takes the one byte of a range, and nothing of a whole file. */
static size_t on_range(char *data, size_t size, size_t count, void *ctx)
{
	const struct wfs_web_head *head = ctx;

	(void)data;
	return head->status == 206 ? size * count : 0;
}

/* Does the server answer ranges?  The largest file says. */
static int try_range(struct look *look, struct wfs_web_listing *listing)
{
	const struct wfs_web_file *large = NULL;
	char *url wfs_autofree = NULL;
	struct wfs_web_head head = { 0 };
	CURLcode code;

	for (size_t i = 0; i < listing->count; i++) {
		if (!large || listing->files[i].size > large->size)
			large = &listing->files[i];
	}
	if (!large || large->size < 2)
		return 0;
	url = wfs_web_url(look->site, large->path);
	curl_easy_reset(look->curl);
	wfs_web_setup(look->site, look->curl, &head);
	curl_easy_setopt(look->curl, CURLOPT_URL, url);
	curl_easy_setopt(look->curl, CURLOPT_RANGE, "1-1");
	curl_easy_setopt(look->curl, CURLOPT_WRITEFUNCTION, on_range);
	curl_easy_setopt(look->curl, CURLOPT_WRITEDATA, &head);
	code = curl_easy_perform(look->curl);
	if (code != CURLE_OK && code != CURLE_WRITE_ERROR)
		return wfs_err_set(look->err, wfs_web_code(code),
				   "cannot read '%s': %s", url,
				   curl_easy_strerror(code));
	listing->no_ranges = head.status != 206;
	if (listing->no_ranges)
		wfs_warn("'%s': the server ignores ranges, so files are read "
			 "from their start, over one connection",
			 look->site->base);
	return 0;
}

static int find_names(struct look *look)
{
	int rc = names_of_manifest(look, &look->sure);

	if (!rc && !look->sure)
		rc = names_of_pages(look, "", 0, &look->sure);
	if (!rc && !look->sure)
		rc = names_of_index(look);
	if (!rc && look->count)
		qsort(look->names, look->count, sizeof(*look->names), by_name);
	return rc;
}

int wfs_web_list(const struct wfs_site *site,
		 struct wfs_web_listing *ret_listing, struct wfs_err *err)
{
	struct wfs_web_listing listing = { 0 };
	struct look look = { .site = site,
			     .curl = curl_easy_init(),
			     .err = err };
	int rc;

	if (!look.curl)
		return wfs_err_set(err, -ENOMEM, "libcurl gives no handle");
	rc = find_names(&look);
	if (!rc)
		rc = read_heads(&look, &listing);
	if (!rc)
		rc = try_range(&look, &listing);
	if (!rc && !listing.count)
		rc = wfs_err_set(err, -ENOENT,
				 "'%s' has no checkpoint: no %s, no page that "
				 "lists files, no " INDEX
				 " and no model.safetensors",
				 site->base, WFS_DIGEST_TREE_FILE);
	curl_easy_cleanup(look.curl);
	for (size_t i = 0; i < look.count; i++)
		free(look.names[i]);
	free(look.names);
	if (rc) {
		wfs_web_listing_clear(&listing);
		return rc;
	}
	*ret_listing = listing;
	return 0;
}

void wfs_web_listing_clear(struct wfs_web_listing *listing)
{
	for (size_t i = 0; i < listing->count; i++)
		free(listing->files[i].path);
	free(listing->files);
	*listing = (struct wfs_web_listing){ 0 };
}
