/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that a container or a virtual machine has from its host.
 *
 * The instance's endpoint is asked with a session of its own (IMDSv2): a token
 * first, then the name of the role, then its keys.  Nobody answers there on
 * other machines, so that the first question does not wait for long.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "transport/origin/aws_inner.h"
#include "transport/origin/web.h"

#define INSTANCE   "http://169.254.169.254"
#define CONTAINER  "http://169.254.170.2"
#define FIRST_MS   1000L
#define LATER_MS   5000L
#define ANSWER_MAX (64u << 10)
#define TOKEN	   "/latest/api/token"
#define LATEST	   "/latest/meta-data/"
#define ROLE	   LATEST "iam/security-credentials/"

/* One question to an endpoint; the text is wiped and freed by `drop`. */
struct question {
	const char *what; /* for messages */
	const char *method, *header;
	long ms;
	const atomic_bool *stop;
};

static void drop(char **text)
{
	if (*text)
		OPENSSL_cleanse(*text, strlen(*text));
	free(*text);
}
#define autodrop __attribute__((cleanup(drop)))

/* 0 with the body of a 200; -ENOENT when nobody is there, or has it. */
static int ask(const struct question *q, const char *url, char **ret_text,
	       size_t *ret_len, struct wfs_err *err)
{
	struct wfs_site site = { .base = NULL, .stop = q->stop };
	struct curl_slist *headers =
		q->header ? curl_slist_append(NULL, q->header) : NULL;
	struct wfs_web_request request = {
		.url = url,
		.method = q->method,
		.limit = ANSWER_MAX,
		.ms = q->ms,
		.headers = headers,
		.direct = true,
	};
	struct wfs_web_head head = { 0 };
	CURL *curl = curl_easy_init();
	char *text autodrop = NULL;
	int rc = -ENOMEM;

	if (curl)
		rc = wfs_web_ask(&site, curl, &request, &head, &text, ret_len,
				 err);
	else
		wfs_err_set(err, rc, "libcurl gives no handle");
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	if (rc == -ECONNREFUSED || rc == -EHOSTUNREACH || rc == -ETIMEDOUT) {
		wfs_err_set(err, -ENOENT, "%s does not answer at '%s'", q->what,
			    url);
		return -ENOENT;
	}
	if (rc)
		return rc;
	if (head.status != 200) {
		rc = head.status == 404 ? -ENOENT : -EACCES;
		wfs_err_set(err, rc, "%s answers %ld at '%s'", q->what,
			    head.status, url);
		return rc;
	}
	*ret_text = wfs_steal_ptr(&text);
	return 0;
}

static char *member(yyjson_val *root, const char *name)
{
	const char *text = yyjson_get_str(yyjson_obj_get(root, name));

	return text && *text && !strpbrk(text, "\r\n") ? wfs_strdup(text) :
							 NULL;
}

/* "2026-01-31T12:00:00Z"; 0 for anything else. */
static time_t parse_time(const char *text)
{
	struct tm tm = { 0 };
	const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) :
				 NULL;

	return end && (*end == 'Z' || *end == '.') ? timegm(&tm) : 0;
}

static int take_keys(char *text, size_t len, const char *what,
		     struct wfs_aws_keys *keys, struct wfs_err *err)
{
	struct wfs_aws_keys new = { 0 };
	yyjson_doc *doc;
	yyjson_val *root;
	int rc = wfs_json_parse(text, len, what, &doc, err);

	if (rc)
		return rc;
	root = yyjson_doc_get_root(doc);
	new.id = member(root, "AccessKeyId");
	new.secret = member(root, "SecretAccessKey");
	new.session = member(root, "Token");
	new.expires =
		parse_time(yyjson_get_str(yyjson_obj_get(root, "Expiration")));
	yyjson_doc_free(doc);
	if (!new.id || !new.secret) {
		wfs_aws_keys_clear(&new);
		return wfs_err_set(err, -EBADMSG,
				   "%s answers without AccessKeyId and "
				   "SecretAccessKey",
				   what);
	}
	strcpy(new.from, what);
	*keys = new;
	return 0;
}

