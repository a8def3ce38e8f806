/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory cgroups, version 1 and 2.
 *
 * /proc/self/cgroup says in which cgroup we are, /proc/self/mountinfo where
 * the hierarchies are mounted and which cgroup is the root of each mount.
 */
#include "core/store/cgroup.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/text.h"

#define TEXT_LIMIT (16u << 20)
#define MARGIN	   (32ull << 20)

/* Version 1 says "no limit" by the largest multiple of a page. */
#define NO_LIMIT_V1 (1ull << 62)

static char *slurp(const char *dir, const char *name)
{
	char *path wfs_autofree = wfs_asprintf("%s/%s", dir, name);
	char *text = NULL;
	size_t len;

	if (wfs_file_slurp(path, TEXT_LIMIT, &text, &len))
		return NULL;
	return text;
}

/* The number after `key` in lines of "key number"; `none` if there is none. */
static uint64_t field(const char *text, const char *key, uint64_t none)
{
	size_t len = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (!strncmp(p, key, len) && strchr(" \t:", p[len]) && p[len])
			return strtoull(p + len + 1, NULL, 10);
	}
	return none;
}

static uint64_t number(const char *dir, const char *name, uint64_t none)
{
	char *text wfs_autofree = slurp(dir, name);
	char *end;
	uint64_t value;

	if (!text)
		return none;
	value = strtoull(text, &end, 10);
	return end == text ? none : value; /* "max" */
}

uint64_t wfs_meminfo(const char *root, const char *key)
{
	char *dir wfs_autofree = wfs_asprintf("%s/proc", root);
	char *text wfs_autofree = slurp(dir, "meminfo");
	uint64_t kib = field(text, key, UINT64_MAX);

	return kib > UINT64_MAX / 1024 ? UINT64_MAX : kib * 1024;
}

uint64_t wfs_cgroup_limit(const struct wfs_cgroup *group)
{
	uint64_t max, high;

	if (group->version == 1) {
		max = number(group->dir, "memory.limit_in_bytes", UINT64_MAX);
		return max >= NO_LIMIT_V1 ? UINT64_MAX : max;
	}
	/* Beyond "high" every allocation is made to wait: a limit as well. */
	max = number(group->dir, "memory.max", UINT64_MAX);
	high = number(group->dir, "memory.high", UINT64_MAX);
	return max < high ? max : high;
}

/*
 * Page cache of files, which goes when memory is short.  Shared memory is
 * not in these two lists; what is dirty has to be written first.
 */
static uint64_t reclaimable(const struct wfs_cgroup *group)
{
	static const char *const keys[2][4] = {
		{ "total_inactive_file", "total_active_file", "total_dirty",
		  "total_writeback" },
		{ "inactive_file", "active_file", "file_dirty",
		  "file_writeback" },
	};
	const char *const *key = keys[group->version - 1];
	char *stat wfs_autofree = slurp(group->dir, "memory.stat");
	uint64_t cache = field(stat, key[0], 0) + field(stat, key[1], 0);
	uint64_t dirty = field(stat, key[2], 0) + field(stat, key[3], 0);

	return cache > dirty ? cache - dirty : 0;
}

uint64_t wfs_cgroup_room(const struct wfs_cgroup *group)
{
	uint64_t limit = wfs_cgroup_limit(group);
	uint64_t usage, cache, margin;

	if (limit == UINT64_MAX)
		return UINT64_MAX;
	usage = number(group->dir,
		       group->version == 1 ? "memory.usage_in_bytes" :
					     "memory.current",
		       limit);
	cache = reclaimable(group);
	usage -= cache < usage ? cache : usage;
	margin = limit / 50 > MARGIN ? limit / 50 : MARGIN;
	if (usage + margin >= limit)
		return 0;
	return limit - margin - usage;
}

/* One mount of a hierarchy that has the memory controller. */
struct mount {
	char *dir;  /* where it is mounted, root in front */
	char *base; /* the cgroup that is the root of this mount */
};

/* Undoes the \ooo of mountinfo in place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' &&
		    s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				       (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* Is `word` one of the comma-separated `list`? */
