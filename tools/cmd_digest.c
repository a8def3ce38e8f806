/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs digest`: what a checkpoint's files hash to, written beside them or
 * compared with what was written.
 */
#include <stdio.h>

#include "core/base/hex.h"
#include "core/base/text.h"
#include "tools/cmd.h"
#include "tools/digest.h"
#include "tools/path.h"

enum {
	KEY_KEY = 0x100,
	KEY_CACHE,
};

struct args {
	const char *dir, *file, *key, *cache;
	bool check, follow_links;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;

	switch (key) {
	case 'o':
		args->file = arg;
		return 0;
	case 'c':
		args->check = true;
		return 0;
	case 'L':
		args->follow_links = true;
		return 0;
	case KEY_CACHE:
		args->cache = arg;
		return 0;
	case KEY_KEY:
		args->key = arg;
		return 0;
	case ARGP_KEY_ARG:
		wfs_cmd_take(state, arg, &args->dir, NULL);
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "DIR is missing");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "check", 'c', NULL, 0, "Compare DIR with its manifest instead", 0 },
	{ "output", 'o', "FILE", 0,
	  "The manifest (default: " WFS_DIGEST_TREE_FILE " in DIR)", 0 },
	{ "key", KEY_KEY, "FILE", 0,
	  "Sign the manifest with the private Ed25519 key in FILE (PEM); with "
	  "--check, ask for a signature of the public one in FILE",
	  0 },
	{ "digest-cache", KEY_CACHE, "DIR", 0,
	  "Keep the digests of chunks in DIR, for seeds (default: "
	  "/var/cache/weightfs/digests, or one of the user's)",
	  0 },
	{ "follow-links", 'L', NULL, 0,
	  "Follow links that leave the checkpoint", 0 },
	{ 0 },
};

static const struct argp argp = {
	options,
	parse,
	"DIR",
	"Reads the files of the checkpoint DIR, writes their SHA-256 digests "
	"to a manifest, and prints the one digest that stands for all of "
	"them.\v"
	"A mount that is given it, as --model NAME=URL#sha256:DIGEST, takes no "
	"other bytes from anybody. With --check exits with 1 when a file is missing, surplus or "
	"another.",
	NULL,
	NULL,
	NULL,
};

int wfs_cmd_digest(int argc, char **argv, const struct wfs_hooks *hooks)
{
	char *dir wfs_autofree = NULL;
	char *file wfs_autofree = NULL;
	char *cache wfs_autofree = NULL;
	char hex[2 * WFS_ROOT_BYTES + 1];
	uint8_t root[WFS_ROOT_BYTES];
	struct args args = { 0 };
	struct wfs_err err = { 0 };
	struct wfs_digest_args digest;
	int rc;

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &args);
	dir = wfs_path_absolute(args.dir);
	file = args.file ? wfs_path_absolute(args.file) :
			   wfs_asprintf("%s/" WFS_DIGEST_TREE_FILE, dir);
	cache = args.cache ? wfs_path_absolute(args.cache) : NULL;
	digest = (struct wfs_digest_args){ .dir = dir,
					   .file = file,
					   .key = args.key,
					   .cache = cache,
					   .follow_links = args.follow_links };
	rc = args.check ? wfs_digest_check(&digest, root, &err) :
			  wfs_digest_write(&digest, root, &err);
	if (rc) {
		wfs_complain("%s", err.text);
		return WFS_EXIT_FAILURE;
	}
	printf("sha256:%s\n", wfs_hex_format(root, sizeof(root), hex));
	return WFS_EXIT_OK;
}
