/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs warm`: brings files of a mount to this node before anybody reads
 * them, and waits for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>

#include "core/base/text.h"
#include "fs/weightfs_ioctl.h"
#include "tools/cmd.h"
#include "tools/progress.h"

#define UNDER_WAY 16 /* files that are brought here at once */
#define PAUSE_NS  10000000L
/* Those behind the first are asked so often: for the bar, and if they failed. */
#define SWEEP_NS  200000000ull
#define READ_SIZE (1u << 20)
/* Nothing moved for so long: there is no room, not only none at the moment. */
#define ROOM_NS 5000000000ull

struct file {
	char *path;
	uint64_t size, shown; /* bytes; of them told to the progress */
	uint64_t position;    /* of how it is loaded, in its directory … */
	long dir;	      /* … of which so many were found before */
	size_t found;	      /* so many files were */
	bool started;
	bool refused; /* there was no room for it */
	bool kept;    /* it was all there */
};

struct warm {
	char **paths; /* the command line's */
	size_t path_count;
	struct file *files;
	size_t count, cap;
	uint64_t total;
	uint64_t moved_at; /* ns: more of some file was here, or is to be */
	struct wfs_progress progress;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct warm *w = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		w->paths = wfs_realloc(w->paths,
				       (w->path_count + 2) * sizeof(*w->paths));
		w->paths[w->path_count++] = arg;
		w->paths[w->path_count] = NULL;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	NULL,
	parse,
	"PATH…",
	"Brings files of a mount to this node and waits until they are there.\v"
	"PATH is a file or a directory: of a model's directory its own files "
	"are meant, of a rank's its tensors, in the order in which they were "
	"loaded the last time. Shows a bar on a terminal, else a line for each "
	"file.",
	NULL,
	NULL,
	NULL,
};

/* "0", "17", "pp-0-tp-1", ".ranks": the tensors of a rank, or of all. */
static bool is_rank(const char *name)
{
	return !strcmp(name, ".ranks") || !strncmp(name, "pp-", 3) ||
	       name[strspn(name, "0123456789")] == '\0';
}

/* 0 is before those that are loaded in an order: what is small. */
static uint64_t position_of(const char *path)
{
	char text[24];
	ssize_t n = getxattr(path, "user.weightfs.position", text,
			     sizeof(text) - 1);

	if (n < 0)
		return 0;
	text[n] = '\0';
	return strtoull(text, NULL, 10) + 1;
}

static void add(struct warm *w, const FTSENT *e)
{
	if (w->count == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 64;
		w->files = wfs_realloc(w->files, w->cap * sizeof(*w->files));
	}
	w->files[w->count] = (struct file){
		.path = wfs_strdup(e->fts_path),
		.size = (uint64_t)e->fts_statp->st_size,
		.position = position_of(e->fts_accpath),
		.dir = e->fts_parent->fts_number,
		.found = w->count,
	};
	w->total += w->files[w->count++].size;
}

static int by_position(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	if (x->dir != y->dir)
		return x->dir < y->dir ? -1 : 1;
	if (x->position != y->position)
		return x->position < y->position ? -1 : 1;
	return x->found < y->found ? -1 : 1;
}

/* Finds the files below all paths, those of a directory as it is loaded. */
static int survey(struct warm *w, struct wfs_err *err)
{
	FTS *tree = fts_open(w->paths, FTS_PHYSICAL | FTS_COMFOLLOW, NULL);
	FTSENT *e;
	long dirs = 0;
	int rc = 0;

	if (!tree)
		return wfs_err_set(err, -errno, "cannot look around: %s",
				   strerror(errno));
	while (!rc && (e = fts_read(tree))) {
		bool named = e->fts_level == FTS_ROOTLEVEL;

		if (e->fts_info == FTS_NS || e->fts_info == FTS_DNR ||
		    e->fts_info == FTS_ERR)
			rc = wfs_err_set(err, -e->fts_errno,
					 "cannot look at '%s': %s", e->fts_path,
					 strerror(e->fts_errno));
		else if (e->fts_info == FTS_D && !named &&
			 (is_rank(e->fts_name) ||
			  !strcmp(e->fts_name, ".weightfs")))
			fts_set(tree, e, FTS_SKIP);
		else if (e->fts_info == FTS_D)
			e->fts_number = ++dirs;
		else if (e->fts_info == FTS_F)
			add(w, e);
	}
	fts_close(tree);
	if (w->count)
		qsort(w->files, w->count, sizeof(*w->files), by_position);
	if (!rc && !w->count)
		rc = wfs_err_set(err, -ENOENT, "no file is below '%s'",
				 w->paths[0]);
	return rc;
}

static void tell(struct warm *w, struct file *file, uint64_t resident)
{
	if (resident > file->size)
		resident = file->size;
	if (resident <= file->shown)
		return;
	wfs_progress_step(&w->progress, resident - file->shown);
	file->shown = resident;
	w->moved_at = wfs_now_ns();
}

/* A file of this node itself: reading it is what warms it. */
static int read_through(struct warm *w, struct file *file, int fd)
{
	char *buffer wfs_autofree = wfs_malloc(READ_SIZE);
	uint64_t off = 0;
	ssize_t n;

	while ((n = pread(fd, buffer, READ_SIZE, (off_t)off)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		off += (uint64_t)n;
		tell(w, file, off);
	}
	return 0;
}

/* Asks for it: 1 when it is there, 0 while it is on its way. */
static int ask(struct warm *w, struct file *file, struct wfs_err *err)
{
	/* Anything but a plain open may have us wait for it. */
	int fd wfs_autoclose =
		open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct weightfs_warm got = { .start = !file->started };
	int rc = fd < 0 || ioctl(fd, WEIGHTFS_IOC_WARM, &got) ? -errno : 0;

	file->started = true;
	if (!rc && got.state == WEIGHTFS_WARM_LOCAL)
		rc = read_through(w, file, fd);
	else if (!rc && got.state == WEIGHTFS_WARM_ABSENT)
		return wfs_err_set(err, -EIO,
				   "'%s' could not be brought here, or had to "
				   "go again: the log and .weightfs/events say "
				   "why",
				   file->path);
	if (rc == -ENOTTY)
		return wfs_err_set(err, rc,
				   "'%s' is no file of a weightfs mount",
				   file->path);
	if (rc == -ENOSPC)
		return wfs_err_set(err, rc,
				   "no room for '%s': a larger arena_size, or "
				   "less in use, would help",
				   file->path);
	if (rc)
		return wfs_err_set(err, rc, "cannot warm '%s': %s", file->path,
				   strerror(-rc));
	file->kept = got.state == WEIGHTFS_WARM_COMPLETE && file->size;
	if (got.state == WEIGHTFS_WARM_COMPLETE)
		tell(w, file, file->size);
	else if (got.state == WEIGHTFS_WARM_UNDER_WAY)
		tell(w, file, got.resident);
	return got.state != WEIGHTFS_WARM_UNDER_WAY;
}

/*
 * The same, but that others who are on their way, or were used just now, may
 * leave no room for it for a while.
 */
static int ask_again(struct warm *w, struct file *file, struct wfs_err *err)
{
	int rc = ask(w, file, err);

	if (rc == 0 && !file->refused)
		w->moved_at = wfs_now_ns();
	if (rc != -ENOSPC || wfs_now_ns() - w->moved_at > ROOM_NS)
		return rc;
	*err = (struct wfs_err){ 0 };
	file->refused = true;
	file->started = false;
	return 0;
}

/* What made room for others is not here. */
static int check_all(const struct warm *w, struct wfs_err *err)
{
	char text[24];

	for (size_t i = 0; i < w->count; i++) {
		const struct file *file = &w->files[i];
		ssize_t n = file->kept ? getxattr(file->path,
						  "user.weightfs.resident",
						  text, sizeof(text)) :
					 0;

		if (n > 0 && (n != 3 || memcmp(text, "100", 3) != 0))
			return wfs_err_set(err, -ENOSPC,
					   "'%s' had to go again: there is no "
					   "room for all, and a larger "
					   "arena_size would help",
					   file->path);
	}
	return 0;
}

/*
 * May that one wait?  They are brought here in this order, so behind the first
 * that is on its way little is new.
 */
static bool may_wait(const struct file *file, bool first, bool sweep)
{
	return !first && !sweep && (file->started || file->refused);
}

static int warm_all(struct warm *w, struct wfs_err *err)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	struct file *ahead[UNDER_WAY];
	size_t next = 0, n = 0;
	uint64_t swept_at = wfs_now_ns();

	while (next < w->count || n) {
		uint64_t now = wfs_now_ns();
		bool sweep = now - swept_at > SWEEP_NS;
		size_t kept = 0;

		swept_at = sweep ? now : swept_at;
		while (n < UNDER_WAY && next < w->count)
			ahead[n++] = &w->files[next++];
		for (size_t i = 0; i < n; i++) {
			int rc = may_wait(ahead[i], !kept, sweep) ?
					 0 :
					 ask_again(w, ahead[i], err);

			if (rc < 0)
				return rc;
			if (rc)
				wfs_progress_line(&w->progress, "%s",
						  ahead[i]->path);
			else
				ahead[kept++] = ahead[i];
		}
		if (kept && (kept == UNDER_WAY || next == w->count))
			nanosleep(&pause, NULL);
		n = kept;
	}
	return check_all(w, err);
}

int wfs_cmd_warm(int argc, char **argv, const struct wfs_hooks *hooks)
{
	struct warm w = { 0 };
	struct wfs_err err = { 0 };
	uint64_t begun = wfs_now_ns();
	char size[32];

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &w);
	if (survey(&w, &err) == 0) {
		w.moved_at = wfs_now_ns();
		wfs_progress_begin(&w.progress, stderr, "warming", w.total);
		warm_all(&w, &err);
		wfs_progress_end(&w.progress);
	}
	if (err.code)
		wfs_complain("%s", err.text);
	else
		printf("%zu files, %s, in %.1f s\n", w.count,
		       wfs_size_format(w.total, size, sizeof(size)),
		       (double)(wfs_now_ns() - begun) / 1e9);
	for (size_t i = 0; i < w.count; i++)
		free(w.files[i].path);
	free(w.files);
	free(w.paths);
	return err.code ? WFS_EXIT_FAILURE : WFS_EXIT_OK;
}
