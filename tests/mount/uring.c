/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring FILE BLOCK: writes FILE to stdout, read by io_uring BLOCK bytes at a
 * time, several at once.  Raw system calls, so that no library is needed.
 * Exit status 77: the kernel has no io_uring for us.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEPTH	8
#define SKIPPED 77

struct ring {
	int fd;
	char *sq, *cq;
	struct io_uring_sqe *sqes;
	struct io_uring_params params;
};

static void *map_ring(int fd, size_t len, off_t off)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_POPULATE, fd, off);

	if (at == MAP_FAILED)
		err(1, "cannot map the ring");
	return at;
}

static void ring_open(struct ring *r)
{
	struct io_uring_params *p = &r->params;

	memset(r, 0, sizeof(*r));
	r->fd = (int)syscall(SYS_io_uring_setup, DEPTH, p);
	if (r->fd < 0) {
		warn("no io_uring");
		exit(SKIPPED);
	}
	r->sq = map_ring(r->fd, p->sq_off.array + p->sq_entries * 4,
			 IORING_OFF_SQ_RING);
	r->cq = map_ring(r->fd,
			 p->cq_off.cqes +
				 p->cq_entries * sizeof(struct io_uring_cqe),
			 IORING_OFF_CQ_RING);
	r->sqes = map_ring(r->fd, p->sq_entries * sizeof(*r->sqes),
			   IORING_OFF_SQES);
}

static _Atomic uint32_t *word(char *base, uint32_t off)
{
	return (_Atomic uint32_t *)(void *)(base + off);
}

static void queue_read(struct ring *r, int fd, void *buf, uint32_t len,
		       uint64_t off)
{
	_Atomic uint32_t *tail = word(r->sq, r->params.sq_off.tail);
	uint32_t *array = (uint32_t *)(void *)(r->sq + r->params.sq_off.array);
	uint32_t at = *tail & (r->params.sq_entries - 1);
	struct io_uring_sqe *sqe = &r->sqes[at];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_READ;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)buf;
	sqe->len = len;
	sqe->off = off;
	sqe->user_data = off;
	array[at] = at;
	atomic_fetch_add(tail, 1);
}

/* Waits for one completion; its offset and result. */
static int reap(struct ring *r, uint64_t *ret_off)
{
	_Atomic uint32_t *head = word(r->cq, r->params.cq_off.head);
	_Atomic uint32_t *tail = word(r->cq, r->params.cq_off.tail);
	struct io_uring_cqe *cqe;
	int res;

	while (atomic_load(head) == atomic_load(tail))
		if (syscall(SYS_io_uring_enter, r->fd, 0, 1,
			    IORING_ENTER_GETEVENTS, NULL, 0) < 0 &&
		    errno != EINTR)
			err(1, "io_uring_enter");
	cqe = (struct io_uring_cqe *)(void *)(r->cq + r->params.cq_off.cqes);
	cqe += *head & (r->params.cq_entries - 1);
	*ret_off = cqe->user_data;
	res = cqe->res;
	atomic_fetch_add(head, 1);
	return res;
}

int main(int argc, char **argv)
{
	struct ring r;
	struct stat st;
	uint64_t size, block, next = 0, done = 0, off;
	unsigned queued = 0;
	char *buf;
	int fd, res;

	if (argc != 3)
		errx(2, "usage: uring FILE BLOCK");
	block = strtoull(argv[2], NULL, 10);
	fd = open(argv[1], O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		err(1, "cannot open '%s'", argv[1]);
	size = (uint64_t)st.st_size;
	buf = malloc(size + 1);
	if (!buf || !block)
		errx(1, "no memory");
	ring_open(&r);
	while (done < size) {
		while (next < size && queued < DEPTH) {
			uint64_t len = size - next < block ? size - next :
							     block;

			queue_read(&r, fd, buf + next, (uint32_t)len, next);
			if (syscall(SYS_io_uring_enter, r.fd, 1, 0, 0, NULL,
				    0) != 1)
				err(1, "cannot submit");
			next += len;
			queued++;
		}
		res = reap(&r, &off);
		if (res <= 0)
			errx(1, "read at %llu: %s", (unsigned long long)off,
			     res ? strerror(-res) : "end of file");
		queued--;
		done += (uint64_t)res;
		/* Of a regular file only the end makes a read short. */
		if (((uint64_t)res + off) % block && off + (uint64_t)res < size)
			errx(1, "short read at %llu", (unsigned long long)off);
	}
	if (fwrite(buf, 1, size, stdout) != size || fflush(stdout))
		err(1, "cannot write");
	free(buf);
	return 0;
}
