/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See lend.h: the side that gives.  One thread serves all connections, since
 * an answer costs a few microseconds; a client that does not take its answers
 * is cut off rather than waited for.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/unix.h"
#include "transport/lend/lend.h"
#include "transport/lend/message.h"

#define CLIENTS_MAX 256
#define WAKE	    0 /* in `polls`: the pipe that ends the thread */
#define LISTEN	    1
#define FIRST	    2

struct wfs_lender {
	struct wfs_lender_config config;
	char *path;
	int wake[2];
	pthread_t thread;
	unsigned count; /* of polls */
	struct pollfd polls[FIRST + CLIENTS_MAX];
};

static uint32_t code_status(int code)
{
	switch (code) {
	case -ENOENT:
		return WFS_WIRE_UNKNOWN;
	case -ESTALE:
		return WFS_WIRE_STALE;
	case -ENOTSUP:
		return WFS_WIRE_NOT_HELD;
	default:
		return WFS_WIRE_IO;
	}
}

/* One request; false: the client is to be cut off. */
static bool answer_one(struct wfs_lender *lender, int client)
{
	struct wfs_lend_answer answer = { .magic = "WFLA" };
	struct wfs_lend_request request;
	int sent wfs_autoclose = -1;
	int fd wfs_autoclose = -1;

	if (wfs_unix_receive(client, &request, sizeof(request), &sent) != 0 ||
	    sent >= 0 || memcmp(request.magic, "WFL1", 4) != 0 ||
	    request.op != WFS_LEND)
		return false;
	fd = lender->config.descriptor(lender->config.ctx, request.id,
				       &answer.size);
	if (fd < 0) {
		answer.status = code_status(fd);
		answer.size = 0;
	}
	return wfs_unix_send(client, &answer, sizeof(answer), fd) == 0;
}

static void let_in(struct wfs_lender *lender)
{
	int fd = accept4(lender->polls[LISTEN].fd, NULL, NULL,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (lender->count == FIRST + CLIENTS_MAX || !wfs_lend_is_ours(fd)) {
		wfs_warn("'%s': %s is turned away", lender->path,
			 lender->count == FIRST + CLIENTS_MAX ?
				 "one more client than can be served" :
				 "another user");
		close(fd);
		return;
	}
	lender->polls[lender->count++] =
		(struct pollfd){ .fd = fd, .events = POLLIN };
}

static void cut_off(struct wfs_lender *lender, unsigned client)
{
	close(lender->polls[client].fd);
	lender->polls[client] = lender->polls[--lender->count];
}

static void *serve(void *arg)
{
	struct wfs_lender *lender = arg;

	for (;;) {
		if (poll(lender->polls, lender->count, -1) < 0)
			continue;
		if (lender->polls[WAKE].revents)
			return NULL;
		/* From behind: the last takes the place of one cut off. */
		for (unsigned i = lender->count; i-- > FIRST;) {
			if (lender->polls[i].revents &&
			    !answer_one(lender, lender->polls[i].fd))
				cut_off(lender, i);
		}
		if (lender->polls[LISTEN].revents)
			let_in(lender);
	}
}

static char *default_dir(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		return wfs_strdup("/run/weightfs");
	return runtime && runtime[0] == '/' ?
		       wfs_asprintf("%s/weightfs", runtime) :
		       NULL;
}

static void free_lender(struct wfs_lender *lender)
{
	for (unsigned i = FIRST; i < lender->count; i++)
		close(lender->polls[i].fd);
	if (lender->polls[LISTEN].fd >= 0) {
		close(lender->polls[LISTEN].fd);
		unlink(lender->path);
	}
	for (int i = 0; i < 2; i++) {
		if (lender->wake[i] >= 0)
			close(lender->wake[i]);
	}
	free(lender->path);
	free(lender);
}

int wfs_lender_start(const struct wfs_lender_config *config,
		     struct wfs_lender **ret_lender, struct wfs_err *err)
{
	char *dir wfs_autofree = config->dir ? wfs_strdup(config->dir) :
					       default_dir();
	struct wfs_lender *lender;
	int rc;

	if (!dir)
		return wfs_err_set(err, -ENOENT,
				   "no directory for a socket: "
				   "XDG_RUNTIME_DIR is not set");
	rc = wfs_unix_dir(dir, 0700, err);
	if (rc)
		return rc;
	lender = wfs_calloc(1, sizeof(*lender));
	lender->config = *config;
	lender->config.dir = NULL;
	lender->wake[0] = lender->wake[1] = lender->polls[LISTEN].fd = -1;
	lender->count = FIRST;
	rc = wfs_unix_listen(dir, "lend", 0600, &lender->path,
			     &lender->polls[LISTEN].fd, err);
	lender->polls[LISTEN].events = POLLIN;
	if (!rc && pipe2(lender->wake, O_CLOEXEC) != 0)
		rc = wfs_err_set(err, -errno, "cannot make a pipe: %s",
				 strerror(errno));
	lender->polls[WAKE] =
		(struct pollfd){ .fd = lender->wake[0], .events = POLLIN };
	if (!rc) {
		rc = -pthread_create(&lender->thread, NULL, serve, lender);
		if (rc)
			wfs_err_set(err, rc, "cannot start a thread: %s",
				    strerror(-rc));
	}
	if (rc) {
		free_lender(lender);
		return rc;
	}
	*ret_lender = lender;
	return 0;
}

const char *wfs_lender_path(const struct wfs_lender *lender)
{
	return lender->path;
}

void wfs_lender_stop(struct wfs_lender *lender)
{
	if (!lender)
		return;
	close(lender->wake[1]); /* POLLHUP at the other end */
	lender->wake[1] = -1;
	pthread_join(lender->thread, NULL);
	free_lender(lender);
}
