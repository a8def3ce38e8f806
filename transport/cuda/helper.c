/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See helper.h.
 */
#include "transport/cuda/helper.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/unix.h"
#include "transport/cuda/sandbox.h"
#include "transport/cuda/work.h"

enum {
	ARG_NAME,
	ARG_SOCKET,
	ARG_UID,
	ARG_GID,
	ARG_PIDNS,
	ARG_CGROUP,
	ARG_GROUPS,
	ARGS
};

/* One request with its descriptors, which are closed by the caller. */
static int receive(int socket, struct wfs_gpu_request *ask, int *ret_fd,
		   int *ret_memory_fd)
{
	struct wfs_gpu_more more;
	int rc = wfs_unix_receive(socket, ask, sizeof(*ask), ret_fd);

	if (rc || ask->magic != WFS_GPU_MAGIC)
		return rc ? rc : -EBADMSG;
	if (!wfs_gpu_op_imports(ask->op) ||
	    !wfs_device_by_descriptor(ask->memory))
		return 0;
	rc = wfs_unix_receive(socket, &more, sizeof(more), ret_memory_fd);
	return rc || more.seq != ask->seq ? -EBADMSG : 0;
}

static int carry_out(struct wfs_gpu_work *work,
		     const struct wfs_gpu_request *ask, const int fds[2],
		     int *ret_fd)
{
	if (!work->cuda && ask->op != WFS_GPU_HELLO && ask->op != WFS_GPU_COUNT)
		return wfs_gpu_refuse(work, WFS_DEVICE_STAGE_DEVICE, -EBADMSG,
				      "no device was taken");
	switch ((enum wfs_gpu_op)ask->op) {
	case WFS_GPU_HELLO:
		return wfs_gpu_take(work, ask);
	case WFS_GPU_COUNT:
		return wfs_gpu_count(work);
	case WFS_GPU_FILL:
		return wfs_gpu_fill(work, ask, fds[0], fds[1]);
	case WFS_GPU_FORGET:
		return wfs_gpu_forget(work, ask->client, ask->cookie);
	case WFS_GPU_MAKE:
		return wfs_gpu_make(work, ask, fds[0], ret_fd);
	case WFS_GPU_UNMAKE:
		return wfs_gpu_unmake(work, ask->copy);
	case WFS_GPU_RING:
		return wfs_gpu_ring_add(work, ask, fds[0]);
	case WFS_GPU_UNRING:
		return wfs_gpu_ring_remove(work, ask->ring);
	case WFS_GPU_BEGIN:
		return wfs_gpu_begin(work, ask, fds[1]);
	case WFS_GPU_FEED:
		return wfs_gpu_feed(work, ask);
	case WFS_GPU_FINISH:
		return wfs_gpu_finish(work, ask->fed);
	case WFS_GPU_SHARE:
		return wfs_gpu_share(work, ask, ret_fd);
	case WFS_GPU_CANCEL:
		break;
	}
	return wfs_gpu_refuse(work, WFS_DEVICE_STAGE_DEVICE, -EBADMSG,
			      "there is no such request");
}

/* Until something is to be done; what is kept for a while goes meanwhile. */
static void rest(struct wfs_gpu_work *work, int socket)
{
	struct pollfd next = { .fd = socket, .events = POLLIN };

	while (poll(&next, 1, wfs_gpu_sources_age(work)) == 0)
		;
}

bool wfs_gpu_is_cancelled(struct wfs_gpu_work *work,
			  enum wfs_device_stage stage)
{
	struct pollfd more = { .fd = work->socket, .events = POLLIN };
	struct wfs_gpu_request ask;
	int fd wfs_autoclose = -1;

	/* Nothing else is said before the answer; what else comes ends us. */
	if (poll(&more, 1, 0) <= 0 ||
	    (wfs_unix_receive(work->socket, &ask, sizeof(ask), &fd) == 0 &&
	     ask.op == WFS_GPU_CANCEL && ask.seq != work->answer->seq))
		return false;
	wfs_gpu_refuse(work, stage, -EINTR, "it was stopped");
	return true;
}

/* False: the helper is to end. */
static bool serve_one(struct wfs_gpu_work *work, int socket)
{
	struct wfs_gpu_answer answer = { .magic = WFS_GPU_MAGIC };
	struct wfs_gpu_request ask;
	int fd wfs_autoclose = -1;
	int memory_fd wfs_autoclose = -1;
	int sent wfs_autoclose = -1;

	rest(work, socket);
	if (receive(socket, &ask, &fd, &memory_fd))
		return false;
	if (ask.op == WFS_GPU_CANCEL)
		return true; /* it came too late */
	answer.seq = ask.seq;
	work->answer = &answer;
	work->requests++;
	answer.status =
		carry_out(work, &ask, (const int[]){ fd, memory_fd }, &sent);
	if (wfs_unix_send(socket, &answer, sizeof(answer), sent))
		return false;
	return !answer.ends;
}

/* The daemon is gone, and a call of CUDA's may hang: no use in waiting. */
static void *watch(void *arg)
{
	const int *socket = arg;
	struct pollfd gone = { .fd = *socket, .events = 0 };

	while (poll(&gone, 1, -1) < 0 && errno == EINTR)
		;
	_exit(0);
}

static int number(const char *text)
{
	return (int)strtol(text, NULL, 10);
}

static int serve(int socket)
{
	struct wfs_gpu_work *work = wfs_calloc(1, sizeof(*work));
	pthread_t watcher;

	if (pthread_create(&watcher, NULL, watch, &socket) != 0)
		return 1;
	work->socket = socket;
	while (serve_one(work, socket))
		;
	/* At its exit the driver gives back what it knows of. */
	_exit(0);
}

int wfs_gpu_helper_main(int argc, char **argv)
{
	struct wfs_sandbox sandbox;
	int rc;

	if (argc != ARGS) {
		fprintf(stderr, "weightfs: 'gpu-helper' is not for people\n");
		return 2;
	}
	sandbox = (struct wfs_sandbox){
		.uid = (uid_t)strtoul(argv[ARG_UID], NULL, 10),
		.gid = (gid_t)strtoul(argv[ARG_GID], NULL, 10),
		.groups = argv[ARG_GROUPS],
		.pidns = number(argv[ARG_PIDNS]),
		.cgroup = number(argv[ARG_CGROUP]),
	};
	signal(SIGPIPE, SIG_IGN);
	rc = wfs_sandbox_enter(&sandbox);
	if (rc) {
		wfs_error("gpu helper: cannot give up its rights: %s",
			  strerror(-rc));
		return 1;
	}
	return serve(number(argv[ARG_SOCKET]));
}
