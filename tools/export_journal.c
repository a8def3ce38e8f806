/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an export has finished, so that the next one need not read it again.
 *
 * One line a file: the hash of what it is made from, and the size, mtime and
 * inode that it then had.  A line is written after the file has its name; a
 * line that is torn is none, and its file is compared instead.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/text.h"
#include "tools/export.h"

#define JOURNAL	    "finished"
#define JOURNAL_MAX (1u << 30)

/* One line, parsed; as bytes so that they sort and compare as one. */
struct line {
	uint8_t identity[WFS_IDENTITY];
	uint64_t size, mtime_ns, ino;
};

_Static_assert(sizeof(struct line) == WFS_IDENTITY + 24, "no padding");

static int compare_lines(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct line));
}

static void line_of(const struct wfs_export_item *item, const struct stat *st,
		    struct line *ret)
{
	memcpy(ret->identity, item->identity, WFS_IDENTITY);
	ret->size = (uint64_t)st->st_size;
	ret->mtime_ns = (uint64_t)st->st_mtim.tv_sec * 1000000000ull +
			(uint64_t)st->st_mtim.tv_nsec;
	ret->ino = st->st_ino;
}

static void to_hex(const uint8_t *bytes, char *out)
{
	for (unsigned i = 0; i < WFS_IDENTITY; i++)
		snprintf(out + (size_t)i * 2, 3, "%02x", bytes[i]);
}

static bool from_hex(const char *hex, uint8_t *bytes)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < 2 * WFS_IDENTITY; i++) {
		const char *d = hex[i] ? strchr(digits, hex[i]) : NULL;

		if (!d)
			return false;
		bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | (d - digits));
	}
	return true;
}

void wfs_export_part_name(const struct wfs_export_item *item,
			  char name[WFS_EXPORT_PART_NAME])
{
	to_hex(item->identity, name);
	memcpy(name + (size_t)2 * WFS_IDENTITY, ".part", 6);
}

/* Digits after a blank; moves `*text` behind them. */
static bool take_number(const char **text, uint64_t *ret)
{
	char *end;

	if ((*text)[0] != ' ' || !isdigit((unsigned char)(*text)[1]))
		return false;
	*ret = strtoull(*text + 1, &end, 10);
	*text = end;
	return true;
}

/* The full stop at its end shows that none of it is missing. */
static bool parse_line(const char *text, struct line *ret)
{
	*ret = (struct line){ 0 };
	if (!from_hex(text, ret->identity))
		return false;
	text += (size_t)2 * WFS_IDENTITY;
	return take_number(&text, &ret->size) &&
	       take_number(&text, &ret->mtime_ns) &&
	       take_number(&text, &ret->ino) && !strcmp(text, " .");
}

static void parse_journal(struct wfs_export *x, char *text)
{
	struct line *lines = NULL;
	size_t count = 0;
	char *next;

	for (char *s = text; *s; s = next) {
		next = strchrnul(s, '\n');
		if (*next)
			*next++ = '\0';
		if ((count & (count - 1)) == 0)
			lines = wfs_realloc(lines, (count ? count * 2 : 1) *
							   sizeof(*lines));
		count += parse_line(s, &lines[count]);
	}
	if (count)
		qsort(lines, count, sizeof(*lines), compare_lines);
	x->finished = lines;
	x->finished_count = count;
}

