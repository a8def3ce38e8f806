/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private directory for a test, and short ways to fill it.  Everything
 * fails the test that calls it; paths are relative to the directory.
 */
#ifndef WFS_TESTS_UNIT_SCRATCH_H
#define WFS_TESTS_UNIT_SCRATCH_H

#include <stddef.h>

struct scratch {
	char path[64]; /* absolute */
	int fd;
};

/* As cmocka's setup and teardown: *state is the struct scratch. */
int scratch_setup(void **state);
int scratch_teardown(void **state);
/* On tmpfs where there is one: for what changes names thousands of times. */
int scratch_setup_in_memory(void **state);

/* Writes `text` (len bytes, or strlen if `len` is 0) to the file `path`,
   with the directories that it lies in. */
void scratch_write(const struct scratch *s, const char *path, const char *text,
		   size_t len);
void scratch_mkdir(const struct scratch *s, const char *path);
void scratch_link(const struct scratch *s, const char *text, const char *path);

/* The absolute path, in a buffer that the caller frees. */
char *scratch_path(const struct scratch *s, const char *path);

/*
 * Returns when a change that is made from now on has later times than
 * `path`: a kernel's file times may move only every few milliseconds.
 */
void scratch_age(const struct scratch *s, const char *path);

/* Sends stderr to a file of the directory; what came, freed by the caller. */
struct scratch_capture {
	int saved, fd;
};
struct scratch_capture scratch_capture_stderr(const struct scratch *s);
char *scratch_captured(struct scratch_capture *c);
/* How often `what` is in what came. */
unsigned scratch_times_said(const char *said, const char *what);

#endif
