/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values of options, see options_table.c for the options.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "core/model/model.h"
#include "core/plan/layout.h"
#include "tools/options.h"
#include "tools/options_add.h"
#include "tools/path.h"
#include "transport/seed/listen.h"
#include "transport/wire/frame.h"

#define NS_PER_S    1000000000ull
#define SECONDS_MAX 1000000000ull
#define COUNT_MAX   1024
#define RESCAN_MIN  (NS_PER_S / 100)

void wfs_options_init(struct wfs_options *options)
{
	*options = (struct wfs_options){
		.part_size = WFS_PART_SIZE,
		.prefetch = 256ull << 20,
		.readahead = 4ull << 20,
		.open_wait_ns = 2 * NS_PER_S,
		.switch_after_ns = 60 * NS_PER_S,
		.rescan_ns = 2 * NS_PER_S,
		.trust = WFS_TRUST_SEED,
		.prefer = WFS_PREFER_USUAL,
		.seed_wait_ns = WFS_WAIT_USUAL,
		.seed_deadline_ns = 60 * NS_PER_S,
		.forget_after_ns = 86400 * NS_PER_S,
		.log_level = WFS_LOG_INFO,
		.command = WFS_FOR_MOUNT,
		.allow_other = geteuid() == 0,
		.digests = true,
		.rdma = true,
		.same_host = true,
	};
}

void wfs_options_clear(struct wfs_options *options)
{
	for (size_t i = 0; i < options->model_count; i++) {
		free(options->models[i].name);
		free(options->models[i].dir);
	}
	for (size_t i = 0; i < options->layout_count; i++)
		free(options->layouts[i]);
	free(options->layouts);
	for (size_t i = 0; i < options->seed_count; i++)
		free(options->seeds[i]);
	free(options->seeds);
	free(options->seed_token);
	free(options->seed_ca);
	free(options->seed_cert);
	free(options->seed_key);
	free(options->trust_key);
	free(options->origin_token);
	free(options->s3_endpoint);
	free(options->s3_region);
	free(options->s3_profile);
	free(options->s3_credentials);
	free(options->plans_dir);
	free(options->engine);
	free(options->models);
	free(options->models_dir);
	free(options->config);
	free(options->listen);
	free(options->token_file);
	free(options->tls_cert);
	free(options->tls_key);
	free(options->tls_client_ca);
	free(options->digest_cache);
	free(options->order_cache);
	*options = (struct wfs_options){ 0 };
}

static int set_switch(bool *field, const char *key, const char *value,
		      struct wfs_err *err)
{
	static const char *const words[2][4] = {
		{ "off", "no", "false", "0" },
		{ "on", "yes", "true", "1" },
	};

	for (unsigned i = 0; i < 8; i++) {
		if (strcmp(value, words[i / 4][i % 4]) == 0) {
			*field = i / 4;
			return 0;
		}
	}
	return wfs_err_set(err, -EINVAL,
			   "option '%s': '%s' is neither on nor off", key,
			   value);
}

int wfs_seconds_parse(const char *text, uint64_t *ret_ns)
{
	uint64_t ns = 0, unit = NS_PER_S;
	const char *p = text;

	for (; isdigit((unsigned char)*p); p++) {
		ns = ns * 10 + (uint64_t)(*p - '0') * NS_PER_S;
		if (ns > SECONDS_MAX * NS_PER_S)
			return -ERANGE;
	}
	if (p == text)
		return -EINVAL;
	if (*p == '.') {
		for (p++; isdigit((unsigned char)*p) && unit > 1; p++) {
			unit /= 10;
			ns += (uint64_t)(*p - '0') * unit;
		}
	}
	if (*p)
		return -EINVAL;
	*ret_ns = ns;
	return 0;
}

static int set_seconds(uint64_t *field, const char *key, const char *value,
		       struct wfs_err *err)
{
	uint64_t ns;

	if (wfs_seconds_parse(value, &ns))
		return wfs_err_set(err, -EINVAL,
				   "option '%s': '%s' is not a number of "
				   "seconds, such as 2 or 0.5",
				   key, value);
	if (strcmp(key, "rescan") == 0 && ns < RESCAN_MIN)
		return wfs_err_set(err, -EINVAL,
				   "option '%s': '%s' is less than 0.01 "
				   "seconds",
				   key, value);
	*field = ns;
	return 0;
}

static int set_size(uint64_t *field, const char *key, const char *value,
		    struct wfs_err *err)
{
	uint64_t bytes;

	if (wfs_size_parse(value, &bytes))
		return wfs_err_set(err, -EINVAL,
				   "option '%s': '%s' is not a size, such as "
				   "512M or 64G",
				   key, value);
	*field = bytes;
	return 0;
}

static int set_count(unsigned *field, const char *key, const char *value,
		     struct wfs_err *err)
{
	unsigned n = 0;
	const char *p = value;

	for (; isdigit((unsigned char)*p) && n <= COUNT_MAX; p++)
		n = n * 10 + (unsigned)(*p - '0');
	if (p == value || *p || n < 1 || n > COUNT_MAX)
		return wfs_err_set(err, -EINVAL,
				   "option '%s': '%s' is not a number from 1 "
				   "to %d",
				   key, value, COUNT_MAX);
	*field = n;
	return 0;
}

