/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fork, and a pipe on which the child says one thing: an empty line for
 * ready, or the sentence that its parent is to print.  A child that dies
 * without a word closes the pipe, so the parent never waits in vain.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "tools/cmd.h"
#include "tools/daemon.h"

#define WORD_READY "\n"

static volatile sig_atomic_t interrupted;

static void note_signal(int sig)
{
	interrupted = sig;
}

/*
 * Ctrl-C reaches us alone, since the child has a session of its own, and is
 * meant for both.  *ret_old is the mask that lets them through.
 */
static void take_signals(sigset_t *ret_old)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = note_signal }, old;
	size_t n = sizeof(signals) / sizeof(signals[0]);
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < n; i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, ret_old);
	for (size_t i = 0; i < n; i++) {
		/* nohup and its like want it ignored. */
		if (sigaction(signals[i], NULL, &old) ||
		    old.sa_handler == SIG_IGN)
			continue;
		sigaction(signals[i], &action, NULL);
		sigdelset(ret_old, signals[i]);
	}
}

/* Passes on the signal that came, and ends by it when the child has ended. */
static void end_both(pid_t pid, const sigset_t *old)
{
	int sig = interrupted;

	kill(pid, SIGTERM);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	signal(sig, SIG_DFL);
	raise(sig);
	sigprocmask(SIG_SETMASK, old, NULL);
}

/* What the child said; "" when it died first. */
static void listen_to(int fd, pid_t pid, char *buf, size_t size)
{
	struct pollfd poll = { .fd = fd, .events = POLLIN };
	sigset_t old;
	size_t len = 0;
	ssize_t n = 1;

	take_signals(&old);
	while (n > 0 && len < size - 1 && !memchr(buf, '\n', len)) {
		if (ppoll(&poll, 1, NULL, &old) < 0) {
			if (interrupted)
				end_both(pid, &old);
			continue;
		}
		n = read(fd, buf + len, size - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	buf[len] = '\0';
}

static void complain_about_end(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		wfs_complain("the daemon was killed by signal %d (%s) before "
			     "the mount was there",
			     WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		wfs_complain("the daemon ended with status %d before the mount "
			     "was there",
			     WEXITSTATUS(status));
}

static int attend(pid_t pid, int fd)
{
	char word[WFS_ERR_TEXT + 2];

	listen_to(fd, pid, word, sizeof(word));
	if (strcmp(word, WORD_READY) == 0)
		return WFS_EXIT_OK;
	if (word[0]) {
		word[strcspn(word, "\n")] = '\0';
		wfs_complain("%s", word);
	} else {
		complain_about_end(pid);
	}
	return WFS_EXIT_FAILURE;
}

int wfs_daemon_start(struct wfs_daemon *daemon, bool behind, int *ret_status)
{
	int fds[2];
	pid_t pid;

	*daemon = (struct wfs_daemon){ .fd = -1, .behind = behind };
	if (!behind)
		return 0;
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		int rc = -errno;

		close(fds[0]);
		close(fds[1]);
		return rc;
	}
	if (pid > 0) {
		close(fds[1]);
		*ret_status = attend(pid, fds[0]);
		close(fds[0]);
		return 1;
	}
	close(fds[0]);
	daemon->fd = fds[1];
	setsid();
	umask(022);
	/* "/" can always be entered; if not, we keep a directory busy. */
	if (chdir("/"))
		wfs_complain("cannot change to '/': %m");
	return 0;
}

/* SIGPIPE is ignored, or a parent that is gone would end us here. */
static int say(struct wfs_daemon *daemon, const char *word)
{
	int fd wfs_autoclose = wfs_steal_fd(&daemon->fd);
	size_t len = strlen(word);

	while (len) {
		ssize_t n = write(fd, word, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		word += n;
		len -= (size_t)n;
	}
	return 0;
}

int wfs_daemon_ready(struct wfs_daemon *daemon)
{
	int null;

	if (daemon->fd < 0)
		return 0;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	return say(daemon, WORD_READY);
}

void wfs_daemon_fail(struct wfs_daemon *daemon, const char *text)
{
	char line[WFS_ERR_TEXT + 2];
	struct wfs_err err = { 0 };

	if (!daemon->behind) {
		wfs_complain("%s", text);
		return;
	}
	if (daemon->fd < 0)
		return;
	/* Escaped here already: a newline in it would end it early. */
	wfs_err_set(&err, -EIO, "%s", text[0] ? text : "it failed");
	snprintf(line, sizeof(line), "%s\n", err.text);
	say(daemon, line);
}

void wfs_daemon_tell(const struct wfs_daemon *daemon, const char *text)
{
	if (daemon->fd >= 0)
		wfs_complain("%s", text);
}
