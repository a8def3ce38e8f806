/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading mountinfo: see proc_pid_mountinfo(5).
 */
#include <string.h>

#include "core/base/text.h"
#include "core/base/mounts.h"

#define MOUNTINFO     "/proc/self/mountinfo"
#define MOUNTINFO_MAX (64u << 20)

static bool is_octal(const char *s)
{
	for (unsigned i = 0; i < 3; i++) {
		if (s[i] < '0' || s[i] > '7')
			return false;
	}
	return true;
}

/* Undoes the escapes of blanks and backslashes, in place. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && is_octal(s + 1)) {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 +
				       (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* The next word of *text, or NULL. */
static char *word(char **text)
{
	return strsep(text, " ");
}

/* Fills a row from one line, which it changes; false if it is none. */
static bool parse_line(char *line, struct wfs_mount *ret)
{
	struct wfs_mount m = { 0 };
	char *rest = line, *id, *parent, *device, *root, *point;
	char *fstype, *source, *minor;

	id = word(&rest);
	parent = word(&rest);
	device = word(&rest);
	root = word(&rest);
	point = word(&rest);
	if (!root || !point || !rest)
		return false;
	/* Options and optional fields, as many as there are. */
	rest = strstr(rest, " - ");
	if (!rest)
		return false;
	rest += 3;
	fstype = word(&rest);
	source = word(&rest);
	m.id = (unsigned)strtoul(id, NULL, 10);
	m.parent = (unsigned)strtoul(parent, NULL, 10);
	m.major = (unsigned)strtoul(device, &minor, 10);
	if (!source || *minor != ':')
		return false;
	m.minor = (unsigned)strtoul(minor + 1, NULL, 10);
	unescape(point);
	unescape(fstype);
	unescape(source);
	m.point = wfs_strdup(point);
	m.fstype = wfs_strdup(fstype);
	m.source = wfs_strdup(source);
	*ret = m;
	return true;
}

void wfs_mounts_parse(const char *text, struct wfs_mounts *ret_mounts)
{
	char *copy wfs_autofree = wfs_strdup(text);
	struct wfs_mounts all = { 0 };
	char *rest = copy, *line;
	size_t cap = 0;

	while ((line = strsep(&rest, "\n"))) {
		if (all.count == cap) {
			cap = cap ? 2 * cap : 32;
			all.rows =
				wfs_realloc(all.rows, cap * sizeof(*all.rows));
		}
		if (parse_line(line, &all.rows[all.count]))
			all.count++;
	}
	*ret_mounts = all;
}

int wfs_mounts_read(struct wfs_mounts *ret_mounts, struct wfs_err *err)
{
	char *text wfs_autofree = NULL;
	size_t len;
	int rc = wfs_file_slurp(MOUNTINFO, MOUNTINFO_MAX, &text, &len);

	if (rc)
		return wfs_err_set(err, rc, "cannot read '" MOUNTINFO "': %s",
				   strerror(-rc));
	wfs_mounts_parse(text, ret_mounts);
	return 0;
}

void wfs_mounts_clear(struct wfs_mounts *mounts)
{
	for (size_t i = 0; i < mounts->count; i++) {
		free(mounts->rows[i].point);
		free(mounts->rows[i].fstype);
		free(mounts->rows[i].source);
	}
	free(mounts->rows);
	*mounts = (struct wfs_mounts){ 0 };
}

bool wfs_mount_is_weightfs(const struct wfs_mount *mount)
{
	return strcmp(mount->fstype, "fuse.weightfs") == 0;
}

const struct wfs_mount *wfs_mounts_at(const struct wfs_mounts *mounts,
				      const char *point)
{
	for (size_t i = mounts->count; i-- > 0;) {
		if (strcmp(mounts->rows[i].point, point) == 0)
			return &mounts->rows[i];
	}
	return NULL;
}

bool wfs_mounts_shows(const struct wfs_mounts *mounts,
		      const struct wfs_mount *mount)
{
	return wfs_mount_is_weightfs(mount) &&
	       wfs_mounts_at(mounts, mount->point) == mount;
}

static bool lies_in(const char *path, const char *point)
{
	size_t len = strlen(point);

	if (strcmp(point, "/") == 0)
		return path[0] == '/';
	return strncmp(path, point, len) == 0 &&
	       (path[len] == '/' || path[len] == '\0');
}

const struct wfs_mount *wfs_mounts_of(const struct wfs_mounts *mounts,
				      const char *path)
{
	const struct wfs_mount *best = NULL;

	for (size_t i = 0; i < mounts->count; i++) {
		const struct wfs_mount *m = &mounts->rows[i];

		if (lies_in(path, m->point) &&
		    (!best || strlen(m->point) >= strlen(best->point)))
			best = m;
	}
	return best;
}
