/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See unix_serve.h.
 */
#include "core/base/unix_serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/base/unix.h"

#define WAKE   0 /* in `polls`: the pipe that ends the thread */
#define LISTEN 1
#define FIRST  2

struct wfs_unix_server {
	struct wfs_unix_service service;
	char *path;
	int wake[2];
	pthread_t thread;
	unsigned count; /* of polls */
	struct pollfd *polls;
	void **clients; /* as polls */
};

static void let_in(struct wfs_unix_server *s)
{
	const struct wfs_unix_service *service = &s->service;
	int fd = accept4(s->polls[LISTEN].fd, NULL, NULL,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);
	bool full = s->count == FIRST + service->most;
	void *client = NULL;

	if (fd < 0)
		return;
	if (!service->welcome(service->ctx, s->path, fd, full, &client)) {
		close(fd);
		return;
	}
	s->clients[s->count] = client;
	s->polls[s->count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
}

static void cut_off(struct wfs_unix_server *s, unsigned i)
{
	if (s->service.leave)
		s->service.leave(s->service.ctx, s->clients[i]);
	close(s->polls[i].fd);
	s->count--;
	s->polls[i] = s->polls[s->count];
	s->clients[i] = s->clients[s->count];
}

static void *serve(void *arg)
{
	struct wfs_unix_server *s = arg;
	const struct wfs_unix_service *service = &s->service;

	for (;;) {
		if (poll(s->polls, s->count, -1) < 0)
			continue;
		if (s->polls[WAKE].revents)
			return NULL;
		/* From behind: the last takes the place of one cut off. */
		for (unsigned i = s->count; i-- > FIRST;)
			if (s->polls[i].revents &&
			    !service->answer(service->ctx, s->polls[i].fd,
					     s->clients[i]))
				cut_off(s, i);
		if (s->polls[LISTEN].revents)
			let_in(s);
	}
}

/* The caller frees it; NULL: there is none. */
static char *find_dir(const struct wfs_unix_service *service)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (service->dir)
		return wfs_strdup(service->dir);
	if (geteuid() == 0)
		return wfs_strdup(service->root_dir);
	return runtime && runtime[0] == '/' ?
		       wfs_asprintf("%s/weightfs", runtime) :
		       NULL;
}

static int listen_for(struct wfs_unix_server *s, struct wfs_err *err)
{
	char *dir wfs_autofree = find_dir(&s->service);
	int rc;

	if (!dir)
		return wfs_err_set(err, -ENOENT,
				   "no directory for a socket: "
				   "XDG_RUNTIME_DIR is not set");
	rc = wfs_unix_dir(dir, s->service.dir_mode, err);
	if (rc)
		return rc;
	return wfs_unix_listen(dir, s->service.name, s->service.mode, &s->path,
			       &s->polls[LISTEN].fd, err);
}

static void free_server(struct wfs_unix_server *s)
{
	while (s->count > FIRST)
		cut_off(s, s->count - 1);
	if (s->polls[LISTEN].fd >= 0) {
		close(s->polls[LISTEN].fd);
		unlink(s->path);
	}
	for (int i = 0; i < 2; i++)
		if (s->wake[i] >= 0)
			close(s->wake[i]);
	free(s->path);
	free(s->polls);
	free(s->clients);
	free(s);
}

int wfs_unix_server_start(const struct wfs_unix_service *service,
			  struct wfs_unix_server **ret_server,
			  struct wfs_err *err)
{
	struct wfs_unix_server *s = wfs_calloc(1, sizeof(*s));
	int rc;

	s->service = *service;
	s->polls = wfs_calloc(FIRST + service->most, sizeof(*s->polls));
	s->clients = wfs_calloc(FIRST + service->most, sizeof(*s->clients));
	s->wake[0] = s->wake[1] = s->polls[LISTEN].fd = -1;
	s->count = FIRST;
	rc = listen_for(s, err);
	if (!rc && pipe2(s->wake, O_CLOEXEC) != 0)
		rc = wfs_err_set(err, -errno, "cannot make a pipe: %s",
				 strerror(errno));
	s->polls[WAKE] = (struct pollfd){ .fd = s->wake[0], .events = POLLIN };
	s->polls[LISTEN].events = POLLIN;
	/* Strings of the caller's, which go. */
	s->service.dir = s->service.root_dir = s->service.name = NULL;
	if (!rc) {
		rc = -pthread_create(&s->thread, NULL, serve, s);
		if (rc)
			wfs_err_set(err, rc, "cannot start a thread: %s",
				    strerror(-rc));
	}
	if (rc) {
		free_server(s);
		return rc;
	}
	*ret_server = s;
	return 0;
}

const char *wfs_unix_server_path(const struct wfs_unix_server *server)
{
	return server->path;
}

void wfs_unix_server_stop(struct wfs_unix_server *s)
{
	if (!s)
		return;
	close(s->wake[1]); /* POLLHUP at the other end */
	s->wake[1] = -1;
	pthread_join(s->thread, NULL);
	free_server(s);
}
