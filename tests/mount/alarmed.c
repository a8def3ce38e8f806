/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alarmed MICROSECONDS FILE…: opens, reads, maps and stats each file while
 * SIGALRM comes every so often, without SA_RESTART, so that any system call
 * that can be broken off is.  Writes the bytes of all files to stdout, taken
 * by turns through read and through a map.  An EINTR is a failure: regular
 * files do not give it, and programs do not expect it.
 */
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#define BLOCK (1 << 20)

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void start_alarms(long us)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval every = {
		.it_interval = { .tv_usec = us },
		.it_value = { .tv_usec = us },
	};

	if (sigaction(SIGALRM, &sa, NULL) ||
	    setitimer(ITIMER_REAL, &every, NULL))
		err(1, "cannot set the timer");
}

static void put(const char *buf, size_t len)
{
	/* stdout is a file of the test's: never interrupted. */
	if (fwrite(buf, 1, len, stdout) != len)
		err(1, "cannot write");
}

static void copy_by_read(const char *path, int fd)
{
	static char buf[BLOCK];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		put(buf, (size_t)n);
	if (n < 0)
		err(1, "cannot read '%s'", path);
}

static void copy_by_map(const char *path, int fd, size_t len)
{
	char *at;

	if (!len)
		return;
	at = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		err(1, "cannot map '%s'", path);
	put(at, len);
	munmap(at, len);
}

int main(int argc, char **argv)
{
	struct stat st;
	int i, fd;

	if (argc < 3)
		errx(2, "usage: alarmed MICROSECONDS FILE...");
	start_alarms(strtol(argv[1], NULL, 10));
	for (i = 2; i < argc; i++) {
		fd = open(argv[i], O_RDONLY);
		if (fd < 0)
			err(1, "cannot open '%s'", argv[i]);
		if (fstat(fd, &st))
			err(1, "cannot stat '%s'", argv[i]);
		if (i % 2)
			copy_by_map(argv[i], fd, (size_t)st.st_size);
		else
			copy_by_read(argv[i], fd);
		if (close(fd))
			err(1, "cannot close '%s'", argv[i]);
	}
	if (fflush(stdout))
		err(1, "cannot write");
	fprintf(stderr, "%d alarms\n", (int)alarms);
	return 0;
}
