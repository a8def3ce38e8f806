/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a config file with inih.
 *
 * inih reports the line of a mistake but not what it was, cuts long lines in
 * two without a word, and takes an indented line for more of the key above.
 * So the text is looked over first, and handed over line by line by its own
 * reader, which also counts.
 */
#include <errno.h>
#include <ini.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/text.h"
#include "tools/config.h"
#include "tools/path.h"

#define FILE_BYTES_MAX (1024 * 1024)

struct reader {
	const char *path;
	const char *next; /* text not yet handed over */
	int line;	  /* the last one that was */
	struct wfs_options *options;
	struct wfs_err *err;
};

/* 0, which tells inih that a key is wrong. */
static int refuse(struct reader *r, const char *what, const char *word)
{
	wfs_err_set(r->err, -EINVAL, "'%s' line %d: %s '%s'", r->path, r->line,
		    what, word);
	return 0;
}

/* fgets() over the text; `size` is what inih holds in one line. */
static char *read_line(char *buf, int size, void *stream)
{
	struct reader *r = stream;
	const char *end = strchr(r->next, '\n');
	size_t len = end ? (size_t)(end - r->next) + 1 : strlen(r->next);

	if (!len || r->err->code)
		return NULL;
	r->line++;
	if (len >= (size_t)size) {
		wfs_err_set(r->err, -EINVAL,
			    "'%s' line %d: longer than %d bytes", r->path,
			    r->line, size - 2);
		return NULL;
	}
	/* An indented line would be taken for more of the value above. */
	while (len > 1 && (*r->next == ' ' || *r->next == '\t')) {
		r->next++;
		len--;
	}
	memcpy(buf, r->next, len);
	buf[len] = '\0';
	r->next += len;
	return buf;
}

static const char *own_section(const struct wfs_options *options)
{
	return options->command == WFS_FOR_SEED ? "seed" : "mount";
}

/* One key: 1, or 0 when it is wrong. */
static int take(void *user, const char *section, const char *name,
		const char *value)
{
	struct reader *r = user;
	struct wfs_err why = { 0 };

	if (r->err->code)
		return 0;
	if (!section[0])
		return refuse(r, "before the section [mount] or [seed] stands",
			      name);
	if (strcmp(section, "mount") != 0 && strcmp(section, "seed") != 0)
		return refuse(r, "there is no section", section);
	if (!name) /* some builds of inih announce a section so */
		return 1;
	if (strcmp(section, own_section(r->options)) != 0)
		return 1; /* one file may be for both */
	if (strcmp(name, "config") == 0)
		return refuse(r, "a config file cannot name another:", value);
	if (wfs_options_set(r->options, name, value, &why)) {
		wfs_err_set(r->err, why.code, "'%s' line %d: %s", r->path,
			    r->line, why.text);
		return 0;
	}
	return 1;
}

/* A user's own plans lie beside the config, unless it says where. */
static void find_plans(const char *path, struct wfs_options *options)
{
	char *file wfs_autofree = wfs_path_absolute(path);
	int len = (int)(strrchr(file, '/') - file);
	char *dir wfs_autofree = wfs_asprintf("%.*s/plans", len, file);
	struct stat st;

	if (!options->plans_dir && !stat(dir, &st) && S_ISDIR(st.st_mode))
		options->plans_dir = wfs_steal_ptr(&dir);
}

int wfs_config_read(const char *path, struct wfs_options *options,
		    struct wfs_err *err)
{
	char *text wfs_autofree = NULL;
	struct wfs_err local = { 0 };
	struct reader r = { .path = path, .options = options };
	size_t len;
	int rc;

	r.err = err ? err : &local;
	*r.err = (struct wfs_err){ 0 };
	rc = wfs_file_slurp(path, FILE_BYTES_MAX, &text, &len);
	if (rc)
		return wfs_err_set(r.err, rc, "cannot read config '%s': %s",
				   path, strerror(-rc));
	if (strlen(text) != len)
		return wfs_err_set(r.err, -EINVAL,
				   "config '%s' holds a NUL byte", path);
	r.next = text;
	rc = ini_parse_stream(read_line, &r, take, &r);
	if (rc && !r.err->code)
		return wfs_err_set(r.err, -EINVAL,
				   "'%s' line %d: neither a [section] nor "
				   "key = value",
				   path, rc < 0 ? r.line : rc);
	if (!r.err->code)
		find_plans(path, options);
	return r.err->code;
}