static int set_path(char **field, const char *key, const char *value,
		    struct wfs_err *err)
{
	if (!value[0])
		return wfs_err_set(err, -EINVAL, "option '%s' needs a path",
				   key);
	free(*field);
	*field = wfs_path_absolute(value);
	return 0;
}

static int set_word(char **field, const char *key, const char *value,
		    struct wfs_err *err)
{
	if (!value[0])
		return wfs_err_set(err, -EINVAL, "option '%s' needs a value",
				   key);
	free(*field);
	*field = wfs_strdup(value);
	return 0;
}

static int set_listen(char **field, const char *key, const char *value,
		      struct wfs_err *err)
{
	char host[WFS_LISTEN_HOST], port[WFS_LISTEN_PORT];

	if (wfs_listen_parse(value, host, port))
		return wfs_err_set(err, -EINVAL,
				   "option '%s': '%s' is not ADDR:PORT, such "
				   "as 127.0.0.1:%d",
				   key, value, WFS_DEFAULT_PORT);
	free(*field);
	*field = wfs_strdup(value);
	return 0;
}

static int set_want(enum wfs_want *field, const char *key, const char *value,
		    struct wfs_err *err)
{
	static const char *const words[] = { "auto", "on", "off" };

	for (unsigned i = 0; i < 3; i++) {
		if (strcmp(value, words[i]) == 0) {
			*field = (enum wfs_want)i;
			return 0;
		}
	}
	return wfs_err_set(err, -EINVAL,
			   "option '%s': '%s' is none of auto, on, off", key,
			   value);
}

static int set_engine(struct wfs_options *options, const char *value,
		      struct wfs_err *err)
{
	struct wfs_engine engine;
	struct wfs_err why = { 0 };

	if (wfs_engine_parse(value, &engine, &why))
		return wfs_err_set(err, -EINVAL, "option 'engine': %s",
				   why.text);
	free(options->engine);
	options->engine = wfs_strdup(value);
	return 0;
}

static int set_row(struct wfs_options *options, const struct wfs_option *row,
		   const char *value, struct wfs_err *err)
{
	void *field = (char *)options + row->at;

	switch (row->kind) {
	case WFS_OPTION_SWITCH:
		return set_switch(field, row->key, value, err);
	case WFS_OPTION_SIZE:
		return set_size(field, row->key, value, err);
	case WFS_OPTION_SECONDS:
		return set_seconds(field, row->key, value, err);
	case WFS_OPTION_COUNT:
		return set_count(field, row->key, value, err);
	case WFS_OPTION_PATH:
		return set_path(field, row->key, value, err);
	case WFS_OPTION_WORD:
		return set_word(field, row->key, value, err);
	case WFS_OPTION_MODEL:
		return wfs_options_add_model(options, value, err);
	case WFS_OPTION_SEED:
		return wfs_options_add_seed(options, value, err);
	case WFS_OPTION_PREFER:
		return wfs_options_set_prefer(options, value, err);
	case WFS_OPTION_LAYOUT:
		return wfs_options_add_layout(options, value, err);
	case WFS_OPTION_RANKS:
		if (wfs_rank_set_add(field, value) == 0)
			return 0;
		return wfs_err_set(err, -EINVAL,
				   "option 'ranks': '%s' is not N or N-M, such "
				   "as 0-3",
				   value);
	case WFS_OPTION_ENGINE:
		return set_engine(options, value, err);
	case WFS_OPTION_WANT:
		return set_want(field, row->key, value, err);
	case WFS_OPTION_TRUST:
		if (wfs_trust_parse(value, field) == 0)
			return 0;
		return wfs_err_set(err, -EINVAL,
				   "option '%s': '%s' is none of none, seed, "
				   "origin, signed",
				   row->key, value);
	case WFS_OPTION_LISTEN:
		return set_listen(field, row->key, value, err);
	case WFS_OPTION_LEVEL:
		if (wfs_log_level_parse(value, field) == 0)
			return 0;
		return wfs_err_set(err, -EINVAL,
				   "option '%s': '%s' is none of error, warn, "
				   "info, debug",
				   row->key, value);
	}
	return -EINVAL;
}

int wfs_options_set(struct wfs_options *options, const char *key,
		    const char *value, struct wfs_err *err)
{
	const struct wfs_option *row = wfs_option_find(key);

	if (!row && strncmp(key, "no", 2) == 0 && !value) {
		row = wfs_option_find(key + 2);
		if (row && row->kind == WFS_OPTION_SWITCH)
			return set_row(options, row, "off", err);
		row = NULL;
	}
	if (!row)
		return wfs_err_set(err, -EINVAL, "there is no option '%s'",
				   key);
	if (!(row->commands & options->command))
		return wfs_err_set(
			err, -EINVAL, "option '%s' is not one of a %s", key,
			options->command == WFS_FOR_SEED ? "seed" : "mount");
	if (!value && row->kind != WFS_OPTION_SWITCH)
		return wfs_err_set(err, -EINVAL,
				   "option '%s' needs a value: %s=%s", key, key,
				   row->arg);
	return set_row(options, row, value ? value : "on", err);
}
