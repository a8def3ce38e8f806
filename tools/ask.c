/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child reads the file into a pipe; its exit status is the errno.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "core/base/text.h"
#include "tools/ask.h"

#define STATUS_FILE ".weightfs/status.json"
#define STATUS_MAX  (64u << 20)
#define DEADLINE_NS 10000000000ull
#define NS_PER_MS   1000000ull

/* The child: copies the file to `out`. */
static int copy_file(const char *path, int out)
{
	char *text wfs_autofree = NULL;
	size_t len, done = 0;
	int rc = wfs_file_slurp(path, STATUS_MAX, &text, &len);

	if (rc)
		return -rc;
	while (done < len) {
		ssize_t n = write(out, text + done, len - done);

		if (n < 0)
			return errno;
		done += (size_t)n;
	}
	return 0;
}

/* Collects what comes until the end; -ETIMEDOUT. */
static int collect(int in, struct wfs_text *text)
{
	uint64_t deadline = wfs_now_ns() + DEADLINE_NS;
	char buf[4096];

	for (;;) {
		struct pollfd poll_in = { .fd = in, .events = POLLIN };
		uint64_t now = wfs_now_ns();
		ssize_t n;

		if (now >= deadline)
			return -ETIMEDOUT;
		if (poll(&poll_in, 1,
			 (int)((deadline - now) / NS_PER_MS) + 1) <= 0)
			continue;
		n = read(in, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		wfs_text_add_bytes(text, buf, (size_t)n);
	}
}

static int read_in_child(const char *path, struct wfs_text *text)
{
	int fds[2], status = 0, rc;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	/* What is not written yet must not be written twice. */
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		_exit(copy_file(path, fds[1]));
	}
	rc = pid < 0 ? -errno : 0;
	close(fds[1]);
	if (!rc)
		rc = collect(fds[0], text);
	close(fds[0]);
	if (pid < 0)
		return rc;
	if (rc)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc)
		return rc;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

int wfs_ask_status(const char *mountpoint, char **ret_text, struct wfs_err *err)
{
	char *path wfs_autofree = wfs_asprintf("%s/" STATUS_FILE, mountpoint);
	struct wfs_text text = { 0 };
	int rc = read_in_child(path, &text);

	if (!rc && !text.data)
		rc = -EIO;
	if (!rc) {
		*ret_text = text.data;
		return 0;
	}
	free(text.data);
	if (rc == -ENOTCONN || rc == -ECONNABORTED)
		return wfs_err_set(err, -ENOTCONN,
				   "the daemon of '%s' is gone; take the mount "
				   "away with: weightfs umount %s",
				   mountpoint, mountpoint);
	if (rc == -ETIMEDOUT)
		return wfs_err_set(err, rc,
				   "the daemon of '%s' does not answer",
				   mountpoint);
	return wfs_err_set(err, rc, "cannot read '%s': %s", path,
			   strerror(-rc));
}

int wfs_ask_status_json(const char *mountpoint, yyjson_doc **ret_doc,
			struct wfs_err *err)
{
	char *text wfs_autofree = NULL;
	yyjson_doc *doc;
	int rc = wfs_ask_status(mountpoint, &text, err);

	if (rc || !text)
		return rc;
	doc = yyjson_read(text, strlen(text), 0);
	if (!doc)
		return wfs_err_set(err, -EBADMSG,
				   "'%s/" STATUS_FILE "' is not valid JSON",
				   mountpoint);
	*ret_doc = doc;
	return 0;
}

uint64_t wfs_json_number(yyjson_val *object, const char *key)
{
	return yyjson_get_uint(yyjson_obj_get(object, key));
}

double wfs_json_real(yyjson_val *object, const char *key)
{
	return yyjson_get_num(yyjson_obj_get(object, key));
}

bool wfs_json_true(yyjson_val *object, const char *key)
{
	return yyjson_get_bool(yyjson_obj_get(object, key));
}

const char *wfs_json_text(yyjson_val *object, const char *key)
{
	const char *text = yyjson_get_str(yyjson_obj_get(object, key));

	return text ? text : "";
}
