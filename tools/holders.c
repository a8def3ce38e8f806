/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks through /proc.  Open files are told by the mount id in fdinfo, maps
 * by their device number, directories by their path: none of them asks the
 * mount for anything, so a dead or hung one can be searched too.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/holders.h"

#define MAPS_MAX (64u << 20)

struct search {
	const struct wfs_mount *mount;
	char dir[32]; /* "/proc/<pid>" */
	unsigned files, maps;
	char file[PATH_MAX]; /* one of them, or "" */
	char map[PATH_MAX];
	bool cwd, root, exe;
};

static bool read_link(const char *path, char *buf)
{
	ssize_t n = readlink(path, buf, PATH_MAX - 1);

	buf[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static bool is_on_mount(const char *fdinfo, unsigned id)
{
	char *text wfs_autofree = NULL;
	const char *line;
	size_t len;

	if (wfs_file_slurp(fdinfo, 1 << 20, &text, &len))
		return false;
	line = strstr(text, "mnt_id:");
	return line && strtoul(line + strlen("mnt_id:"), NULL, 10) == id;
}

static void search_files(struct search *s)
{
	char *path wfs_autofree = wfs_asprintf("%s/fdinfo", s->dir);
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char *info wfs_autofree =
			wfs_asprintf("%s/%s", path, entry->d_name);
		char *link wfs_autofree =
			wfs_asprintf("%s/fd/%s", s->dir, entry->d_name);

		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    !is_on_mount(info, s->mount->id))
			continue;
		if (!s->files++)
			read_link(link, s->file);
	}
	if (dir)
		closedir(dir);
}

/* A line of maps: range, mode, offset, device, inode, path. */
static void search_map(struct search *s, char *line)
{
	char *device = NULL, *end;

	for (unsigned i = 0; i < 4; i++)
		device = strsep(&line, " ");
	if (!device || !line || strtoul(device, &end, 16) != s->mount->major ||
	    *end != ':' || strtoul(end + 1, NULL, 16) != s->mount->minor)
		return;
	if (!s->maps++ && strsep(&line, " ") && line)
		snprintf(s->map, sizeof(s->map), "%s",
			 line + strspn(line, " "));
}

static void search_maps(struct search *s)
{
	char *path wfs_autofree = wfs_asprintf("%s/maps", s->dir);
	char *text wfs_autofree = NULL;
	char *rest, *line;
	size_t len;

	if (wfs_file_slurp(path, MAPS_MAX, &text, &len))
		return;
	rest = text;
	while ((line = strsep(&rest, "\n")))
		search_map(s, line);
}

static bool leads_in(const struct search *s, const char *what)
{
	char *path wfs_autofree = wfs_asprintf("%s/%s", s->dir, what);
	const char *point = s->mount->point;
	char target[PATH_MAX];
	size_t len = strlen(point);

	return read_link(path, target) && strncmp(target, point, len) == 0 &&
	       (target[len] == '/' || target[len] == '\0');
}

static void add_part(struct wfs_text *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void add_part(struct wfs_text *t, const char *fmt, ...)
{
	char *part wfs_autofree = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&part, fmt, args) < 0)
		part = NULL;
	va_end(args);
	wfs_text_add(t, "%s%s", t->len ? ", " : "", part ? part : "");
}

static char *describe(const struct search *s)
{
	struct wfs_text t = { 0 };

	if (s->files == 1)
		add_part(&t, "'%s' is open", s->file);
	else if (s->files)
		add_part(&t, "%u files are open, such as '%s'", s->files,
			 s->file);
	if (s->maps)
		add_part(&t, "'%s' is mapped", s->map);
	if (s->cwd)
		add_part(&t, "its working directory");
	if (s->root)
		add_part(&t, "its root directory");
	if (s->exe)
		add_part(&t, "its program");
	return t.data;
}

static void add_holder(struct wfs_holders *all, const struct search *s, int pid)
{
	char *path wfs_autofree = wfs_asprintf("%s/comm", s->dir);
	struct wfs_holder holder = { .pid = pid, .how = describe(s) };
	char *comm wfs_autofree = NULL;
	size_t len;

	if (wfs_file_slurp(path, 256, &comm, &len) == 0) {
		comm[strcspn(comm, "\n")] = '\0';
		wfs_text_escape(comm, holder.command, sizeof(holder.command));
	}
	all->rows =
		wfs_realloc(all->rows, (all->count + 1) * sizeof(*all->rows));
	all->rows[all->count++] = holder;
}

static void search_process(struct wfs_holders *all,
			   const struct wfs_mount *mount, int pid)
{
	struct search s = { .mount = mount };

	snprintf(s.dir, sizeof(s.dir), "/proc/%d", pid);
	search_files(&s);
	search_maps(&s);
	s.cwd = leads_in(&s, "cwd");
	s.root = leads_in(&s, "root");
	s.exe = leads_in(&s, "exe");
	if (s.files || s.maps || s.cwd || s.root || s.exe)
		add_holder(all, &s, pid);
}

void wfs_holders_find(const struct wfs_mount *mount,
		      struct wfs_holders *ret_holders)
{
	struct wfs_holders all = { 0 };
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		if (isdigit((unsigned char)entry->d_name[0]))
			search_process(&all, mount,
				       (int)strtol(entry->d_name, NULL, 10));
	}
	if (proc)
		closedir(proc);
	*ret_holders = all;
}

void wfs_holders_clear(struct wfs_holders *holders)
{
	for (size_t i = 0; i < holders->count; i++)
		free(holders->rows[i].how);
	free(holders->rows);
	*holders = (struct wfs_holders){ 0 };
}
