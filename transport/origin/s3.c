/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See s3.h: names, listings, and what is said of errors.
 */
#include "transport/origin/s3.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/model/names.h"

#define PAGE_MAX  (16u << 20) /* bytes */
#define PAGES_MAX 1000

/* What buckets are called, and were when they were free to choose. */
static size_t bucket_len(const char *text)
{
	size_t n = 0;

	while (isalnum((unsigned char)text[n]) || text[n] == '-' ||
	       text[n] == '_' || (text[n] == '.' && n))
		n++;
	return (text[n] && text[n] != '/') || n < 3 || n > 255 ? 0 : n;
}

bool wfs_s3_is_url(const char *text)
{
	char *prefix wfs_autofree = NULL;
	size_t n;

	if (strncmp(text, WFS_S3_SCHEME, strlen(WFS_S3_SCHEME)) != 0)
		return false;
	text += strlen(WFS_S3_SCHEME);
	n = strcspn(text, "#"); /* a root may follow */
	prefix = wfs_asprintf("%.*s", (int)n, text);
	n = bucket_len(prefix);
	if (!n)
		return false;
	text = prefix + n;
	if (!*text || !strcmp(text, "/"))
		return true;
	n = strlen(prefix);
	if (prefix[n - 1] == '/')
		prefix[n - 1] = '\0';
	return wfs_name_is_path(text + 1);
}

/* The URL that the bucket's keys follow, without a "/" at its end. */
static char *url_of_bucket(const struct wfs_aws *aws, const char *bucket)
{
	const char *endpoint = wfs_aws_endpoint(aws);
	const char *region = wfs_aws_region(aws);
	const char *cn = strncmp(region, "cn-", 3) ? "" : ".cn";

	if (endpoint)
		return wfs_asprintf("%s/%s", endpoint, bucket);
	if (strpbrk(bucket, "._ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
		return wfs_asprintf("https://s3.%s.amazonaws.com%s/%s", region,
				    cn, bucket);
	return wfs_asprintf("https://%s.s3.%s.amazonaws.com%s", bucket, region,
			    cn);
}

void wfs_s3_site(const char *url, struct wfs_site *site)
{
	const char *rest = url + strlen(WFS_S3_SCHEME);
	size_t n = bucket_len(rest);
	struct wfs_site bucket = { 0 };
	char *prefix wfs_autofree = NULL;

	site->bucket = wfs_asprintf("%.*s", (int)n, rest);
	site->bucket_url = url_of_bucket(site->aws, site->bucket);
	rest += n + (rest[n] == '/');
	n = strlen(rest);
	prefix = wfs_asprintf("%s%s", rest, n && rest[n - 1] != '/' ? "/" : "");
	site->label = wfs_asprintf(WFS_S3_SCHEME "%s/%s", site->bucket, prefix);
	bucket.base = wfs_asprintf("%s/", site->bucket_url);
	site->base = wfs_web_url(&bucket, prefix);
	free(bucket.base);
}

/* Before the files' paths in keys: "" or with its "/". */
static const char *prefix_of(const struct wfs_site *site)
{
	return site->label + strlen(WFS_S3_SCHEME) + strlen(site->bucket) + 1;
}

/* In the order and the spelling that a signature wants. */
static char *listing_url(const struct wfs_site *site, const char *next)
{
	const char *host = strstr(site->bucket_url, "://") + 3;
	struct wfs_text t = { 0 };

	/* A bucket that is a host has the path "/". */
	wfs_text_add(&t, "%s%s?", site->bucket_url,
		     strchr(host, '/') ? "" : "/");
	if (next) {
		wfs_text_add(&t, "continuation-token=");
		wfs_web_escape(&t, next, false);
		wfs_text_add(&t, "&");
	}
	wfs_text_add(&t, "encoding-type=url&list-type=2&prefix=");
	wfs_web_escape(&t, prefix_of(site), false);
	return t.data;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct wfs_web_file *)a)->path,
		      ((const struct wfs_web_file *)b)->path);
}