/* The header that a container shows, or NULL; in a file it may change. */
static int container_header(char **ret, struct wfs_err *err)
{
	const char *token = wfs_aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	const char *file =
		wfs_aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	char *text autodrop = NULL;
	size_t len;
	int rc;

	if (file) {
		rc = wfs_file_slurp(file, ANSWER_MAX, &text, &len);
		if (rc)
			return wfs_err_set(err, rc, "cannot read '%s': %s",
					   file, strerror(-rc));
		text[strcspn(text, "\r\n")] = '\0';
		token = text;
	}
	if (token)
		*ret = wfs_asprintf("Authorization: %s", token);
	return 0;
}

int wfs_aws_ask_container(const atomic_bool *stop, struct wfs_aws_keys *keys,
			  struct wfs_err *err)
{
	const char *path =
		wfs_aws_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = wfs_aws_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	char *url wfs_autofree = NULL, *header autodrop = NULL;
	char *text autodrop = NULL;
	struct question q = { .what = "the container's endpoint",
			      .ms = LATER_MS,
			      .stop = stop };
	size_t len;
	int rc;

	if (!path && !full)
		return -ENOENT;
	url = path ? wfs_asprintf("%s%s", CONTAINER, path) : wfs_strdup(full);
	rc = container_header(&header, err);
	q.header = header;
	if (!rc)
		rc = ask(&q, url, &text, &len, err);
	/* It was named, so that silence is a mistake. */
	if (rc == -ENOENT)
		rc = err->code = -EACCES;
	return rc ? rc : take_keys(text, len, q.what, keys, err);
}

static const char *instance(void)
{
	const char *base = wfs_aws_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");

	return base ? base : INSTANCE;
}

/* Opens a session, and asks in it for what is at `path`. */
static int ask_instance(struct question *q, char **session, const char *path,
			char **ret_text, size_t *ret_len, struct wfs_err *err)
{
	const char *base = instance();
	int slash = base[0] && base[strlen(base) - 1] == '/';
	char *url wfs_autofree = NULL, *token autodrop = NULL;
	int rc;

	if (!*session) {
		url = wfs_asprintf("%s%s", base, &TOKEN[slash]);
		q->method = "PUT";
		q->header = "X-aws-ec2-metadata-token-ttl-seconds: 300";
		q->ms = FIRST_MS;
		rc = ask(q, url, &token, ret_len, err);
		if (rc)
			return rc;
		token[strcspn(token, "\r\n")] = '\0';
		*session = wfs_asprintf("X-aws-ec2-metadata-token: %s", token);
	}
	free(url);
	url = wfs_asprintf("%s%s", base, &path[slash]);
	q->method = NULL;
	q->header = *session;
	q->ms = LATER_MS;
	return ask(q, url, ret_text, ret_len, err);
}

static bool is_disabled(void)
{
	const char *word = wfs_aws_env("AWS_EC2_METADATA_DISABLED");

	return word && !strcasecmp(word, "true");
}

int wfs_aws_ask_instance(const atomic_bool *stop, struct wfs_aws_keys *keys,
			 struct wfs_err *err)
{
	struct question q = { .what = "the instance's endpoint", .stop = stop };
	char *session autodrop = NULL, *role wfs_autofree = NULL;
	char *path wfs_autofree = NULL, *text autodrop = NULL;
	size_t len;
	int rc;

	if (is_disabled())
		return -ENOENT;
	rc = ask_instance(&q, &session, ROLE, &role, &len, err);
	if (rc == -ENOENT) /* no such machine, or one without a role */
		err->code = 0;
	if (rc)
		return rc;
	role[strcspn(role, "\r\n")] = '\0';
	path = wfs_asprintf("%s%s", ROLE, role);
	rc = ask_instance(&q, &session, path, &text, &len, err);
	return rc ? rc : take_keys(text, len, q.what, keys, err);
}

char *wfs_aws_instance_region(const atomic_bool *stop)
{
	struct question q = { .what = "the instance's endpoint", .stop = stop };
	char *session autodrop = NULL, *text = NULL;
	struct wfs_err err = { 0 };
	size_t len;

	if (is_disabled() ||
	    ask_instance(&q, &session, LATEST "placement/region", &text, &len,
			 &err))
		return NULL;
	text[strcspn(text, "\r\n")] = '\0';
	return text;
}
