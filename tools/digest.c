/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digest manifests on the disk.
 */
#include "tools/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/digest/sign.h"
#include "tools/cmd.h"
#include "tools/seeding.h"
#include "transport/file/file_source.h"

static int open_dir(const struct wfs_digest_args *args,
		    struct wfs_source **ret_source, struct wfs_err *err)
{
	struct wfs_file_source_config config = {
		.follow_links = args->follow_links,
	};

	return wfs_file_source_open(args->dir, &config, ret_source, err);
}

static uint64_t bytes_of(const struct wfs_digest_item *items, size_t count)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++)
		bytes += items[i].region->size;
	return bytes;
}

static int compute(const struct wfs_digest_args *args,
		   struct wfs_digest_item *items, size_t count,
		   struct wfs_err *err)
{
	struct wfs_progress progress;
	struct wfs_book *book;
	int rc = wfs_open_book(args->cache, &book, err);

	if (rc)
		return rc;
	wfs_progress_begin(&progress, stderr, "reading",
			   bytes_of(items, count));
	rc = wfs_digest_compute(items, count, &progress, book, err);
	wfs_progress_end(&progress);
	wfs_book_close(book);
	return rc;
}

static char *signature_of(const char *file)
{
	return wfs_asprintf("%s.sig", file);
}

static int cannot_write(const char *file, int code, struct wfs_err *err)
{
	return wfs_err_set(err, code, "cannot write '%s': %s", file,
			   strerror(-code));
}

static int write_temp(int fd, const void *bytes, size_t len)
{
	int rc = wfs_pwrite_all(fd, bytes, len, 0);

	if (rc)
		return rc;
	return fsync(fd) < 0 || fchmod(fd, 0644) < 0 ? -errno : 0;
}

/* It is there as a whole or not at all. */
static int write_file(const char *file, const void *bytes, size_t len,
		      struct wfs_err *err)
{
	const char *slash = strrchr(file, '/');
	char *temp wfs_autofree = wfs_asprintf(
		"%.*s.%s.XXXXXX", (int)(slash + 1 - file), file, slash + 1);
	int fd wfs_autoclose = mkostemp(temp, O_CLOEXEC);
	int rc;

	if (fd < 0)
		return cannot_write(file, -errno, err);
	rc = write_temp(fd, bytes, len);
	if (!rc && rename(temp, file) < 0)
		rc = -errno;
	if (!rc)
		return 0;
	unlink(temp);
	return cannot_write(file, rc, err);
}

/* Beside the manifest, whatever that is called. */
static int write_lists(const struct wfs_digest_args *args,
		       const struct wfs_digest_item *items, size_t count,
		       struct wfs_err *err)
{
	const char *slash = strrchr(args->file, '/');
	char *file wfs_autofree = wfs_asprintf("%.*s" WFS_DIGEST_LISTS_FILE,
					       (int)(slash + 1 - args->file),
					       args->file);
	struct wfs_text text = { 0 };
	uint8_t head[WFS_DIGESTS_HEAD];
	int rc;

	for (size_t i = 0; i < count; i++) {
		const struct wfs_digests *list = items[i].list;

		wfs_digests_head(list, head);
		wfs_text_add_bytes(&text, head, sizeof(head));
		wfs_text_add_bytes(&text, list->bytes,
				   list->count * WFS_ROOT_BYTES);
	}
	rc = write_file(file, text.data, text.len, err);
	free(text.data);
	return rc;
}

static int write_signed(const struct wfs_digest_args *args,
			const struct wfs_text *text, struct wfs_err *err)
{
	char *sig_file wfs_autofree = signature_of(args->file);
	uint8_t signature[WFS_SIGNATURE_BYTES];
	int rc = 0;

	if (args->key)
		rc = wfs_sign(args->key, text->data, text->len, signature, err);
	if (rc)
		return rc;
	/* Never beside a manifest that it is not about. */
	if (unlink(sig_file) < 0 && errno != ENOENT)
		return cannot_write(sig_file, -errno, err);
	rc = write_file(args->file, text->data, text->len, err);
	if (!rc && args->key)
		rc = write_file(sig_file, signature, sizeof(signature), err);
	return rc;
}

/* The key is tried first: the reading may take an hour. */
static int try_key(const struct wfs_digest_args *args, struct wfs_err *err)
{
	uint8_t signature[WFS_SIGNATURE_BYTES];

	return args->key ? wfs_sign(args->key, "", 0, signature, err) : 0;
}