static bool listed(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (!strncmp(p, word, len) && (!p[len] || p[len] == ','))
			return true;
	}
	return false;
}

/*
 * "36 35 98:0 /base /dir rw,… [tags] - type source options": the first mount
 * of version `version` wins.
 */
static bool parse_mount(char *line, int version, const char *root,
			struct mount *ret)
{
	char base[4096], dir[4096], type[64], options[4096];
	char *rest = strstr(line, " - ");

	if (!rest ||
	    sscanf(line, "%*s %*s %*s %4095s %4095s", base, dir) != 2 ||
	    sscanf(rest, " - %63s %*s %4095s", type, options) != 2)
		return false;
	if (version == 2 ?
		    strcmp(type, "cgroup2") != 0 :
		    strcmp(type, "cgroup") != 0 || !listed(options, "memory"))
		return false;
	unescape(base);
	unescape(dir);
	ret->base = wfs_strdup(base);
	ret->dir = wfs_asprintf("%s%s", root, dir);
	return true;
}

static bool find_mount(const char *mountinfo, int version, const char *root,
		       struct mount *ret)
{
	char *text wfs_autofree = wfs_strdup(mountinfo);
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (parse_mount(line, version, root, ret))
			return true;
	return false;
}

/* Our path in the hierarchy: "N:controllers:/path", "0::/path"; or NULL. */
static char *find_path(const char *self, int version)
{
	char *text wfs_autofree = wfs_strdup(self);
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *names = strchr(line, ':');
		char *path = names ? strchr(names + 1, ':') : NULL;

		if (!path)
			continue;
		*names++ = '\0';
		*path++ = '\0';
		if (version == 2 ? !*names && !strcmp(line, "0") :
				   listed(names, "memory"))
			return wfs_strdup(path);
	}
	return NULL;
}

/*
 * The part of `path` below the root of the mount; the root itself when the
 * path lies elsewhere, as a container that has no namespace of its own says.
 */
static const char *below(const struct mount *mount, const char *path)
{
	size_t len = strlen(mount->base);
	char *dir wfs_autofree = NULL;

	if (len == 1) /* "/" */
		len = 0;
	if (strncmp(path, mount->base, len) ||
	    (path[len] && path[len] != '/') || strstr(path, "/.."))
		return "";
	path += len;
	dir = wfs_asprintf("%s%s", mount->dir, path);
	return access(dir, F_OK) ? "" : path;
}

static void add_hierarchy(const struct mount *mount, int version,
			  const char *path, struct wfs_cgroup **groups,
			  unsigned *n)
{
	char *dir = wfs_asprintf("%s%s", mount->dir, below(mount, path));
	size_t top = strlen(mount->dir);

	for (;;) {
		char *slash;

		*groups = wfs_realloc(*groups, (*n + 1) * sizeof(**groups));
		(*groups)[(*n)++] =
			(struct wfs_cgroup){ wfs_strdup(dir), version };
		slash = strrchr(dir + top, '/');
		if (!slash)
			break;
		*slash = '\0';
	}
	free(dir);
}

unsigned wfs_cgroup_find(const char *root, struct wfs_cgroup **ret_groups,
			 char **ret_self)
{
	char *dir wfs_autofree = wfs_asprintf("%s/proc/self", root);
	char *mountinfo wfs_autofree = slurp(dir, "mountinfo");
	char *self = slurp(dir, "cgroup");
	struct wfs_cgroup *groups = NULL;
	unsigned n = 0;

	for (int version = 1; self && mountinfo && version <= 2; version++) {
		char *path wfs_autofree = find_path(self, version);
		struct mount mount;

		if (!path || !find_mount(mountinfo, version, root, &mount))
			continue;
		add_hierarchy(&mount, version, path, &groups, &n);
		free(mount.dir);
		free(mount.base);
	}
	*ret_groups = groups;
	*ret_self = self;
	return n;
}

void wfs_cgroup_free(struct wfs_cgroup *groups, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(groups[i].dir);
	free(groups);
}
