/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See process.h.
 */
#include "transport/cuda/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "core/base/unix.h"
#include "transport/cuda/helper.h"

#define ERRNO_MAX 4095
#define NS_PER_MS 1000000u
#define GRACE_NS  5000000000ull /* for a helper that is to stop */
#define ARGS	  8

/*
 * What a library of CUDA's, or a sanitizer, looks at.  The rest stays: a
 * helper is the reader's process, and the daemon's environment may hold what
 * is no reader's business, such as the credentials of a bucket.
 */
static bool is_for_cuda(const char *variable)
{
	static const char *const begins[] = {
		"CUDA_",	 "NVIDIA_",	  "LD_LIBRARY_PATH=",
		"PATH=",	 "LANG=",	  "ASAN_OPTIONS=",
		"LSAN_OPTIONS=", "TSAN_OPTIONS=", "UBSAN_OPTIONS=",
		"FAKE_CUDART=",
	};

	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		if (wfs_starts_with(variable, begins[i]))
			return true;
	return false;
}

/* Which devices are to be seen, and in which order, is ours to say. */
static char **make_environment(const struct wfs_device_id *id, char *visible,
			       char *order)
{
	size_t n = 0, count = 0;
	char **env;

	while (environ[count])
		count++;
	env = wfs_calloc(count + 3, sizeof(*env));
	for (size_t i = 0; i < count; i++)
		if (is_for_cuda(environ[i]) &&
		    !wfs_starts_with(environ[i], "CUDA_VISIBLE_DEVICES=") &&
		    !wfs_starts_with(environ[i], "CUDA_DEVICE_ORDER="))
			env[n++] = environ[i];
	if (id->by == WFS_DEVICE_GPU_UUID || id->by == WFS_DEVICE_MIG_UUID)
		env[n++] = visible;
	env[n++] = order;
	return env;
}

static char *uuid_variable(const struct wfs_device_id *id)
{
	const uint8_t *u = id->uuid;

	return wfs_asprintf("CUDA_VISIBLE_DEVICES=%s-%02x%02x%02x%02x-%02x%02x-"
			    "%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
			    id->by == WFS_DEVICE_MIG_UUID ? "MIG" : "GPU", u[0],
			    u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8],
			    u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

/* The child gets what is not to be closed under its own number. */
static int spawn(char **argv, char **env, const int *fds, size_t n,
		 pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	int rc;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	for (size_t i = 0; i < n; i++) {
		if (fds[i] >= 0)
			posix_spawn_file_actions_adddup2(&actions, fds[i],
							 fds[i]);
	}
	rc = posix_spawn(ret_pid, "/proc/self/exe", &actions, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -rc;
}

static int start_with(const struct wfs_gpu_person *person, const int fds[3],
		      pid_t *ret_pid)
{
	char name[] = "weightfs", word[] = WFS_GPU_HELPER;
	char *groups wfs_autofree =
		wfs_strdup(person->groups ? person->groups : "");
	char *visible wfs_autofree = uuid_variable(&person->device);
	char order[] = "CUDA_DEVICE_ORDER=PCI_BUS_ID";
	char **env = make_environment(&person->device, visible, order);
	char numbers[5][16];
	char *argv[ARGS + 1] = { name, word };
	int rc;

	snprintf(numbers[0], sizeof(numbers[0]), "%d", fds[0]);
	snprintf(numbers[1], sizeof(numbers[1]), "%u", person->uid);
	snprintf(numbers[2], sizeof(numbers[2]), "%u", person->gid);
	snprintf(numbers[3], sizeof(numbers[3]), "%d", fds[1]);
	snprintf(numbers[4], sizeof(numbers[4]), "%d", fds[2]);
	for (int i = 0; i < 5; i++)
		argv[i + 2] = numbers[i];
	argv[ARGS - 1] = groups;
	rc = spawn(argv, env, fds, 3, ret_pid);
	free(env);
	return rc;
}

/* Where it cannot be had (another mount, no right) it stays in ours. */
static int open_cgroup(const char *cgroup)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cgroup.procs",
		     cgroup) >= (int)sizeof(path))
		return -1;
	return open(path, O_WRONLY | O_CLOEXEC);
}

