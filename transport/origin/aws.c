/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys: where they are looked for, and when again.
 */
#include "transport/origin/aws.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/base/mem.h"
#include "transport/origin/aws_inner.h"

#define NS_PER_S 1000000000ull
#define EARLY_S	 (5 * 60)	 /* before they expire */
#define AGAIN_NS (10 * NS_PER_S) /* after none were found, or could be had */
#define REGION	 "us-east-1"

struct wfs_aws {
	const atomic_bool *stop;
	char *profile, *credentials_file, *config_file;
	char *region, *endpoint;
	bool named;	      /* the profile was asked for */
	bool preferred;	      /* by an option: before the environment */
	pthread_mutex_t lock; /* guards what follows */
	struct wfs_aws_keys keys;
	struct wfs_err failure; /* of the last look */
	uint64_t again_ns;	/* not looked for before */
	bool looked;
};

const char *wfs_aws_env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static const char *first(const char *a, const char *b, const char *c)
{
	return a ? a : b ? b : c;
}

static char *home_file(const char *variable, const char *name)
{
	const char *path = wfs_aws_env(variable), *home = wfs_aws_env("HOME");

	return path ? wfs_strdup(path) :
		      wfs_asprintf("%s/.aws/%s", home ? home : "/root", name);
}

static int read_profile(const struct wfs_aws *aws,
			struct wfs_aws_profile *profile, struct wfs_err *err)
{
	int rc = wfs_aws_profile_read(aws->credentials_file, aws->profile,
				      false, profile, err);

	if (!rc)
		rc = wfs_aws_profile_read(aws->config_file, aws->profile, true,
					  profile, err);
	if (!rc && aws->named && !profile->found)
		rc = wfs_err_set(err, -ENOENT,
				 "there is no profile '%s' in '%s' and '%s'",
				 aws->profile, aws->credentials_file,
				 aws->config_file);
	return rc;
}

/* A word that can stand in a host's name, and in what is signed. */
static int check_region(const char *region, struct wfs_err *err)
{
	const char *p = region;

	while (isalnum((unsigned char)*p) || *p == '-')
		p++;
	if (!*p && p - region <= 64)
		return 0;
	return wfs_err_set(err, -EINVAL,
			   "'%.64s' is no region, such as us-east-1", region);
}

static int check_endpoint(const char *url, struct wfs_err *err)
{
	const char *host = !strncmp(url, "http://", 7)	? url + 7 :
			   !strncmp(url, "https://", 8) ? url + 8 :
							  "";

	if (*host && *host != '/' && !strpbrk(host, "@?# \r\n"))
		return 0;
	/* It may hold a password, and is not repeated. */
	return wfs_err_set(err, -EINVAL,
			   "the S3 endpoint is not a URL such as "
			   "http://host:9000");
}

static int settle(struct wfs_aws *aws, const struct wfs_aws_config *config,
		  const struct wfs_aws_profile *profile, struct wfs_err *err)
{
	const char *region = first(config->region, wfs_aws_env("AWS_REGION"),
				   wfs_aws_env("AWS_DEFAULT_REGION"));
	const char *endpoint = first(config->endpoint,
				     wfs_aws_env("AWS_ENDPOINT_URL_S3"),
				     wfs_aws_env("AWS_ENDPOINT_URL"));
	char *found wfs_autofree = NULL;
	size_t len;
	int rc;

	region = first(region, profile->region, NULL);
	endpoint = first(endpoint, profile->endpoint, NULL);
	if (!region && !endpoint) {
		found = wfs_aws_instance_region(aws->stop);
		region = found;
	}
	aws->region = wfs_strdup(region ? region : REGION);
	rc = check_region(aws->region, err);
	if (rc || !endpoint)
		return rc;
	len = strlen(endpoint);
	while (len && endpoint[len - 1] == '/')
		len--;
	aws->endpoint = wfs_asprintf("%.*s", (int)len, endpoint);
	return check_endpoint(aws->endpoint, err);
}

int wfs_aws_open(const struct wfs_aws_config *config, struct wfs_aws **ret_aws,
		 struct wfs_err *err)
{
	struct wfs_aws *aws = wfs_calloc(1, sizeof(*aws));
	const char *name =
		first(config->profile, wfs_aws_env("AWS_PROFILE"), NULL);
	struct wfs_aws_profile profile = { 0 };
	int rc;

	pthread_mutex_init(&aws->lock, NULL);
	aws->stop = config->stop;
	aws->named = name;
	aws->preferred = config->profile || config->credentials_file;
	aws->profile = wfs_strdup(name ? name : "default");
	aws->credentials_file =
		config->credentials_file ?
			wfs_strdup(config->credentials_file) :
			home_file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
	aws->config_file = home_file("AWS_CONFIG_FILE", "config");
	rc = read_profile(aws, &profile, err);
	if (!rc)
		rc = settle(aws, config, &profile, err);
	wfs_aws_profile_clear(&profile);
	if (rc) {
		wfs_aws_close(aws);
		return rc;
	}
	*ret_aws = aws;
	return 0;
}

void wfs_aws_close(struct wfs_aws *aws)
{
	if (!aws)
		return;
	wfs_aws_keys_clear(&aws->keys);
	pthread_mutex_destroy(&aws->lock);
	free(aws->profile);
	free(aws->credentials_file);
	free(aws->config_file);
	free(aws->region);
	free(aws->endpoint);
	free(aws);
}

