/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick of everything that comes over a network: files sent by
 * sendfile(2) from the page cache and received straight into the maps of new
 * files on a tmpfs of huge pages, with nothing else done to them.
 *
 *	bare ROUNDS CONNECTIONS DIR LIST
 *
 * LIST is as that of the reader, "<length> <offset> <path>" a line; a file of
 * the same name is made in DIR, whole, and removed before the next round.
 * Sender and receiver are processes, with a thread for each connection, on
 * the loopback; connections take stripes of 8 MiB in turn, so nothing needs to be
 * said about where bytes belong.  A line a round: the seconds from the first
 * file's making to the last byte's arrival, and the seconds of CPU that
 * sender and receiver spent.  The last round's files are left for others to
 * read.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STRIPE	  ((size_t)8 << 20)
#define LANES_MAX 64
#define FILES_MAX 4096
/* As weightfs asks for: only ever more than the kernel gives by itself. */
#define SEND_BYTES (4 << 20)

struct file {
	size_t len;
	off_t off;
	char *path, *copy;
	int fd;
	unsigned char *map;
};

struct lane {
	unsigned index;
	int fd;
	pthread_t thread;
};

static struct file files[FILES_MAX];
static size_t file_count;
static struct lane lanes[LANES_MAX];
static unsigned lane_count;

static void die(const char *what, const char *path)
{
	fprintf(stderr, "bare: cannot %s '%s': %s\n", what, path,
		strerror(errno));
	exit(1);
}

/* Does `move` with every stripe of the lane. */
static void each_stripe(const struct lane *lane,
			void (*move)(const struct lane *lane,
				     const struct file *file, size_t at,
				     size_t len))
{
	unsigned turn = 0;

	for (size_t i = 0; i < file_count; i++) {
		const struct file *file = &files[i];

		for (size_t at = 0; at < file->len; at += STRIPE) {
			size_t left = file->len - at;

			if (turn++ % lane_count == lane->index)
				move(lane, file, at,
				     left < STRIPE ? left : STRIPE);
		}
	}
}

static void send_stripe(const struct lane *lane, const struct file *file,
			size_t at, size_t len)
{
	off_t off = file->off + (off_t)at;

	while (len) {
		ssize_t n = sendfile(lane->fd, file->fd, &off, len);

		if (n <= 0)
			die("send", file->path);
		len -= (size_t)n;
	}
}

static void receive_stripe(const struct lane *lane, const struct file *file,
			   size_t at, size_t len)
{
	while (len) {
		ssize_t n = recv(lane->fd, file->map + at, len, 0);

		if (n <= 0)
			die("receive", file->copy);
		at += (size_t)n;
		len -= (size_t)n;
	}
}

/* One byte from the receiver begins a round. */
static void *send_all(void *arg)
{
	const struct lane *lane = arg;
	char go;

	while (recv(lane->fd, &go, 1, 0) == 1)
		each_stripe(lane, send_stripe);
	return NULL;
}

static void *receive_all(void *arg)
{
	const struct lane *lane = arg;

	if (send(lane->fd, "", 1, 0) != 1)
		die("ask", "the sender");
	each_stripe(lane, receive_stripe);
	return NULL;
}

static void start(void *(*run)(void *arg))
{
	for (unsigned i = 0; i < lane_count; i++) {
		lanes[i].index = i;
		errno = pthread_create(&lanes[i].thread, NULL, run, &lanes[i]);
		if (errno)
			die("start", "a thread");
	}
}

static void join(void)
{
	for (unsigned i = 0; i < lane_count; i++)
		pthread_join(lanes[i].thread, NULL);
}

static void read_list(const char *list, const char *dir)
{
	FILE *in = fopen(list, "re");
	char *line = NULL;
	size_t room = 0;

	if (!in)
		die("open", list);
	while (getline(&line, &room, in) > 0 && file_count < FILES_MAX) {
		struct file *file = &files[file_count++];
		const char *base;
		char *end;

		file->len = strtoull(line, &end, 10);
		file->off = strtoll(end, &end, 10);
		line[strcspn(line, "\n")] = '\0';
		file->path = strdup(*end ? end + 1 : end);
		base = file->path ? strrchr(file->path, '/') : NULL;
		if (!base || asprintf(&file->copy, "%s%s", dir, base) < 0)
			die("take", line);
		file->fd = open(file->path, O_RDONLY | O_CLOEXEC);
		if (file->fd < 0)
			die("open", file->path);
	}
	free(line);
	fclose(in);
}

static void make_copies(void)
{
	for (size_t i = 0; i < file_count; i++) {
		struct file *file = &files[i];
		int fd = open(file->copy,
			      O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

		if (fd < 0 || ftruncate(fd, (off_t)file->len))
			die("make", file->copy);
		file->map = mmap(NULL, file->len, PROT_READ | PROT_WRITE,
				 MAP_SHARED, fd, 0);
		if (file->map == MAP_FAILED)
			die("map", file->copy);
		close(fd);
	}
}

static void unmap_copies(void)
{
	for (size_t i = 0; i < file_count; i++)
		munmap(files[i].map, files[i].len);
}

static void drop_copies(void)
{
	for (size_t i = 0; i < file_count; i++)
		unlink(files[i].copy);
}

static struct sockaddr_in loopback(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET };

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return at;
}

static int listen_here(struct sockaddr_in *ret_at)
{
	struct sockaddr_in at = loopback();
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) ||
	    listen(fd, LANES_MAX) ||
	    getsockname(fd, (struct sockaddr *)&at, &len))
		die("listen on", "127.0.0.1");
	*ret_at = at;
	return fd;
}

/* The other process: ends with its connections. */
static pid_t start_sender(int listener)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned i = 0; i < lane_count; i++) {
		int size = SEND_BYTES;

		lanes[i].fd = accept(listener, NULL, NULL);
		if (lanes[i].fd < 0)
			die("accept", "a connection");
		setsockopt(lanes[i].fd, SOL_SOCKET, SO_SNDBUFFORCE, &size,
			   sizeof(size));
	}
	start(send_all);
	join();
	exit(0);
}

static double now(clockid_t clock)
{
	struct timespec at;

	clock_gettime(clock, &at);
	return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

static void run_round(clockid_t sender)
{
	double wall, sent, received;

	drop_copies();
	sent = now(sender);
	received = now(CLOCK_PROCESS_CPUTIME_ID);
	wall = now(CLOCK_MONOTONIC);
	make_copies();
	start(receive_all);
	join();
	wall = now(CLOCK_MONOTONIC) - wall;
	sent = now(sender) - sent;
	received = now(CLOCK_PROCESS_CPUTIME_ID) - received;
	unmap_copies();
	printf("%.9f %.9f %.9f\n", wall, sent, received);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	long rounds = argc == 5 ? strtol(argv[1], NULL, 10) : 0;
	struct sockaddr_in at;
	clockid_t sender;
	int listener;
	pid_t pid;

	lane_count = argc == 5 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	if (rounds < 1 || !lane_count || lane_count > LANES_MAX) {
		fprintf(stderr, "usage: bare ROUNDS CONNECTIONS DIR LIST\n");
		return 2;
	}
	read_list(argv[4], argv[3]);
	listener = listen_here(&at);
	pid = start_sender(listener);
	if (pid < 0 || clock_getcpuclockid(pid, &sender))
		die("start", "the sender");
	for (unsigned i = 0; i < lane_count; i++) {
		lanes[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(lanes[i].fd, (struct sockaddr *)&at, sizeof(at)))
			die("connect to", "the sender");
	}
	while (rounds--)
		run_round(sender);
	return 0;
}
