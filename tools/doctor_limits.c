/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor on limits of the system, and on what is needed besides by users
 * other than root.
 */
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/doctor.h"
#include "tools/process.h"

#define FILES_ENOUGH  4096 /* every file of every checkpoint stays open */
#define PAGES_USUAL   256
#define TIMEOUT_LEAST 120 /* seconds; a slow source may take as long */

typedef unsigned long long ull;

static void check_files(struct wfs_findings *found)
{
	uint64_t max = wfs_process_max_files();

	if (max >= FILES_ENOUGH)
		wfs_findings_add(found, "open files", WFS_LEVEL_OK, NULL,
				 "up to %llu", (ull)max);
	else
		wfs_findings_add(found, "open files", WFS_LEVEL_SLOW,
				 "ulimit -Hn 1048576, or LimitNOFILE= of a "
				 "service",
				 "up to %llu: checkpoints of more files are "
				 "refused",
				 (ull)max);
}

/* A number in /proc/sys/fs/fuse; false where the kernel has no such file. */
static bool read_number(const char *name, uint64_t *ret)
{
	char *path wfs_autofree = wfs_asprintf("/proc/sys/fs/fuse/%s", name);
	char *text wfs_autofree = NULL;
	size_t len;

	if (wfs_file_slurp(path, 64, &text, &len))
		return false;
	*ret = strtoull(text, NULL, 10);
	return true;
}

static void check_requests(struct wfs_findings *found)
{
	uint64_t pages, timeout, most;

	if (read_number("max_pages_limit", &pages) && pages < PAGES_USUAL)
		wfs_findings_add(
			found, "request size", WFS_LEVEL_SLOW,
			"sysctl fs.fuse.max_pages_limit=256",
			"reads that we answer come %llu pages at a time",
			(ull)pages);
	if (!read_number("default_request_timeout", &timeout))
		timeout = 0;
	if (read_number("max_request_timeout", &most) && most &&
	    (!timeout || timeout > most))
		timeout = most;
	if (timeout && timeout < TIMEOUT_LEAST)
		wfs_findings_add(found, "request timeout", WFS_LEVEL_SLOW,
				 "sysctl fs.fuse.default_request_timeout=0 "
				 "fs.fuse.max_request_timeout=0",
				 "the kernel ends a mount when one read takes "
				 "longer than %llu s",
				 (ull)timeout);
	else
		wfs_findings_add(found, "request timeout", WFS_LEVEL_OK, NULL,
				 timeout ? "%llu s" : "none", (ull)timeout);
}

static bool is_in_path(const char *name)
{
	const char *path = getenv("PATH");
	char *copy wfs_autofree = wfs_strdup(path ? path : "/usr/bin:/bin");
	char *rest = copy, *dir;

	while ((dir = strsep(&rest, ":"))) {
		char *file wfs_autofree = wfs_asprintf("%s/%s", dir, name);

		if (access(file, X_OK) == 0)
			return true;
	}
	return false;
}

/* Has fuse.conf a line that is this word? */
static bool is_allowed(const char *word)
{
	char *text wfs_autofree = NULL;
	char *rest, *line;
	size_t len;

	if (wfs_file_slurp("/etc/fuse.conf", 65536, &text, &len))
		return false;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		line += strspn(line, " \t");
		line[strcspn(line, " \t\r#")] = '\0';
		if (strcmp(line, word) == 0)
			return true;
	}
	return false;
}

static void check_other_users(struct wfs_findings *found)
{
	if (is_in_path("fusermount3"))
		wfs_findings_add(found, "fusermount3", WFS_LEVEL_OK, NULL,
				 "is there");
	else
		wfs_findings_add(found, "fusermount3", WFS_LEVEL_BROKEN,
				 "install the package fuse3",
				 "is missing: only root can mount");
	if (is_allowed("user_allow_other"))
		wfs_findings_add(found, "allow_other", WFS_LEVEL_OK, NULL,
				 "permitted by /etc/fuse.conf");
	else
		wfs_findings_add(found, "allow_other", WFS_LEVEL_OK, NULL,
				 "not permitted by /etc/fuse.conf "
				 "(user_allow_other): only you can read");
}

void wfs_doctor_limits(struct wfs_findings *found)
{
	check_files(found);
	check_requests(found);
	if (geteuid() != 0)
		check_other_users(found);
}
