/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private directories for tests.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tests/unit/scratch.h"

static int setup_in(const char *parent, void **state)
{
	struct scratch *s = wfs_calloc(1, sizeof(*s));

	snprintf(s->path, sizeof(s->path), "%s/weightfs-unit-XXXXXX", parent);
	if (!mkdtemp(s->path)) {
		free(s);
		return -1;
	}
	s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = s;
	return s->fd < 0 ? -1 : 0;
}

int scratch_setup(void **state)
{
	return setup_in("/tmp", state);
}

int scratch_setup_in_memory(void **state)
{
	return setup_in("/dev/shm", state) ? setup_in("/tmp", state) : 0;
}

static int remove_entry(const char *path, const struct stat *st, int type,
			struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int scratch_teardown(void **state)
{
	struct scratch *s = *state;
	int rc = nftw(s->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);

	close(s->fd);
	free(s);
	return rc;
}

void scratch_mkdir(const struct scratch *s, const char *path)
{
	char *part wfs_autofree = wfs_strdup(path);

	for (char *slash = strchr(part, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = '\0';
		if (mkdirat(s->fd, part, 0755) < 0)
			assert_int_equal(errno, EEXIST);
		if (!slash)
			return;
		*slash = '/';
	}
}

static void make_parent(const struct scratch *s, const char *path)
{
	char *dir wfs_autofree = wfs_strdup(path);
	char *slash = strrchr(dir, '/');

	if (!slash)
		return;
	*slash = '\0';
	scratch_mkdir(s, dir);
}

void scratch_write(const struct scratch *s, const char *path, const char *text,
		   size_t len)
{
	int fd;

	make_parent(s, path);
	fd = openat(s->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		    0644);
	assert_true(fd >= 0);
	if (!len)
		len = strlen(text);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

void scratch_link(const struct scratch *s, const char *text, const char *path)
{
	make_parent(s, path);
	assert_int_equal(symlinkat(text, s->fd, path), 0);
}

char *scratch_path(const struct scratch *s, const char *path)
{
	return wfs_asprintf("%s%s%s", s->path, *path ? "/" : "", path);
}

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec :
				      a.tv_nsec > b.tv_nsec;
}

void scratch_age(const struct scratch *s, const char *path)
{
	struct stat st, probe;

	assert_int_equal(fstatat(s->fd, path, &st, 0), 0);
	do {
		scratch_write(s, ".probe", "x", 1);
		assert_int_equal(fstatat(s->fd, ".probe", &probe, 0), 0);
	} while (!later(probe.st_ctim, st.st_ctim) ||
		 !later(probe.st_mtim, st.st_mtim));
	assert_int_equal(unlinkat(s->fd, ".probe", 0), 0);
}

struct scratch_capture scratch_capture_stderr(const struct scratch *s)
{
	struct scratch_capture c;

	c.fd = openat(s->fd, ".", O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC,
		      0600);
	assert_true(c.fd >= 0);
	c.saved = dup(STDERR_FILENO);
	assert_true(c.saved >= 0);
	assert_true(dup2(c.fd, STDERR_FILENO) >= 0);
	return c;
}

char *scratch_captured(struct scratch_capture *c)
{
	char *text;
	size_t len;

	assert_true(dup2(c->saved, STDERR_FILENO) >= 0);
	close(c->saved);
	assert_int_equal(lseek(c->fd, 0, SEEK_SET), 0);
	assert_int_equal(wfs_fd_slurp(c->fd, 1 << 20, &text, &len), 0);
	close(c->fd);
	return text;
}

unsigned scratch_times_said(const char *said, const char *what)
{
	unsigned n = 0;

	for (; (said = strstr(said, what)); said += strlen(what))
		n++;
	return n;
}