const char *wfs_aws_region(const struct wfs_aws *aws)
{
	return aws->region;
}

const char *wfs_aws_endpoint(const struct wfs_aws *aws)
{
	return aws->endpoint;
}

static bool from_environment(struct wfs_aws_keys *keys)
{
	const char *id = wfs_aws_env("AWS_ACCESS_KEY_ID");
	const char *secret = wfs_aws_env("AWS_SECRET_ACCESS_KEY");
	const char *session = wfs_aws_env("AWS_SESSION_TOKEN");

	if (!id || !secret)
		return false;
	keys->id = wfs_strdup(id);
	keys->secret = wfs_strdup(secret);
	keys->session = wfs_strdup_or_null(session);
	strcpy(keys->from, "the environment");
	return true;
}

/* 0, -ENOENT where it has none. */
static int from_profile(const struct wfs_aws *aws, struct wfs_aws_keys *keys,
			struct wfs_err *err)
{
	struct wfs_aws_profile profile = { 0 };
	int rc = read_profile(aws, &profile, err);

	if (!rc && profile.keys.id) {
		*keys = profile.keys;
		profile.keys = (struct wfs_aws_keys){ 0 };
		snprintf(keys->from, sizeof(keys->from), "profile '%.128s'",
			 aws->profile);
	} else if (!rc && profile.other) {
		rc = wfs_err_set(err, -ENOTSUP,
				 "profile '%s' has '%s', which weightfs does "
				 "not follow; 'aws configure "
				 "export-credentials' gives keys for the "
				 "environment",
				 aws->profile, profile.other);
	} else if (!rc) {
		rc = -ENOENT;
	}
	wfs_aws_profile_clear(&profile);
	return rc;
}

static int find_keys(const struct wfs_aws *aws, struct wfs_aws_keys *keys,
		     struct wfs_err *err)
{
	int rc;

	if (!aws->preferred && from_environment(keys))
		return 0;
	rc = from_profile(aws, keys, err);
	if (rc == -ENOENT && !err->code && aws->preferred &&
	    from_environment(keys))
		return 0;
	if (rc == -ENOENT && !err->code)
		rc = wfs_aws_ask_container(aws->stop, keys, err);
	if (rc == -ENOENT && !err->code)
		rc = wfs_aws_ask_instance(aws->stop, keys, err);
	return rc;
}

static bool is_due_locked(const struct wfs_aws *aws)
{
	if (wfs_now_ns() < aws->again_ns)
		return false;
	return !aws->looked || !aws->keys.id ||
	       (aws->keys.expires && time(NULL) + EARLY_S >= aws->keys.expires);
}

/* New keys if it is time; those that there are stay while they are good. */
static int renew_locked(struct wfs_aws *aws, struct wfs_err *err)
{
	struct wfs_aws_keys keys = { 0 };
	struct wfs_err why = { 0 };
	int rc;

	if (is_due_locked(aws)) {
		rc = find_keys(aws, &keys, &why);
		aws->looked = !rc || rc == -ENOENT;
		aws->again_ns = wfs_now_ns() + (rc ? AGAIN_NS : NS_PER_S);
		aws->failure = why;
		aws->failure.code = rc == -ENOENT ? 0 : rc;
		if (!rc) {
			wfs_aws_keys_clear(&aws->keys);
			aws->keys = keys;
		}
	}
	if (!aws->failure.code ||
	    (aws->keys.id &&
	     (!aws->keys.expires || time(NULL) < aws->keys.expires)))
		return 0;
	return wfs_err_set(err, aws->failure.code,
			   "cannot get S3 credentials: %s", aws->failure.text);
}

static void add_header(struct curl_slist **headers, const char *name,
		       const char *value)
{
	char *line wfs_autofree = wfs_asprintf("%s: %s", name, value);

	*headers = curl_slist_append(*headers, line);
	OPENSSL_cleanse(line, strlen(line));
}

int wfs_aws_sign(struct wfs_aws *aws, CURL *curl, struct curl_slist **headers,
		 struct wfs_err *err)
{
	char *what wfs_autofree = wfs_asprintf("aws:amz:%s:s3", aws->region);
	int rc;

	pthread_mutex_lock(&aws->lock);
	rc = renew_locked(aws, err);
	if (!rc && aws->keys.id) {
		curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, what);
		curl_easy_setopt(curl, CURLOPT_USERNAME, aws->keys.id);
		curl_easy_setopt(curl, CURLOPT_PASSWORD, aws->keys.secret);
		if (aws->keys.session)
			add_header(headers, "x-amz-security-token",
				   aws->keys.session);
	}
	pthread_mutex_unlock(&aws->lock);
	return rc;
}

void wfs_aws_expired(struct wfs_aws *aws)
{
	pthread_mutex_lock(&aws->lock);
	aws->looked = false;
	pthread_mutex_unlock(&aws->lock);
}

void wfs_aws_from(struct wfs_aws *aws, char text[WFS_AWS_FROM_MAX])
{
	pthread_mutex_lock(&aws->lock);
	strcpy(text, aws->keys.from);
	pthread_mutex_unlock(&aws->lock);
}