int wfs_digest_write(const struct wfs_digest_args *args,
		     uint8_t ret_root[WFS_ROOT_BYTES], struct wfs_err *err)
{
	struct wfs_digest_item *items;
	struct wfs_digest_tree tree = { 0 };
	struct wfs_text text = { 0 };
	struct wfs_source *src = NULL;
	static const uint8_t none[WFS_ROOT_BYTES];
	size_t count = 0;
	int rc = try_key(args, err);

	if (!rc)
		rc = open_dir(args, &src, err);
	if (rc)
		return rc;
	items = wfs_digest_items(src, &count);
	/* Names first, for the same reason. */
	for (size_t i = 0; i < count && !rc; i++)
		rc = wfs_digest_tree_add(&tree, items[i].region->path,
					 items[i].region->size, none, err);
	if (!rc)
		rc = compute(args, items, count, err);
	if (!rc) {
		for (size_t i = 0; i < count; i++)
			memcpy(tree.files[i].root, items[i].root,
			       WFS_ROOT_BYTES);
		wfs_digest_tree_encode(&tree, &text);
		rc = write_lists(args, items, count, err);
	}
	if (!rc)
		rc = write_signed(args, &text, err);
	if (!rc)
		wfs_digest_tree_root(&tree, ret_root);
	free(text.data);
	wfs_digest_items_free(items, count);
	wfs_digest_tree_clear(&tree);
	wfs_source_put(src);
	return rc;
}

static int check_signature(const struct wfs_digest_args *args, const char *text,
			   size_t len, struct wfs_err *err)
{
	char *sig_file wfs_autofree = signature_of(args->file);
	char *signature wfs_autofree = NULL;
	size_t sig_len;
	int rc = wfs_file_slurp(sig_file, WFS_SIGNATURE_BYTES, &signature,
				&sig_len);

	if (rc)
		return wfs_err_set(err, rc, "cannot read '%s': %s", sig_file,
				   strerror(-rc));
	if (wfs_sign_verify(args->key, text, len, signature, sig_len, err))
		return wfs_err_prefix(err, "'%s'", sig_file);
	return 0;
}

static int read_manifest(const struct wfs_digest_args *args,
			 struct wfs_digest_tree *tree, struct wfs_err *err)
{
	char *text wfs_autofree = NULL;
	size_t len;
	int rc = wfs_file_slurp(args->file, WFS_DIGEST_TREE_MAX, &text, &len);

	if (rc)
		return wfs_err_set(err, rc, "cannot read '%s': %s%s",
				   args->file, strerror(-rc),
				   rc == -ENOENT ? " ('weightfs digest' "
						   "writes it)" :
						   "");
	if (args->key)
		rc = check_signature(args, text, len, err);
	if (!rc && wfs_digest_tree_parse(text, len, tree, err))
		rc = wfs_err_prefix(err, "'%s'", args->file);
	return rc;
}

/* Drops items that the manifest does not know or knows otherwise, and says
 * so; returns how many. */
static size_t compare_lists(const struct wfs_digest_tree *tree,
			    struct wfs_digest_item *items, size_t *count)
{
	size_t wrong = 0, kept = 0, t = 0;

	for (size_t i = 0; i < *count; i++) {
		const struct wfs_region *region = items[i].region;
		const struct wfs_digest_file *file =
			wfs_digest_tree_find(tree, region->path);

		for (; t < tree->count &&
		       strcmp(tree->files[t].path, region->path) < 0;
		     t++, wrong++)
			wfs_complain("'%s' is missing", tree->files[t].path);
		t += file != NULL;
		if (file && file->size == region->size) {
			items[kept++] = items[i];
			continue;
		}
		wrong++;
		if (!file)
			wfs_complain("'%s' is not in the manifest",
				     region->path);
		else
			wfs_complain("'%s' has %llu bytes instead of %llu",
				     region->path,
				     (unsigned long long)region->size,
				     (unsigned long long)file->size);
	}
	for (; t < tree->count; t++, wrong++)
		wfs_complain("'%s' is missing", tree->files[t].path);
	*count = kept;
	return wrong;
}

static int compare_files(const struct wfs_digest_args *args,
			 const struct wfs_digest_tree *tree,
			 struct wfs_source *src, struct wfs_err *err)
{
	size_t count, wrong;
	struct wfs_digest_item *items = wfs_digest_items(src, &count);
	int rc;

	wrong = compare_lists(tree, items, &count);
	rc = compute(args, items, count, err);
	for (size_t i = 0; i < count && !rc; i++) {
		const char *path = items[i].region->path;

		if (!memcmp(items[i].root,
			    wfs_digest_tree_find(tree, path)->root,
			    WFS_ROOT_BYTES))
			continue;
		wfs_complain("'%s' has other bytes", path);
		wrong++;
	}
	wfs_digest_items_free(items, count);
	if (rc || !wrong)
		return rc;
	return wfs_err_set(err, -EBADMSG,
			   "'%s' is not what '%s' says: %zu file%s differ%s",
			   args->dir, args->file, wrong, wrong == 1 ? "" : "s",
			   wrong == 1 ? "s" : "");
}

int wfs_digest_check(const struct wfs_digest_args *args,
		     uint8_t ret_root[WFS_ROOT_BYTES], struct wfs_err *err)
{
	struct wfs_digest_tree tree = { 0 };
	struct wfs_source *src = NULL;
	int rc = read_manifest(args, &tree, err);

	if (!rc)
		rc = open_dir(args, &src, err);
	if (!rc)
		rc = compare_files(args, &tree, src, err);
	if (!rc)
		wfs_digest_tree_root(&tree, ret_root);
	wfs_source_put(src);
	wfs_digest_tree_clear(&tree);
	return rc;
}
