/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing and reading the digest manifest.
 */
#include "core/digest/digest_tree.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/base/json.h"
#include "core/digest/digests.h"
#include "core/model/names.h"

#define VERSION	 1
#define HEX_ROOM (2 * WFS_ROOT_BYTES + 1)

void wfs_digest_tree_clear(struct wfs_digest_tree *tree)
{
	for (size_t i = 0; i < tree->count; i++)
		free(tree->files[i].path);
	free(tree->files);
	*tree = (struct wfs_digest_tree){ 0 };
}

bool wfs_digest_tree_leaves_out(const char *path)
{
	return !strcmp(path, WFS_DIGEST_TREE_FILE) ||
	       !strcmp(path, WFS_DIGEST_TREE_SIGNATURE) ||
	       !strcmp(path, WFS_DIGEST_LISTS_FILE);
}

/* Every component is a name, and nothing is there that could forge a line. */
static bool is_legal(const char *path)
{
	size_t len = strlen(path);

	if (wfs_utf8_span(path, len) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
			return false;
	return wfs_name_is_path(path);
}

int wfs_digest_tree_add(struct wfs_digest_tree *tree, const char *path,
			uint64_t size, const uint8_t root[WFS_ROOT_BYTES],
			struct wfs_err *err)
{
	struct wfs_digest_file *file;

	if (!is_legal(path) || wfs_digest_tree_leaves_out(path))
		return wfs_err_set(err, -EINVAL,
				   "a digest manifest cannot name '%s': rename "
				   "the file",
				   path);
	if (tree->count && strcmp(tree->files[tree->count - 1].path, path) >= 0)
		return wfs_err_set(err, -EINVAL,
				   "'%s' is not in byte order after '%s'", path,
				   tree->files[tree->count - 1].path);
	if (tree->count == tree->cap) {
		tree->cap = tree->cap ? 2 * tree->cap : 16;
		tree->files = wfs_realloc(tree->files,
					  tree->cap * sizeof(*tree->files));
	}
	file = &tree->files[tree->count++];
	file->path = wfs_strdup(path);
	file->size = size;
	memcpy(file->root, root, WFS_ROOT_BYTES);
	return 0;
}

static int compare(const void *path, const void *file)
{
	return strcmp(path, ((const struct wfs_digest_file *)file)->path);
}

const struct wfs_digest_file *
wfs_digest_tree_find(const struct wfs_digest_tree *tree, const char *path)
{
	if (!tree->count)
		return NULL;
	return bsearch(path, tree->files, tree->count, sizeof(*tree->files),
		       compare);
}

void wfs_digest_tree_root(const struct wfs_digest_tree *tree,
			  uint8_t ret_root[WFS_ROOT_BYTES])
{
	struct wfs_text lines = { 0 };
	char hex[HEX_ROOM];

	for (size_t i = 0; i < tree->count; i++) {
		const struct wfs_digest_file *file = &tree->files[i];

		wfs_text_add(&lines, "%s  %" PRIu64 "  %s\n",
			     wfs_hex_format(file->root, WFS_ROOT_BYTES, hex),
			     file->size, file->path);
	}
	wfs_digest_bytes(WFS_SHA256, lines.data ? lines.data : "", lines.len,
			 ret_root);
	free(lines.data);
}

void wfs_digest_tree_encode(const struct wfs_digest_tree *tree,
			    struct wfs_text *text)
{
	uint8_t root[WFS_ROOT_BYTES];
	char hex[HEX_ROOM];

	wfs_digest_tree_root(tree, root);
	wfs_text_add(text,
		     "{\n  \"version\": %d,\n  \"chunk_bytes\": %u,\n"
		     "  \"tree_sha256\": \"%s\",\n  \"files\": [",
		     VERSION, WFS_CHUNK,
		     wfs_hex_format(root, sizeof(root), hex));
	for (size_t i = 0; i < tree->count; i++) {
		const struct wfs_digest_file *file = &tree->files[i];

		wfs_text_add(text, "%s\n    {\"path\": ", i ? "," : "");
		wfs_text_add_json(text, file->path);
		wfs_text_add(text,
			     ", \"size\": %" PRIu64 ", \"sha256\": \"%s\"}",
			     file->size,
			     wfs_hex_format(file->root, WFS_ROOT_BYTES, hex));
	}
	wfs_text_add(text, "%s]\n}\n", tree->count ? "\n  " : "");
}

static int parse_file(yyjson_val *val, struct wfs_digest_tree *tree,
		      struct wfs_err *err)
{
	yyjson_val *path = yyjson_obj_get(val, "path");
	yyjson_val *size = yyjson_obj_get(val, "size");
	yyjson_val *hex = yyjson_obj_get(val, "sha256");
	struct wfs_err why = { 0 };
	uint8_t root[WFS_ROOT_BYTES];

	if (!yyjson_is_str(path) || !yyjson_is_uint(size) ||
	    !yyjson_is_str(hex) ||
	    strlen(yyjson_get_str(path)) != yyjson_get_len(path) ||
	    wfs_hex_parse(yyjson_get_str(hex), yyjson_get_len(hex), root,
			  sizeof(root)))
		return wfs_err_set(err, -EBADMSG,
				   "not a digest manifest: file %zu is not one "
				   "with path, size and sha256",
				   tree->count);
	if (wfs_digest_tree_add(tree, yyjson_get_str(path),
				yyjson_get_uint(size), root, &why))
		return wfs_err_set(err, -EBADMSG, "not a digest manifest: %s",
				   why.text);
	return 0;
}

static int parse_root(yyjson_val *root, struct wfs_digest_tree *tree,
		      struct wfs_err *err)
{
	yyjson_val *version = yyjson_obj_get(root, "version");
	yyjson_val *files = yyjson_obj_get(root, "files");
	yyjson_val *file;
	size_t i, n;

	if (!yyjson_is_uint(version) || !yyjson_is_arr(files))
		return wfs_err_set(err, -EBADMSG,
				   "not a digest manifest: it has no version "
				   "or no files");
	if (yyjson_get_uint(version) != VERSION)
		return wfs_err_set(err, -EBADMSG,
				   "a digest manifest of version %" PRIu64
				   ", and this weightfs reads version %d",
				   yyjson_get_uint(version), VERSION);
	yyjson_arr_foreach(files, i, n, file)
	{
		int rc = parse_file(file, tree, err);

		if (rc)
			return rc;
	}
	return 0;
}

static int check_spelling(const struct wfs_digest_tree *tree, const char *text,
			  size_t len, struct wfs_err *err)
{
	struct wfs_text again = { 0 };
	bool same;

	wfs_digest_tree_encode(tree, &again);
	same = again.len == len && !memcmp(again.data, text, len);
	free(again.data);
	if (same)
		return 0;
	return wfs_err_set(err, -EBADMSG,
			   "not a digest manifest as 'weightfs digest' writes "
			   "it: a root or the spelling is another");
}

int wfs_digest_tree_parse(const char *text, size_t len,
			  struct wfs_digest_tree *ret_tree, struct wfs_err *err)
{
	struct wfs_digest_tree tree = { 0 };
	char *copy wfs_autofree = NULL;
	yyjson_doc *doc = NULL;
	int rc;

	if (len > WFS_DIGEST_TREE_MAX)
		return wfs_err_set(err, -EBADMSG,
				   "not a digest manifest: too large");
	copy = wfs_malloc(len + WFS_JSON_PADDING);
	memcpy(copy, text, len);
	rc = wfs_json_parse(copy, len, "digest manifest", &doc, err);
	if (!rc)
		rc = parse_root(yyjson_doc_get_root(doc), &tree, err);
	yyjson_doc_free(doc);
	if (!rc)
		rc = check_spelling(&tree, text, len, err);
	if (rc) {
		wfs_digest_tree_clear(&tree);
		return rc;
	}
	*ret_tree = tree;
	return 0;
}

static struct wfs_region *find_manifest(struct wfs_source *src)
{
	const struct wfs_source_entry *entry =
		wfs_source_entry_of(src, WFS_DIGEST_TREE_FILE);

	return entry ? entry->region : NULL;
}

int wfs_digest_tree_load(struct wfs_source *src,
			 struct wfs_digest_tree *ret_tree, struct wfs_err *err)
{
	struct wfs_region *region = find_manifest(src);
	char *text wfs_autofree = NULL;
	int rc;

	if (!region)
		return -ENOENT;
	if (region->size > WFS_DIGEST_TREE_MAX)
		return wfs_err_set(err, -EBADMSG, "'%s' of '%s' is too large",
				   region->path, src->label);
	text = wfs_malloc(region->size);
	rc = wfs_region_read_parsed(region, text, region->size, 0);
	if (rc)
		return wfs_err_set(err, rc, "cannot read '%s' of '%s': %s",
				   region->path, src->label, strerror(-rc));
	rc = wfs_digest_tree_parse(text, region->size, ret_tree, err);
	if (rc)
		wfs_err_prefix(err, "'%s' of '%s'", region->path, src->label);
	return rc;
}