int wfs_export_journal_open(struct wfs_export *x, struct wfs_err *err)
{
	char *text wfs_autofree = NULL;
	size_t len;
	int rc;

	if (mkdirat(x->dir_fd, WFS_EXPORT_WORK, 0700) && errno != EEXIST)
		return wfs_err_set(err, -errno, "cannot make '%s/%s': %s",
				   x->target, WFS_EXPORT_WORK, strerror(errno));
	x->work_fd = openat(x->dir_fd, WFS_EXPORT_WORK,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (x->work_fd >= 0)
		x->journal_fd = openat(x->work_fd, JOURNAL,
				       O_RDWR | O_CREAT | O_APPEND |
					       O_NOFOLLOW | O_CLOEXEC,
				       0600);
	if (x->work_fd < 0 || x->journal_fd < 0)
		return wfs_err_set(err, -errno, "cannot open '%s/%s': %s",
				   x->target, WFS_EXPORT_WORK, strerror(errno));
	rc = wfs_fd_slurp(x->journal_fd, JOURNAL_MAX, &text, &len);
	if (rc)
		return wfs_err_set(err, rc, "cannot read '%s/%s/%s': %s",
				   x->target, WFS_EXPORT_WORK, JOURNAL,
				   strerror(-rc));
	parse_journal(x, text);
	return 0;
}

bool wfs_export_journal_has(const struct wfs_export *x,
			    const struct wfs_export_item *item,
			    const struct stat *st)
{
	struct line line;

	line_of(item, st, &line);
	return x->finished_count &&
	       bsearch(&line, x->finished, x->finished_count, sizeof(line),
		       compare_lines);
}

int wfs_export_journal_add(struct wfs_export *x,
			   const struct wfs_export_item *item,
			   const struct stat *st, struct wfs_err *err)
{
	char hex[2 * WFS_IDENTITY + 1];
	char *text wfs_autofree = NULL;
	struct line line;
	ssize_t n;

	line_of(item, st, &line);
	to_hex(line.identity, hex);
	/* In front, too: the line before may be torn. */
	text = wfs_asprintf("\n%s %" PRIu64 " %" PRIu64 " %" PRIu64 " .\n", hex,
			    line.size, line.mtime_ns, line.ino);
	n = write(x->journal_fd, text, strlen(text));
	if (n == (ssize_t)strlen(text))
		return 0;
	return wfs_err_set(err, n < 0 ? -errno : -ENOSPC,
			   "cannot write '%s/%s/%s': %s", x->target,
			   WFS_EXPORT_WORK, JOURNAL,
			   strerror(n < 0 ? errno : ENOSPC));
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

typedef char part_name[WFS_EXPORT_PART_NAME];

/* All but the journal and the `count` names, which are sorted. */
static void remove_others(const struct wfs_export *x, const part_name *names,
			  size_t count)
{
	int fd = dup(x->work_fd);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *d;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	rewinddir(dir);
	while ((d = readdir(dir))) {
		if (d->d_name[0] == '.' || !strcmp(d->d_name, JOURNAL) ||
		    (count && bsearch(d->d_name, names, count, sizeof(*names),
				      compare_names)))
			continue;
		unlinkat(x->work_fd, d->d_name, 0);
	}
	closedir(dir);
}

void wfs_export_work_tidy(struct wfs_export *x)
{
	part_name *names wfs_autofree =
		wfs_calloc(x->count + 1, sizeof(*names));
	size_t count = 0;

	for (size_t i = 0; i < x->count; i++)
		if (x->items[i].state != WFS_EXPORT_KEPT)
			wfs_export_part_name(&x->items[i], names[count++]);
	qsort(names, count, sizeof(*names), compare_names);
	remove_others(x, names, count);
}

void wfs_export_work_remove(struct wfs_export *x)
{
	remove_others(x, NULL, 0);
	unlinkat(x->work_fd, JOURNAL, 0);
	/* What cannot be removed is found, and used, by the next export. */
	unlinkat(x->dir_fd, WFS_EXPORT_WORK, AT_REMOVEDIR);
}

void wfs_export_work_leave(struct wfs_export *x)
{
	struct stat st;

	if (x->journal_fd < 0 || fstat(x->journal_fd, &st) || st.st_size)
		return;
	/* The journal first: with parts beside it, the directory stays. */
	unlinkat(x->work_fd, JOURNAL, 0);
	unlinkat(x->dir_fd, WFS_EXPORT_WORK, AT_REMOVEDIR);
}
