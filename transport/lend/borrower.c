/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See lend.h: the side that asks.  What comes is looked at, not believed: a
 * regular file of the right size that is open for reading only.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/base/unix.h"
#include "transport/lend/lend.h"
#include "transport/lend/message.h"

#define PATIENCE_S 10

struct wfs_borrower {
	int socket;
	char *path;
};

int wfs_borrower_open(const char *path, struct wfs_borrower **ret_borrower,
		      struct wfs_err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = PATIENCE_S };
	int fd wfs_autoclose = -1;
	struct wfs_borrower *b;

	if (strlen(path) >= sizeof(address.sun_path))
		return wfs_err_set(err, -ENAMETOOLONG,
				   "cannot borrow from '%s': the path is "
				   "too long for a socket",
				   path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return wfs_err_set(err, -errno, "cannot borrow from '%s': %s",
				   path, strerror(errno));
	if (!wfs_lend_is_ours(fd))
		return wfs_err_set(err, -EPERM,
				   "cannot borrow from '%s': it is neither "
				   "root's nor our own user's",
				   path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	b = wfs_calloc(1, sizeof(*b));
	b->socket = wfs_steal_fd(&fd);
	b->path = wfs_strdup(path);
	*ret_borrower = b;
	return 0;
}

void wfs_borrower_close(struct wfs_borrower *borrower)
{
	if (!borrower)
		return;
	close(borrower->socket);
	free(borrower->path);
	free(borrower);
}

static int status_code(uint32_t status)
{
	switch (status) {
	case WFS_WIRE_OK:
		return 0;
	case WFS_WIRE_UNKNOWN:
		return -ENOENT;
	case WFS_WIRE_STALE:
		return -ESTALE;
	case WFS_WIRE_NOT_HELD:
		return -ENOTSUP;
	default:
		return -EIO;
	}
}

static bool is_as_announced(int fd, uint64_t size)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	return fd >= 0 && flags >= 0 && (flags & O_ACCMODE) == O_RDONLY &&
	       !(flags & O_PATH) && fstat(fd, &st) == 0 &&
	       S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

int wfs_borrow(struct wfs_borrower *borrower,
	       const uint8_t id[WFS_WIRE_ID_BYTES], uint64_t size, int *ret_fd,
	       struct wfs_err *err)
{
	struct wfs_lend_request request = { .magic = "WFL1", .op = WFS_LEND };
	struct wfs_lend_answer answer;
	int fd wfs_autoclose = -1;
	int rc;

	memcpy(request.id, id, sizeof(request.id));
	rc = wfs_unix_send(borrower->socket, &request, sizeof(request), -1);
	if (!rc)
		rc = wfs_unix_receive(borrower->socket, &answer, sizeof(answer),
				      &fd);
	if (rc)
		return wfs_err_set(err, rc == -EBADMSG ? rc : -EIO,
				   "cannot borrow from '%s': %s",
				   borrower->path,
				   rc == -EBADMSG ?
					   "its answer has another form" :
					   "it is gone, or too slow");
	if (memcmp(answer.magic, "WFLA", sizeof(answer.magic)) != 0)
		return wfs_err_set(err, -EBADMSG,
				   "cannot borrow from '%s': its answer has "
				   "another form",
				   borrower->path);
	if (answer.status != WFS_WIRE_OK)
		return wfs_err_set(err, status_code(answer.status),
				   "'%s' lends no descriptor: %s",
				   borrower->path,
				   wfs_wire_status_text(answer.status));
	if (answer.size != size || !is_as_announced(fd, size))
		return wfs_err_set(err, -EBADMSG,
				   "what '%s' lends is not a file of %llu "
				   "bytes that is open for reading only",
				   borrower->path, (unsigned long long)size);
	*ret_fd = wfs_steal_fd(&fd);
	return 0;
}
