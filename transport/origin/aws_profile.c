/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Profiles in ~/.aws/credentials and ~/.aws/config.
 *
 * Read here rather than by the library that reads our own config: that one
 * cuts lines after 200 bytes, and a session's token has a thousand.
 */
#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "core/base/mem.h"
#include "transport/origin/aws_inner.h"

#define FILE_MAX (1u << 20)

static void wipe(char **text)
{
	if (*text)
		OPENSSL_cleanse(*text, strlen(*text));
	free(wfs_steal_ptr(text));
}

void wfs_aws_keys_clear(struct wfs_aws_keys *keys)
{
	free(keys->id);
	wipe(&keys->secret);
	wipe(&keys->session);
	*keys = (struct wfs_aws_keys){ 0 };
}

void wfs_aws_profile_clear(struct wfs_aws_profile *profile)
{
	wfs_aws_keys_clear(&profile->keys);
	free(profile->region);
	free(profile->endpoint);
	free(profile->other);
	*profile = (struct wfs_aws_profile){ 0 };
}

/* Without the blanks around it; changes the text. */
static char *trim(char *text)
{
	size_t len;

	while (isspace((unsigned char)*text))
		text++;
	len = strlen(text);
	while (len && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	return text;
}

/* "[profile x]", "[x]" or, in both files, "[default]". */
static bool is_section(char *line, const char *name, bool is_config)
{
	char *end = strchr(line, ']');

	if (!end)
		return false;
	*end = '\0';
	line = trim(line + 1);
	if (is_config && strcmp(name, "default") != 0) {
		if (strncmp(line, "profile", 7) != 0 ||
		    !isspace((unsigned char)line[7]))
			return false;
		line = trim(line + 7);
	}
	return !strcmp(line, name);
}

static void keep(char **field, const char *value)
{
	if (!*field && *value)
		*field = wfs_strdup(value);
}

/* The three of one section belong together. */
static void take_keys(struct wfs_aws_profile *profile,
		      struct wfs_aws_keys *keys)
{
	if (!profile->keys.id && keys->id && keys->secret) {
		profile->keys = *keys;
		*keys = (struct wfs_aws_keys){ 0 };
	}
	wfs_aws_keys_clear(keys);
}

static void take(struct wfs_aws_profile *profile, struct wfs_aws_keys *keys,
		 const char *key, const char *value)
{
	static const char *const others[] = {
		"credential_process",
		"role_arn",
		"sso_session",
		"sso_start_url",
		"web_identity_token_file",
		"credential_source",
	};

	if (!strcmp(key, "aws_access_key_id"))
		keep(&keys->id, value);
	else if (!strcmp(key, "aws_secret_access_key"))
		keep(&keys->secret, value);
	else if (!strcmp(key, "aws_session_token"))
		keep(&keys->session, value);
	else if (!strcmp(key, "region"))
		keep(&profile->region, value);
	else if (!strcmp(key, "endpoint_url"))
		keep(&profile->endpoint, value);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!strcmp(key, others[i]))
			keep(&profile->other, key);
}

int wfs_aws_profile_read(const char *path, const char *name, bool is_config,
			 struct wfs_aws_profile *profile, struct wfs_err *err)
{
	struct wfs_aws_keys keys = { 0 };
	char *text = NULL, *next, *line;
	unsigned number = 0;
	bool ours = false;
	size_t len;
	int rc = wfs_file_slurp(path, FILE_MAX, &text, &len);

	if (rc)
		return rc == -ENOENT || rc == -ENOTDIR ?
			       0 :
			       wfs_err_set(err, rc, "cannot read '%s': %s",
					   path, strerror(-rc));
	next = text;
	while (!rc && (line = strsep(&next, "\n"))) {
		/* What is indented belongs to a table above, none of ours. */
		bool indented = *line == ' ' || *line == '\t';
		char *equals;

		number++;
		line = trim(line);
		equals = strchr(line, '=');
		if (indented || !*line || *line == '#' || *line == ';')
			continue;
		if (*line == '[') {
			ours = is_section(line, name, is_config);
			profile->found |= ours;
		} else if (!equals) {
			rc = wfs_err_set(err, -EINVAL,
					 "'%s' line %u: neither a [section] "
					 "nor key = value",
					 path, number);
		} else if (ours) {
			*equals = '\0';
			take(profile, &keys, trim(line), trim(equals + 1));
		}
	}
	take_keys(profile, &keys);
	OPENSSL_cleanse(text, len);
	free(text);
	return rc;
}
