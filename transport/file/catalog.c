/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which checkpoints lie in a directory.  Asked every few seconds, so it looks
 * at names only.  A checkpoint that is left out would be taken for one that is
 * gone: being out of descriptors or memory fails the whole scan, and a
 * directory that cannot be read (EIO) is listed, for its opening to say why.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/text.h"
#include "transport/file/catalog.h"

#define HUB_PREFIX "models--"

/* A revision is 40 hex digits; the hub's branch files hold nothing else. */
#define REVISION_BYTES 256

struct scan {
	const char *dir;
	bool follow;
	struct wfs_catalog found;
	size_t cap;
};

/* Names that make a directory a checkpoint. */
static const char *const marks[] = {
	"*.safetensors", "*.gguf",	     "pytorch_model*.bin",
	"*.pth",	 "config.json",	     "*.safetensors.index.json",
	"*.pt",		 "model_index.json",
};

static bool is_mark(const char *name)
{
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		if (fnmatch(marks[i], name, 0) == 0)
			return true;
	}
	return false;
}

/* `code` if it is about us and not about the directory, else 0. */
static int ours(int code)
{
	return code == -EMFILE || code == -ENFILE || code == -ENOMEM ? code : 0;
}

/* Nothing is there for us: removed, no directory, not allowed, dead mount. */
static bool is_nothing(int code)
{
	return code == -ENOENT || code == -ENOTDIR || code == -ELOOP ||
	       code == -EACCES || code == -EPERM || code == -ENOTCONN;
}

static int open_dir(const struct scan *s, int at, const char *name)
{
	int fd = openat(at, name,
			O_RDONLY | O_DIRECTORY | O_CLOEXEC |
				(s->follow ? 0 : O_NOFOLLOW));

	return fd < 0 ? -errno : fd;
}

/* Calls fn for every name in the directory until it returns non-zero. */
static int for_each_name(int fd, int (*fn)(void *ctx, int fd, const char *name),
			 void *ctx)
{
	const struct dirent *entry;
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *dir = own < 0 ? NULL : fdopendir(own);
	int rc = 0;

	if (!dir) {
		rc = -errno;
		if (own >= 0)
			close(own);
		return rc;
	}
	rewinddir(dir);
	while (!rc) {
		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			rc = -errno;
			break;
		}
		if (entry->d_name[0] != '.')
			rc = fn(ctx, fd, entry->d_name);
	}
	closedir(dir);
	return rc;
}

static int stop_at_mark(void *ctx, int fd, const char *name)
{
	(void)ctx;
	(void)fd;
	return is_mark(name);
}

/* 1, 0 or a negative errno. */
static int is_checkpoint(int fd)
{
	return for_each_name(fd, stop_at_mark, NULL);
}

/* Takes over `name` and `path`. */
static void add(struct scan *s, char *name, char *path)
{
	if (strlen(name) > NAME_MAX) {
		free(name);
		free(path);
		return;
	}
	if (s->found.count == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 16;
		s->found.entries = wfs_realloc(
			s->found.entries, s->cap * sizeof(*s->found.entries));
	}
	s->found.entries[s->found.count++] =
		(struct wfs_catalog_entry){ .name = name, .path = path };
}

struct hub {
	struct scan *scan;
	const char *repo;	       /* "models--ORG--NAME" */
	char main[REVISION_BYTES + 1]; /* revision of refs/main, or "" */
	char **revisions;	       /* snapshots that hold a checkpoint */
	size_t count;
};

