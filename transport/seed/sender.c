/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sending half of a stream, see sender.h.
 */
#include <errno.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "transport/seed/sender.h"

#define NS_PER_MS 1000000

int wfs_sender_wait(const struct wfs_sender *sender, short events,
		    int timeout_ms)
{
	struct pollfd poll_fd = { .fd = sender->fd, .events = events };
	int n;

	do {
		n = poll(&poll_fd, 1, timeout_ms);
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return -ETIMEDOUT;
	return n < 0 || atomic_load(&sender->seed->stopping) ||
			       !(poll_fd.revents & (events | POLLHUP)) ?
		       -EPIPE :
		       0;
}

/* For room in the socket. */
static int wait_for_room(const struct wfs_sender *sender)
{
	int rc;

	if (sender->turn)
		wfs_turn_give(&sender->seed->turns);
	rc = wfs_sender_wait(sender, POLLOUT,
			     (int)(sender->seed->stall_ns / NS_PER_MS));
	if (sender->turn)
		wfs_turn_take(&sender->seed->turns);
	return rc;
}

/* What to do after a call on the socket moved `n` bytes: 0 to go on. */
static int after(const struct wfs_sender *sender, ssize_t n)
{
	if (n > 0 || (n < 0 && errno == EINTR))
		return 0;
	if (n == 0)
		return -EIO; /* the file ends before it should */
	return errno == EAGAIN ? wait_for_room(sender) : -errno;
}

int wfs_sender_bytes(const struct wfs_sender *sender, const void *bytes,
		     size_t len, int flags)
{
	const char *at = bytes;
	int rc = 0;

	while (len && rc == 0) {
		ssize_t n = send(sender->fd, at, len,
				 flags | MSG_DONTWAIT | MSG_NOSIGNAL);

		rc = after(sender, n);
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return rc;
}

static int send_file(const struct wfs_sender *sender, int fd, uint64_t off,
		     size_t len)
{
	off_t at = (off_t)off;
	int rc = 0;

	while (len && rc == 0) {
		ssize_t n = sendfile(sender->fd, fd, &at, len);

		rc = after(sender, n);
		if (n > 0)
			len -= (size_t)n;
	}
	return rc;
}

static int send_itself(const struct wfs_sender *sender,
		       const struct wfs_stretch *stretch, size_t at, size_t len)
{
	int rc = 0;

	while (len && rc == 0) {
		ssize_t n = stretch->send(stretch->own, sender->fd, at, len);

		if (n > 0) {
			at += (size_t)n;
			len -= (size_t)n;
		} else if (n != -EINTR) {
			rc = n == -EAGAIN ? wait_for_room(sender) : (int)n;
		}
	}
	return rc;
}

int wfs_sender_stretch(const struct wfs_sender *sender,
		       const struct wfs_stretch *stretch)
{
	struct wfs_seed *seed = sender->seed;
	size_t done = 0;
	int rc = 0;

	while (done < stretch->len && rc == 0) {
		size_t piece = wfs_rate_piece(seed->rate, stretch->len - done);

		rc = wfs_rate_take(seed->rate, piece);
		if (rc == 0 && stretch->fd >= 0)
			rc = send_file(sender, stretch->fd, stretch->off + done,
				       piece);
		else if (rc == 0 && stretch->send)
			rc = send_itself(sender, stretch, done, piece);
		else if (rc == 0)
			rc = wfs_sender_bytes(
				sender, (const char *)stretch->bytes + done,
				piece, 0);
		if (rc == 0)
			atomic_fetch_add(&seed->sent, piece);
		done += piece;
	}
	return rc;
}
