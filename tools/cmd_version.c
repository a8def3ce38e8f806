/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs version`: what is compiled in.
 */
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 17)

#include <fuse_lowlevel.h>
#include <stdio.h>
#include <xxhash.h>
#include <yyjson.h>

#include "core/base/text.h"
#include "tools/cmd.h"
#include "tools/version.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
	bool *json = state->input;

	(void)arg;
	if (key != 'j')
		return ARGP_ERR_UNKNOWN;
	*json = true;
	return 0;
}

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "Print one JSON object", 0 },
	{ 0 },
};

static const struct argp argp = {
	options, parse, "",   "Shows the version and what is compiled in.",
	NULL,	 NULL,	NULL,
};

#if defined(__SANITIZE_ADDRESS__)
#define BUILD_MODE "sanitizers (address)"
#elif defined(__SANITIZE_THREAD__)
#define BUILD_MODE "sanitizers (thread)"
#elif defined(__OPTIMIZE__)
#define BUILD_MODE "optimised"
#else
#define BUILD_MODE "debug"
#endif

#ifdef __clang__
#define COMPILER __VERSION__ /* names itself */
#else
#define COMPILER "gcc " __VERSION__
#endif

#ifndef FUSE_CAP_PASSTHROUGH
#error "libfuse 3.17.2 or later is needed: older ones have no passthrough"
#endif

const char *wfs_version_fuse(void)
{
	return fuse_pkgversion();
}

static const struct row {
	const char *key, *text;
} * rows(size_t *ret_count)
{
	static char xxhash[16];
	static struct row all[] = {
		{ "weightfs", WFS_VERSION },
		{ "libfuse", NULL },
		{ "passthrough", "the kernel's interface is compiled in" },
		{ "yyjson", YYJSON_VERSION_STRING },
		{ "xxhash", xxhash },
		{ "inih", "yes" },
		{ "compiler", COMPILER },
		{ "build", BUILD_MODE },
	};
	unsigned xxh = XXH_versionNumber();

	snprintf(xxhash, sizeof(xxhash), "%u.%u.%u", xxh / 10000,
		 xxh / 100 % 100, xxh % 100);
	all[1].text = wfs_version_fuse();
	*ret_count = sizeof(all) / sizeof(all[0]);
	return all;
}

int wfs_cmd_version(int argc, char **argv, const struct wfs_hooks *hooks)
{
	struct wfs_text t = { 0 };
	const struct row *all;
	bool json = false;
	size_t n;

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &json);
	all = rows(&n);
	for (size_t i = 0; i < n; i++) {
		if (json) {
			wfs_text_add(&t, "%s\"%s\": ", i ? ", " : "{",
				     all[i].key);
			wfs_text_add_json(&t, all[i].text);
		} else {
			wfs_text_add(&t, "%-13s%s\n", all[i].key, all[i].text);
		}
	}
	printf("%s%s", t.data, json ? "}\n" : "");
	free(t.data);
	return WFS_EXIT_OK;
}
