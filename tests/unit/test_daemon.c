/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going behind: the parent's exit status and what it prints, for every way
 * in which the child can end.  Each test forks a program of its own, so that
 * the parent of the daemon is one too.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tools/daemon.h"

struct outcome {
	int status;	 /* exit status of the parent */
	char said[4096]; /* what came on its stderr */
};

/* Reads until the end of the file. */
static void read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
}

/*
 * Runs wfs_daemon_start in a program whose daemon does `child` and then
 * ends.  Its stderr ends only when both have let go of it.
 */
static void start(bool behind, void (*child)(struct wfs_daemon *, int), int arg,
		  struct outcome *ret)
{
	int fds[2];
	pid_t pid;

	assert_int_equal(0, pipe2(fds, O_CLOEXEC));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct wfs_daemon daemon;
		int status = 99;

		signal(SIGPIPE, SIG_IGN);
		dup2(fds[1], STDERR_FILENO);
		if (wfs_daemon_start(&daemon, behind, &status) == 0) {
			child(&daemon, arg);
			_exit(7);
		}
		_exit(status);
	}
	close(fds[1]);
	read_all(fds[0], ret->said, sizeof(ret->said));
	close(fds[0]);
	assert_int_equal(pid, waitpid(pid, &ret->status, 0));
	assert_true(WIFEXITED(ret->status));
	ret->status = WEXITSTATUS(ret->status);
}

static void is_ready(struct wfs_daemon *daemon, int arg)
{
	(void)arg;
	if (wfs_daemon_ready(daemon))
		_exit(1);
	fprintf(stderr, "nobody reads this\n");
}

static void fails(struct wfs_daemon *daemon, int arg)
{
	(void)arg;
	wfs_daemon_tell(daemon, "model 'a' is bad");
	wfs_daemon_fail(daemon, "cannot mount\n'x'");
	wfs_daemon_fail(daemon, "a second sentence");
}

static void is_killed(struct wfs_daemon *daemon, int arg)
{
	(void)daemon;
	raise(arg);
}

static void ends(struct wfs_daemon *daemon, int arg)
{
	(void)daemon;
	_exit(arg);
}

static void the_parent_succeeds_only_after_ready(void **state)
{
	struct outcome got;

	(void)state;
	start(true, is_ready, 0, &got);
	assert_int_equal(0, got.status);
	assert_string_equal("", got.said);
}

static void the_parent_prints_the_sentence_of_a_child_that_fails(void **state)
{
	struct outcome got;

	(void)state;
	start(true, fails, 0, &got);
	assert_int_equal(1, got.status);
	assert_string_equal("weightfs: model 'a' is bad\n"
			    "weightfs: cannot mount\\x0a'x'\n",
			    got.said);
}

static void the_parent_tells_of_a_child_that_is_killed(void **state)
{
	struct outcome got;

	(void)state;
	start(true, is_killed, SIGKILL, &got);
	assert_int_equal(1, got.status);
	assert_non_null(strstr(got.said, "killed by signal 9"));
}

static void the_parent_tells_of_a_child_that_ends_in_silence(void **state)
{
	struct outcome got;

	(void)state;
	start(true, ends, 0, &got);
	assert_int_equal(1, got.status);
	assert_non_null(strstr(got.said, "ended with status 0"));
}

static void in_front_nothing_forks_and_stderr_stays(void **state)
{
	struct outcome got;

	(void)state;
	start(false, fails, 0, &got);
	assert_int_equal(7, got.status);
	assert_non_null(strstr(got.said, "cannot mount"));
	start(false, is_ready, 0, &got);
	assert_string_equal("nobody reads this\n", got.said);
}

static void reports_where_it_is(struct wfs_daemon *daemon, int arg)
{
	char *cwd wfs_autofree = getcwd(NULL, 0);
	char line[128];

	(void)arg;
	snprintf(line, sizeof(line), "%s %d", cwd, getsid(0) == getpid());
	wfs_daemon_fail(daemon, line);
}

static void behind_it_has_a_session_of_its_own_in_the_root(void **state)
{
	struct outcome got;

	(void)state;
	start(true, reports_where_it_is, 0, &got);
	assert_string_equal("weightfs: / 1\n", got.said);
}

/* Ends its parent, then says how ready was taken on the pipe `arg`. */
static void outlives_its_parent(struct wfs_daemon *daemon, int arg)
{
	pid_t parent = getppid();
	const char *word;

	signal(SIGTERM, SIG_IGN);
	kill(parent, SIGKILL);
	while (getppid() == parent)
		usleep(1000);
	word = wfs_daemon_ready(daemon) == -EPIPE ? "P" : "R";
	_exit(write(arg, word, 1) == 1 ? 0 : 1);
}

static void ready_is_refused_when_the_parent_is_gone(void **state)
{
	int fds[2];
	char byte = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(0, pipe2(fds, O_CLOEXEC));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct wfs_daemon daemon;
		int status;

		signal(SIGPIPE, SIG_IGN);
		if (wfs_daemon_start(&daemon, true, &status) == 0)
			outlives_its_parent(&daemon, fds[1]);
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(pid, waitpid(pid, NULL, 0));
	assert_int_equal(1, read(fds[0], &byte, 1));
	assert_int_equal('P', byte);
	close(fds[0]);
}

/* Has its parent told to end, and says on the pipe whether it is told too. */
static void is_told_to_end(struct wfs_daemon *daemon, int arg)
{
	sigset_t set;
	int sig = 0;

	(void)daemon;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	kill(getppid(), SIGINT);
	sigwait(&set, &sig);
	_exit(write(arg, "T", 1) == 1 ? 0 : 1);
}

static void an_interrupt_ends_the_child_before_the_parent(void **state)
{
	int fds[2], status = 0;
	char byte = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(0, pipe2(fds, O_CLOEXEC | O_NONBLOCK));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct wfs_daemon daemon;
		sigset_t set;

		/* Blocked, it waits until somebody listens for it. */
		sigemptyset(&set);
		sigaddset(&set, SIGINT);
		sigprocmask(SIG_BLOCK, &set, NULL);
		if (wfs_daemon_start(&daemon, true, &status) == 0)
			is_told_to_end(&daemon, fds[1]);
		_exit(status);
	}
	assert_int_equal(pid, waitpid(pid, &status, 0));
	assert_int_equal(1, read(fds[0], &byte, 1));
	assert_int_equal('T', byte);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(SIGINT, WTERMSIG(status));
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_parent_succeeds_only_after_ready),
		T(the_parent_prints_the_sentence_of_a_child_that_fails),
		T(the_parent_tells_of_a_child_that_is_killed),
		T(the_parent_tells_of_a_child_that_ends_in_silence),
		T(in_front_nothing_forks_and_stderr_stays),
		T(behind_it_has_a_session_of_its_own_in_the_root),
		T(ready_is_refused_when_the_parent_is_gone),
		T(an_interrupt_ends_the_child_before_the_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
