/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages with descriptors from somebody who means no good: none of his is
 * left open here.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/unix.h"

enum { OURS, HIS };

struct world {
	int sockets[2], pipe[2];
};

static void world_open(struct world *w)
{
	assert_int_equal(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
				       0, w->sockets));
	assert_int_equal(0, pipe(w->pipe));
}

/* The pipe is at its end once nobody has what writes to it. */
static void world_close(struct world *w)
{
	struct pollfd end = { .fd = w->pipe[0], .events = POLLIN };

	close(w->pipe[1]);
	assert_int_equal(1, poll(&end, 1, 0));
	assert_int_equal(POLLHUP, end.revents);
	close(w->pipe[0]);
	close(w->sockets[OURS]);
	close(w->sockets[HIS]);
}

static void a_descriptor_without_a_message_is_closed(void **state)
{
	struct world w;
	char message[4];
	int fd = -7;

	(void)state;
	world_open(&w);
	assert_int_equal(0, wfs_unix_send(w.sockets[HIS], "", 0, w.pipe[1]));
	assert_int_equal(-EIO, wfs_unix_receive(w.sockets[OURS], message,
						sizeof(message), &fd));
	assert_int_equal(-7, fd);
	world_close(&w);
}

static void a_descriptor_with_another_message_is_closed(void **state)
{
	struct world w;
	char message[4];
	int fd = -7;

	(void)state;
	world_open(&w);
	for (size_t len = 3; len <= 5; len += 2) {
		assert_int_equal(0, wfs_unix_send(w.sockets[HIS], "other", len,
						  w.pipe[1]));
		assert_int_equal(-EBADMSG,
				 wfs_unix_receive(w.sockets[OURS], message,
						  sizeof(message), &fd));
	}
	assert_int_equal(-7, fd);
	world_close(&w);
}

static void a_descriptor_comes_with_its_message(void **state)
{
	struct world w;
	char message[4];
	int fd = -7;

	(void)state;
	world_open(&w);
	assert_int_equal(0,
			 wfs_unix_send(w.sockets[HIS], "mine", 4, w.pipe[1]));
	assert_int_equal(0, wfs_unix_receive(w.sockets[OURS], message,
					     sizeof(message), &fd));
	assert_memory_equal("mine", message, sizeof(message));
	assert_int_equal(1, write(fd, "x", 1));
	assert_int_equal(1, read(w.pipe[0], message, sizeof(message)));
	close(fd);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_descriptor_comes_with_its_message),
		T(a_descriptor_with_another_message_is_closed),
		T(a_descriptor_without_a_message_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