int wfs_gpu_start(const struct wfs_gpu_person *person,
		  struct wfs_gpu_process *ret_process)
{
	int ours wfs_autoclose = -1, theirs wfs_autoclose = -1;
	int cgroup wfs_autoclose = -1;
	int pair[2];
	pid_t pid;
	int rc;

	if (geteuid() != 0 && person->uid != geteuid())
		return -EPERM;
	if (person->cgroup)
		cgroup = open_cgroup(person->cgroup);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	rc = start_with(person, (const int[]){ theirs, person->pidns, cgroup },
			&pid);
	if (rc)
		return rc;
	*ret_process =
		(struct wfs_gpu_process){ .pid = pid,
					  .socket = wfs_steal_fd(&ours) };
	return 0;
}

int wfs_gpu_wait_for(int fd, const struct wfs_gpu_patience *patience)
{
	struct pollfd wait[] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = patience->ends[0], .events = POLLIN },
		{ .fd = patience->ends[1], .events = POLLIN },
	};

	for (;;) {
		uint64_t now = wfs_now_ns();
		uint64_t ms =
			now < patience->deadline_ns ?
				(patience->deadline_ns - now) / NS_PER_MS + 1 :
				0;
		int n = poll(wait, 3, ms > INT_MAX ? INT_MAX : (int)ms);

		if (n > 0)
			return wait[0].revents ? 0 : -EINTR;
		if (n == 0 && wfs_now_ns() >= patience->deadline_ns)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

/* Asks for an end, and waits no longer than one takes.  As it was, or 0. */
static int cancel(const struct wfs_gpu_process *process, int why)
{
	const struct wfs_gpu_request ask = { .magic = WFS_GPU_MAGIC,
					     .op = WFS_GPU_CANCEL,
					     .seq = process->seq };

	if (wfs_unix_send(process->socket, &ask, sizeof(ask), -1) ||
	    wfs_gpu_wait_for(process->socket,
			     WFS_GPU_UNTIL(wfs_now_ns() + GRACE_NS)))
		return why;
	return 0;
}

static bool is_sound(const struct wfs_gpu_answer *answer, uint64_t seq)
{
	return answer->magic == WFS_GPU_MAGIC && answer->seq == seq &&
	       answer->status <= 0 && answer->status >= -ERRNO_MAX &&
	       answer->stage <= WFS_DEVICE_STAGE_VERIFY &&
	       memchr(answer->text, '\0', sizeof(answer->text));
}

int wfs_gpu_ask(struct wfs_gpu_process *process, struct wfs_gpu_request *ask,
		struct wfs_gpu_fds fds, const struct wfs_gpu_patience *patience,
		struct wfs_gpu_answer *ret_answer, int *ret_fd)
{
	struct wfs_gpu_more more = { .magic = WFS_GPU_MAGIC };
	struct wfs_gpu_answer answer;
	int fd wfs_autoclose = -1;
	int rc, why = 0;

	ask->magic = WFS_GPU_MAGIC;
	ask->seq = more.seq = ++process->seq;
	rc = wfs_unix_send(process->socket, ask, sizeof(*ask), fds.file);
	if (!rc && fds.memory >= 0)
		rc = wfs_unix_send(process->socket, &more, sizeof(more),
				   fds.memory);
	if (!rc)
		rc = why = wfs_gpu_wait_for(process->socket, patience);
	if ((rc == -ETIMEDOUT || rc == -EINTR) && wfs_gpu_op_stops(ask->op))
		rc = cancel(process, why);
	if (!rc)
		rc = wfs_unix_receive(process->socket, &answer, sizeof(answer),
				      &fd);
	if (rc)
		return rc == -ETIMEDOUT || rc == -EINTR ? rc : -EIO;
	if (!is_sound(&answer, ask->seq))
		return -EIO;
	if (why && answer.status == -EINTR)
		answer.status = why;
	*ret_answer = answer;
	if (ret_fd)
		*ret_fd = wfs_steal_fd(&fd);
	return 0;
}

pid_t wfs_gpu_kill(struct wfs_gpu_process *process)
{
	pid_t pid = process->pid;

	if (!pid)
		return 0;
	close(process->socket);
	kill(pid, SIGKILL);
	process->pid = 0;
	return waitpid(pid, NULL, WNOHANG) == pid ? 0 : pid;
}
