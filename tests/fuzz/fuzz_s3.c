/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds what a server may send for a bucket: a page of a listing, an error,
 * and the same bytes as what a user writes, s3://….
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/model/names.h"
#include "transport/origin/s3.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth)
{
	if (!truth)
		abort();
}

static void check_page(const char *xml, size_t size)
{
	struct wfs_s3_page page = { 0 };
	struct wfs_err err = { 0 };

	if (wfs_s3_page_parse(xml, size, &page, &err)) {
		must(err.code == -EBADMSG && *err.text && !page.count);
		return;
	}
	must(!page.next || *page.next);
	for (size_t i = 0; i < page.count; i++) {
		const struct wfs_web_file *file = &page.files[i];
		size_t len = strlen(file->etag);

		must(file->path != NULL);
		must(!len || (len > 1 && file->etag[0] == '"'));
		must(!strpbrk(file->etag, "\r\n"));
		must(file->mtime.tv_sec >= 0);
	}
	wfs_s3_page_clear(&page);
}

static void check_place(const char *text)
{
	char *place wfs_autofree = NULL;
	char *path;

	if (!wfs_s3_is_url(text))
		return;
	/* A root may follow. */
	place = wfs_asprintf("%.*s", (int)strcspn(text, "#"), text);
	path = strchr(place + strlen(WFS_S3_SCHEME), '/');
	if (!path || !*++path)
		return;
	if (path[strlen(path) - 1] == '/')
		path[strlen(path) - 1] = '\0';
	must(wfs_name_is_path(path));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = wfs_malloc(size + 1);
	struct wfs_s3_error error;

	memcpy(text, data, size);
	text[size] = '\0';
	check_page(text, size);
	wfs_s3_error_parse(text, size, &error);
	must(strlen(error.code) < sizeof(error.code));
	check_place(text);
	free(text);
	return 0;
}
