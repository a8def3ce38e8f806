/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lending descriptors between two processes of one host, real sockets in a
 * folder of the test's own.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/base/unix.h"
#include "transport/lend/lend.h"
#include "transport/lend/message.h"

#define SIZE 12345u

/* What the callback below gives for an id: its first byte says. */
enum {
	GOOD = 1,
	WRITABLE,
	SHORTER,
	STALE,
	NO_FILE,
	PIPE,
};

struct fixture {
	char dir[64], file[96];
	struct wfs_lender *lender;
	struct wfs_borrower *borrower;
	struct wfs_err err;
};

static int lend(void *ctx, const uint8_t id[WFS_WIRE_ID_BYTES],
		uint64_t *ret_size)
{
	const struct fixture *f = ctx;
	int fds[2];

	*ret_size = id[0] == SHORTER ? SIZE + 1 : SIZE;
	switch (id[0]) {
	case GOOD:
	case SHORTER:
		return open(f->file, O_RDONLY | O_CLOEXEC);
	case WRITABLE:
		return open(f->file, O_RDWR | O_CLOEXEC);
	case STALE:
		return -ESTALE;
	case NO_FILE:
		return -ENOTSUP;
	case PIPE:
		assert_int_equal(0, pipe2(fds, O_CLOEXEC));
		close(fds[1]);
		return fds[0];
	default:
		return -ENOENT;
	}
}

static int set_up(void **state)
{
	struct fixture *f = wfs_calloc(1, sizeof(*f));
	struct wfs_lender_config config = { .descriptor = lend, .ctx = f };
	char bytes[SIZE];
	int fd;

	strcpy(f->dir, "/tmp/weightfs-lend-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->file, sizeof(f->file), "%s/bytes", f->dir);
	memset(bytes, 'w', sizeof(bytes));
	fd = open(f->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(SIZE, write(fd, bytes, sizeof(bytes)));
	close(fd);
	config.dir = f->dir;
	assert_int_equal(0, wfs_lender_start(&config, &f->lender, &f->err));
	assert_int_equal(0, wfs_borrower_open(wfs_lender_path(f->lender),
					      &f->borrower, &f->err));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	wfs_borrower_close(f->borrower);
	wfs_lender_stop(f->lender);
	unlink(f->file);
	/* Nothing else may be left in it. */
	assert_int_equal(0, rmdir(f->dir));
	free(f);
	return 0;
}

static int borrow(struct fixture *f, uint8_t what, int *ret_fd)
{
	uint8_t id[WFS_WIRE_ID_BYTES] = { what };

	return wfs_borrow(f->borrower, id, SIZE, ret_fd, &f->err);
}

static void what_is_borrowed_reads_as_the_file(void **state)
{
	struct fixture *f = *state;
	char byte = 0;
	int fd = -1;

	for (int i = 0; i < 100; i++) {
		assert_int_equal(0, borrow(f, GOOD, &fd));
		assert_int_equal(1, pread(fd, &byte, 1, SIZE - 1));
		assert_int_equal('w', byte);
		assert_int_equal(FD_CLOEXEC, fcntl(fd, F_GETFD));
		close(fd);
	}
}

static void what_cannot_be_lent_is_said(void **state)
{
	struct fixture *f = *state;
	int fd = -7;

	assert_int_equal(-ENOENT, borrow(f, 200, &fd));
	assert_non_null(strstr(f->err.text, "no such region"));
	assert_int_equal(-ESTALE, borrow(f, STALE, &fd));
	assert_int_equal(-ENOTSUP, borrow(f, NO_FILE, &fd));
	assert_int_equal(-7, fd);
	assert_int_equal(0, borrow(f, GOOD, &fd));
	close(fd);
}

static void a_descriptor_that_could_be_written_is_not_taken(void **state)
{
	int fd = -7;

	assert_int_equal(-EBADMSG, borrow(*state, WRITABLE, &fd));
	assert_int_equal(-7, fd);
}

static void a_file_of_another_size_is_not_taken(void **state)
{
	int fd = -7;

	assert_int_equal(-EBADMSG, borrow(*state, SHORTER, &fd));
	assert_int_equal(-7, fd);
}

static void what_is_no_file_is_not_taken(void **state)
{
	int fd = -7;

	assert_int_equal(-EBADMSG, borrow(*state, PIPE, &fd));
	assert_int_equal(-7, fd);
}

static int connect_raw(const struct fixture *f)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, wfs_lender_path(f->lender));
	assert_int_equal(0, connect(fd, (struct sockaddr *)&address,
				    sizeof(address)));
	return fd;
}

