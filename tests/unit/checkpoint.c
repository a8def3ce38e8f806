/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints in scratch directories.
 */
#include "tests/unit/t.h"

#include <string.h>

#include "core/base/text.h"
#include "tests/unit/checkpoint.h"

struct wfs_source *checkpoint_open(const struct scratch *s, const char *dir)
{
	char *path wfs_autofree = scratch_path(s, dir);
	struct wfs_file_source_config config = { 0 };
	struct wfs_source *src = NULL;
	struct wfs_err err = { 0 };

	if (wfs_file_source_open(path, &config, &src, &err))
		fail_msg("%s", err.text);
	return src;
}

void checkpoint_refused(const struct scratch *s, const char *dir, int code,
			const char *text)
{
	char *path wfs_autofree = scratch_path(s, dir);
	struct wfs_file_source_config config = { 0 };
	struct wfs_file_listing peek = { 0 };
	struct wfs_source *src = NULL;
	struct wfs_err err = { 0 };

	assert_int_equal(wfs_file_source_open(path, &config, &src, &err), code);
	assert_null(src);
	assert_int_equal(err.code, code);
	if (!strstr(err.text, text))
		fail_msg("'%s' does not say '%s'", err.text, text);
	assert_int_equal(wfs_file_source_peek(path, &config, &peek, &err),
			 code);
	assert_null(peek.own);
}

void checkpoint_lists(struct wfs_source *src, const char *paths)
{
	const struct wfs_source_entry *list;
	struct wfs_text got = { 0 };
	size_t count;

	list = wfs_source_list(src, &count);
	wfs_text_add_bytes(&got, "", 0);
	for (size_t i = 0; i < count; i++)
		wfs_text_add(&got, "%s%s ", list[i].path,
			     list[i].region ? "" : "/");
	assert_string_equal(got.data, paths);
	free(got.data);
}

const struct wfs_source_entry *checkpoint_entry(struct wfs_source *src,
						const char *path)
{
	const struct wfs_source_entry *list;
	size_t count;

	list = wfs_source_list(src, &count);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(list[i].path, path) == 0)
			return &list[i];
	}
	fail_msg("'%s' is not listed", path);
	return NULL;
}

struct wfs_region *checkpoint_region(struct wfs_source *src, const char *path)
{
	struct wfs_region *region = checkpoint_entry(src, path)->region;

	assert_non_null(region);
	return region;
}

void checkpoint_reads(struct wfs_source *src, const char *path,
		      const char *text)
{
	struct wfs_region *region = checkpoint_region(src, path);
	char buf[256] = "";

	assert_int_equal(wfs_region_read(region, buf, sizeof(buf) - 1, 0),
			 strlen(text));
	assert_string_equal(buf, text);
}
