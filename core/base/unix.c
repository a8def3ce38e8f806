/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See unix.h.
 */
#include "core/base/unix.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/mem.h"

int wfs_unix_send(int socket, const void *message, size_t len, int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec part = { .iov_len = len };
	struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1 };
	struct cmsghdr *head;
	ssize_t n;

	memcpy(&part.iov_base, &message, sizeof(message));
	if (fd >= 0) {
		msg.msg_control = control.room;
		msg.msg_controllen = sizeof(control.room);
		head = CMSG_FIRSTHDR(&msg);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	}
	do {
		n = sendmsg(socket, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

/* All descriptors of a message; more than one is closed, and an error. */
static int take_descriptor(struct msghdr *msg, int *ret_fd)
{
	int fd wfs_autoclose = -1;
	int count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
	     c = CMSG_NXTHDR(msg, c)) {
		size_t bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= bytes;
		     at += sizeof(int)) {
			int one;

			memcpy(&one, CMSG_DATA(c) + at, sizeof(one));
			if (count++ == 0)
				fd = one;
			else
				close(one);
		}
	}
	if (count > 1 || msg->msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return -EBADMSG;
	*ret_fd = wfs_steal_fd(&fd);
	return 0;
}

int wfs_unix_receive(int socket, void *message, size_t len, int *ret_fd)
{
	union {
		char room[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = { .iov_base = message, .iov_len = len };
	struct msghdr msg = { .msg_iov = &part,
			      .msg_iovlen = 1,
			      .msg_control = control.room,
			      .msg_controllen = sizeof(control.room) };
	int fd wfs_autoclose = -1;
	ssize_t n;
	int rc;

	do {
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -EIO;
	/* A message of no bytes may bring one, too. */
	rc = take_descriptor(&msg, &fd);
	if (n == 0)
		return -EIO;
	if (rc)
		return rc;
	if ((size_t)n != len)
		return -EBADMSG;
	*ret_fd = wfs_steal_fd(&fd);
	return 0;
}

int wfs_unix_peer(int socket, struct ucred *ret_peer)
{
	socklen_t len = sizeof(*ret_peer);

	return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, ret_peer, &len) ?
		       -errno :
		       0;
}

int wfs_unix_dir(const char *dir, mode_t mode, struct wfs_err *err)
{
	struct stat st;
	int rc = mkdir(dir, mode);

	if (rc == 0)
		rc = chmod(dir, mode); /* whatever the umask */
	else if (errno == EEXIST)
		rc = 0;
	if (rc != 0 || lstat(dir, &st) != 0)
		return wfs_err_set(err, -errno, "cannot make '%s': %s", dir,
				   strerror(errno));
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 022)
		return wfs_err_set(err, -EPERM,
				   "'%s' is no directory of our own that "
				   "nobody else may write: chmod go-w, or "
				   "another directory",
				   dir);
	return 0;
}

int wfs_unix_listen(const char *dir, const char *name, mode_t mode,
		    char **ret_path, int *ret_fd, struct wfs_err *err)
{
	static unsigned serial;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char *path wfs_autofree =
		wfs_asprintf("%s/%s-%d-%u", dir, name, getpid(),
			     __atomic_fetch_add(&serial, 1, __ATOMIC_RELAXED));
	int fd wfs_autoclose = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return wfs_err_set(err, -ENAMETOOLONG,
				   "'%s' is too long for a socket", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	unlink(path); /* of a process of this number that died */
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    chmod(path, mode) != 0 || listen(fd, 64) != 0)
		return wfs_err_set(err, -errno, "cannot listen on '%s': %s",
				   path, strerror(errno));
	*ret_path = wfs_steal_ptr(&path);
	*ret_fd = wfs_steal_fd(&fd);
	return 0;
}