static void who_talks_nonsense_is_cut_off_and_others_are_served(void **state)
{
	struct fixture *f = *state;
	struct wfs_lend_request request = { .magic = "WFL1", .op = 9 };
	char byte;
	int fd;

	for (int i = 0; i < 3; i++) {
		int raw = connect_raw(f);

		if (i == 0)
			assert_int_equal(3, send(raw, "GET", 3, 0));
		else if (i == 1)
			assert_int_equal(0, wfs_unix_send(raw, &request,
							  sizeof(request), -1));
		else
			assert_int_equal(0,
					 wfs_unix_send(raw, &request,
						       sizeof(request), raw));
		/* 0: the end, or an error where the rest was not read. */
		assert_true(recv(raw, &byte, 1, 0) <= 0);
		close(raw);
		assert_int_equal(0, borrow(f, GOOD, &fd));
		close(fd);
	}
}

static void many_clients_are_served_and_one_too_many_is_not(void **state)
{
	struct fixture *f = *state;
	int raws[300];
	char byte;
	int fd;

	for (int i = 0; i < 300; i++)
		raws[i] = connect_raw(f);
	assert_true(recv(raws[299], &byte, 1, 0) <= 0);
	assert_int_equal(0, borrow(f, GOOD, &fd));
	close(fd);
	for (int i = 0; i < 300; i++)
		close(raws[i]);
}

static void a_lender_that_is_gone_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct wfs_borrower *other = NULL;
	char *path = wfs_strdup(wfs_lender_path(f->lender));
	int fd = -7;

	wfs_lender_stop(wfs_steal_ptr(&f->lender));
	assert_int_equal(-EIO, borrow(f, GOOD, &fd));
	assert_int_equal(-7, fd);
	assert_int_equal(-ENOENT, wfs_borrower_open(path, &other, &f->err));
	assert_null(other);
	free(path);
}

/* What another user's process finds: its exit status. */
static int try_as_nobody(const struct fixture *f)
{
	struct wfs_borrower *b;
	uint8_t id[WFS_WIRE_ID_BYTES] = { GOOD };
	int fd;

	if (setgid(65534) != 0 || setuid(65534) != 0)
		return 9;
	if (wfs_borrower_open(wfs_lender_path(f->lender), &b, NULL) != 0)
		return 0; /* not let near the socket */
	return wfs_borrow(b, id, SIZE, &fd, NULL) == 0 ? 1 : 0;
}

static void another_user_gets_nothing(void **state)
{
	struct fixture *f = *state;
	int status, fd;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	/* As open as a careless umask could make it. */
	assert_int_equal(0, chmod(f->dir, 0755));
	assert_int_equal(0, chmod(wfs_lender_path(f->lender), 0666));
	pid = fork();
	if (pid == 0)
		_exit(try_as_nobody(f));
	assert_int_equal(pid, waitpid(pid, &status, 0));
	assert_int_equal(0, status);
	assert_int_equal(0, borrow(f, GOOD, &fd));
	close(fd);
}

static void a_folder_that_others_may_write_is_refused(void **state)
{
	struct fixture *f = *state;
	struct wfs_lender_config config = { .dir = f->dir, .descriptor = lend };
	struct wfs_lender *lender = NULL;

	assert_int_equal(0, chmod(f->dir, 0777));
	assert_int_equal(-EPERM, wfs_lender_start(&config, &lender, &f->err));
	assert_null(lender);
	assert_non_null(strstr(f->err.text, f->dir));
}

#define F(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		F(what_is_borrowed_reads_as_the_file),
		F(what_cannot_be_lent_is_said),
		F(a_descriptor_that_could_be_written_is_not_taken),
		F(a_file_of_another_size_is_not_taken),
		F(what_is_no_file_is_not_taken),
		F(who_talks_nonsense_is_cut_off_and_others_are_served),
		F(many_clients_are_served_and_one_too_many_is_not),
		F(a_lender_that_is_gone_is_an_error),
		F(another_user_gets_nothing),
		F(a_folder_that_others_may_write_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