/* Moves a page's files to the listing, with paths below the prefix. */
static int take_page(const struct wfs_site *site, struct wfs_s3_page *page,
		     struct wfs_web_listing *listing, struct wfs_err *err)
{
	const char *prefix = prefix_of(site);
	size_t skip = strlen(prefix);

	if (listing->count + page->count > WFS_WEB_FILES_MAX)
		return wfs_err_set(err, -EBADMSG,
				   "'%s' has more than %u files: no checkpoint "
				   "has that many",
				   site->label, WFS_WEB_FILES_MAX);
	listing->files =
		wfs_realloc(listing->files, (listing->count + page->count + 1) *
						    sizeof(*listing->files));
	for (size_t i = 0; i < page->count; i++) {
		struct wfs_web_file *file = &page->files[i];
		const char *path = file->path + skip;
		size_t len = strlen(file->path);

		/* What tools make to show a directory. */
		if (len && file->path[len - 1] == '/' && !file->size)
			continue;
		if (strncmp(file->path, prefix, skip) != 0 ||
		    !wfs_name_is_path(path))
			return wfs_err_set(err, -EBADMSG,
					   "'%s' lists '%s', which is no path "
					   "below it",
					   site->label, file->path);
		listing->files[listing->count] = *file;
		listing->files[listing->count++].path = wfs_strdup(path);
	}
	return 0;
}

static int get_page(const struct wfs_site *site, CURL *curl, const char *next,
		    struct wfs_s3_page *page, struct wfs_err *err)
{
	char *url wfs_autofree = listing_url(site, next);
	struct wfs_web_request request = { .url = url, .limit = PAGE_MAX };
	char *body wfs_autofree = NULL;
	struct wfs_web_head head;
	size_t len;
	int rc = wfs_web_ask(site, curl, &request, &head, &body, &len, err);

	if (rc)
		return wfs_err_prefix(err, "'%s'", site->label);
	if (head.status != 200)
		return wfs_s3_explain(site, NULL, &head, body, len, err);
	if (wfs_s3_page_parse(body, len, page, err))
		return wfs_err_prefix(err, "'%s'", site->label);
	return 0;
}

static int get_pages(const struct wfs_site *site, CURL *curl,
		     struct wfs_web_listing *listing, struct wfs_err *err)
{
	char *next wfs_autofree = NULL;
	int rc = 0, pages = 0;

	do {
		struct wfs_s3_page page = { 0 };

		if (pages++ == PAGES_MAX)
			return wfs_err_set(err, -EBADMSG,
					   "'%s': the listing does not end",
					   site->label);
		rc = get_page(site, curl, next, &page, err);
		if (!rc)
			rc = take_page(site, &page, listing, err);
		free(next);
		next = wfs_steal_ptr(&page.next);
		wfs_s3_page_clear(&page);
	} while (!rc && next);
	return rc;
}

/* Nothing is listed twice, which two files of a name would be. */
static int check_listing(const struct wfs_site *site,
			 struct wfs_web_listing *listing, struct wfs_err *err)
{
	if (!listing->count)
		return wfs_err_set(err, -ENOENT,
				   "'%s' has no files: bucket '%s' has no keys "
				   "that begin with '%s'",
				   site->label, site->bucket, prefix_of(site));
	qsort(listing->files, listing->count, sizeof(*listing->files), by_path);
	for (size_t i = 1; i < listing->count; i++)
		if (!by_path(&listing->files[i - 1], &listing->files[i]))
			return wfs_err_set(err, -EBADMSG,
					   "'%s' lists '%s' twice", site->label,
					   listing->files[i].path);
	return 0;
}

int wfs_s3_list(const struct wfs_site *site,
		struct wfs_web_listing *ret_listing, struct wfs_err *err)
{
	struct wfs_web_listing listing = { 0 };
	CURL *curl = curl_easy_init();
	int rc = curl ? get_pages(site, curl, &listing, err) :
			wfs_err_set(err, -ENOMEM, "libcurl gives no handle");

	curl_easy_cleanup(curl);
	if (!rc)
		rc = check_listing(site, &listing, err);
	if (rc) {
		wfs_web_listing_clear(&listing);
		return rc;
	}
	*ret_listing = listing;
	return 0;
}