/* Reads refs/main; leaves hub->main empty where there is none. */
static int read_main(struct hub *hub, int repo)
{
	int fd wfs_autoclose = -1;
	int refs wfs_autoclose = open_dir(hub->scan, repo, "refs");
	struct stat st;
	ssize_t n;

	if (refs < 0)
		return ours(refs);
	fd = openat(refs, "main",
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return ours(-errno);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	n = pread(fd, hub->main, REVISION_BYTES, 0);
	if (n < 0)
		return 0;
	hub->main[n] = '\0';
	hub->main[strcspn(hub->main, " \t\r\n")] = '\0';
	return 0;
}

static int visit_snapshot(void *ctx, int snapshots, const char *name)
{
	struct hub *hub = ctx;
	int fd wfs_autoclose = open_dir(hub->scan, snapshots, name);
	int rc;

	if (fd < 0)
		return ours(fd);
	rc = is_checkpoint(fd);
	if (rc <= 0)
		return ours(rc);
	hub->revisions = wfs_realloc(
		hub->revisions, (hub->count + 1) * sizeof(*hub->revisions));
	hub->revisions[hub->count++] = wfs_strdup(name);
	return 0;
}

static void add_snapshots(struct hub *hub)
{
	const char *model = hub->repo + strlen(HUB_PREFIX);
	bool has_main = hub->count == 1;

	for (size_t i = 0; i < hub->count; i++)
		has_main |= strcmp(hub->revisions[i], hub->main) == 0;
	for (size_t i = 0; i < hub->count; i++) {
		const char *rev = hub->revisions[i];
		bool is_main = has_main &&
			       (hub->count == 1 || strcmp(rev, hub->main) == 0);

		add(hub->scan,
		    is_main ? wfs_strdup(model) :
			      wfs_asprintf("%s@%s", model, rev),
		    wfs_asprintf("%s/%s/snapshots/%s", hub->scan->dir,
				 hub->repo, rev));
	}
}

/* 1 when `repo` is a hub's, 0 when it is not, or a negative errno. */
static int visit_hub(struct scan *s, int repo, const char *name)
{
	struct hub hub = { .scan = s, .repo = name };
	int snapshots wfs_autoclose = open_dir(s, repo, "snapshots");
	int rc;

	if (snapshots < 0)
		return ours(snapshots);
	rc = read_main(&hub, repo);
	if (!rc)
		rc = for_each_name(snapshots, visit_snapshot, &hub);
	rc = ours(rc);
	if (!rc)
		add_snapshots(&hub);
	for (size_t i = 0; i < hub.count; i++)
		free(hub.revisions[i]);
	free(hub.revisions);
	return rc ? rc : 1;
}

static int visit(void *ctx, int dir, const char *name)
{
	struct scan *s = ctx;
	int fd wfs_autoclose = open_dir(s, dir, name);
	int rc = fd < 0 ? fd : 0;

	if (!rc && wfs_starts_with(name, HUB_PREFIX) &&
	    name[strlen(HUB_PREFIX)]) {
		rc = visit_hub(s, fd, name);
		if (rc)
			return rc < 0 ? rc : 0;
	}
	if (!rc)
		rc = is_checkpoint(fd);
	if (ours(rc))
		return rc;
	if (rc && !is_nothing(rc))
		add(s, wfs_strdup(name), wfs_asprintf("%s/%s", s->dir, name));
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	const struct wfs_catalog_entry *x = a, *y = b;
	int rc = strcmp(x->name, y->name);
	size_t x_len = strlen(x->path), y_len = strlen(y->path);

	/* "x" before "models--x", when both are there. */
	return rc ? rc : (x_len > y_len) - (x_len < y_len);
}

/* Of entries with one name only the first stays. */
static void drop_twins(struct wfs_catalog *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->count; i++) {
		struct wfs_catalog_entry *e = &c->entries[i];

		if (kept && strcmp(c->entries[kept - 1].name, e->name) == 0) {
			free(e->name);
			free(e->path);
			continue;
		}
		c->entries[kept++] = *e;
	}
	c->count = kept;
}

int wfs_catalog_scan(const char *dir, bool follow_links,
		     struct wfs_catalog *ret_catalog, struct wfs_err *err)
{
	struct scan s = { .dir = dir, .follow = follow_links };
	int fd wfs_autoclose = -1;
	int rc;

	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return wfs_err_set(err, -errno,
				   "cannot open the models directory '%s': %s",
				   dir, strerror(errno));
	rc = for_each_name(fd, visit, &s);
	if (rc) {
		wfs_catalog_clear(&s.found);
		return wfs_err_set(err, rc,
				   "cannot look through the models directory "
				   "'%s': %s",
				   dir, strerror(-rc));
	}
	if (s.found.count)
		qsort(s.found.entries, s.found.count, sizeof(*s.found.entries),
		      compare_entries);
	drop_twins(&s.found);
	*ret_catalog = s.found;
	return 0;
}

void wfs_catalog_clear(struct wfs_catalog *catalog)
{
	for (size_t i = 0; i < catalog->count; i++) {
		free(catalog->entries[i].name);
		free(catalog->entries[i].path);
	}
	free(catalog->entries);
	*catalog = (struct wfs_catalog){ 0 };
}
