/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Absolute paths; see path.h for what they keep away from.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/path.h"

#define LINKS_MAX 40 /* as the kernel has it */

char *wfs_path_absolute(const char *path)
{
	struct wfs_text t = { 0 };
	char *cwd wfs_autofree = NULL;
	const char *parts[2] = { "", path };

	if (path[0] != '/') {
		cwd = getcwd(NULL, 0);
		parts[0] = cwd ? cwd : "";
	}
	for (unsigned i = 0; i < 2; i++) {
		const char *p = parts[i];

		while (*p) {
			size_t len = strcspn(p, "/");

			if (len && !(len == 1 && p[0] == '.')) {
				wfs_text_add(&t, "/");
				wfs_text_add_bytes(&t, p, len);
			}
			p += len + (p[len] == '/');
		}
	}
	if (!t.len)
		wfs_text_add(&t, "/");
	return t.data;
}

/* What the link `path` points to, as an absolute path, or NULL. */
static char *read_link(const char *path)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	const char *slash = strrchr(path, '/');

	if (n <= 0)
		return NULL;
	target[n] = '\0';
	if (target[0] == '/')
		return wfs_path_absolute(target);
	return wfs_asprintf("%.*s/%s", (int)(slash - path), path, target);
}

static char *resolve(const char *path, unsigned links)
{
	char *full wfs_autofree = wfs_path_absolute(path);
	char *slash = strrchr(full, '/');
	char *dir wfs_autofree = NULL;
	char *joined wfs_autofree = NULL;
	char *target wfs_autofree = NULL;
	char *all;

	if (!slash[1])
		return wfs_steal_ptr(&full);
	if (strcmp(slash, "/..") == 0) {
		/* An ancestor of what stands before it: no mount to fear. */
		all = realpath(full, NULL);
		return all ? all : wfs_steal_ptr(&full);
	}
	*slash = '\0';
	dir = realpath(slash == full ? "/" : full, NULL);
	*slash = '/';
	if (!dir)
		return wfs_steal_ptr(&full);
	joined = wfs_asprintf("%s%s", strcmp(dir, "/") == 0 ? "" : dir, slash);
	target = links ? read_link(joined) : NULL;
	return target ? resolve(target, links - 1) : wfs_steal_ptr(&joined);
}

char *wfs_path_mountpoint(const char *path)
{
	return resolve(path, LINKS_MAX);
}

char *wfs_usual_cache(const char *part)
{
	const char *cache = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");

	if (cache && cache[0] == '/')
		return wfs_asprintf("%s/weightfs/%s", cache, part);
	if (geteuid() == 0)
		return wfs_asprintf("/var/cache/weightfs/%s", part);
	if (home && home[0] == '/')
		return wfs_asprintf("%s/.cache/weightfs/%s", home, part);
	return NULL;
}
