/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What S3's errors mean to whoever has to do something about them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/mem.h"
#include "transport/origin/s3.h"

static const struct {
	const char *code, *text;
} remedies[] = {
	{ "NoSuchBucket", "there is no such bucket: is its name right, and the "
			  "endpoint (AWS_ENDPOINT_URL_S3, s3_endpoint)?" },
	{ "NoSuchKey", "there is no such key" },
	{ "InvalidAccessKeyId",
	  "the server does not know the access key; is it one of this "
	  "endpoint?" },
	{ "SignatureDoesNotMatch",
	  "the secret key is not that of the access key" },
	{ "ExpiredToken", "they have expired: get new ones" },
	{ "TokenRefreshRequired", "they have expired: get new ones" },
	{ "InvalidToken", "the session's token is wrong: get a new one" },
	{ "RequestTimeTooSkewed",
	  "this machine's clock differs too much from the server's: set it" },
	{ "InvalidObjectState",
	  "the object is archived: restore it from its storage class" },
};

static const char *remedy_of(const char *code)
{
	for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++)
		if (!strcmp(remedies[i].code, code))
			return remedies[i].text;
	return NULL;
}

static int code_of(long status, const char *code)
{
	if (status == 404)
		return -ENOENT;
	if (status == 401 || status == 403 || !strcmp(code, "ExpiredToken"))
		return -EACCES;
	return status == 503 || status == 429 ? -EAGAIN : -EIO;
}

static bool is_expired(const char *code)
{
	return !strcmp(code, "ExpiredToken") ||
	       !strcmp(code, "TokenRefreshRequired") ||
	       !strcmp(code, "InvalidAccessKeyId") ||
	       !strcmp(code, "InvalidToken");
}

/* Another region than ours, if the answer names one. */
static const char *other_region(const struct wfs_site *site,
				const struct wfs_web_head *head,
				const struct wfs_s3_error *error)
{
	const char *region = head->region[0] ? head->region : error->region;

	return *region && strcmp(region, wfs_aws_region(site->aws)) != 0 ?
		       region :
		       NULL;
}

int wfs_s3_explain(const struct wfs_site *site, const char *path,
		   const struct wfs_web_head *head, const char *body,
		   size_t len, struct wfs_err *err)
{
	struct wfs_s3_error error;
	char from[WFS_AWS_FROM_MAX];
	char *with wfs_autofree = NULL;
	const char *region, *remedy;
	int code;

	wfs_s3_error_parse(body ? body : "", body ? len : 0, &error);
	wfs_aws_from(site->aws, from);
	if (is_expired(error.code))
		wfs_aws_expired(site->aws);
	code = code_of(head->status, error.code);
	region = head->status == 404 ? NULL : other_region(site, head, &error);
	remedy = remedy_of(error.code);
	if (region)
		return wfs_err_set(err, code == -EACCES ? -EACCES : -EIO,
				   "'%s%s': bucket '%s' is in region '%s', not "
				   "in '%s': set AWS_REGION or s3_region",
				   site->label, path ? path : "", site->bucket,
				   region, wfs_aws_region(site->aws));
	with = from[0] ? wfs_asprintf(" to the credentials of %s", from) :
			 wfs_strdup(" to requests without credentials");
	if (!remedy && code == -EACCES)
		remedy = !from[0] ? "it is not public, and there are "
				    "no credentials (AWS_ACCESS_KEY_ID, "
				    "~/.aws/credentials)" :
			 path	  ? "they need s3:GetObject" :
				    "they need s3:ListBucket on the bucket";
	return wfs_err_set(err, code,
			   "'%s%s': the server answers %ld%s%s%s%s%s",
			   site->label, path ? path : "", head->status,
			   error.code[0] ? " " : "", error.code, with,
			   remedy ? ": " : "", remedy ? remedy : "");
}
