/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads bytes in the ways that loaders read them, and times it.
 *
 *	reader ROUNDS OP:LIST...
 *
 * A LIST is a text file, a piece per line: "<length> <offset> <path>".  Each
 * round does every job (an OP over a LIST) once and prints one line, the
 * seconds of each job.  The order turns round from one round to the next, so
 * that what drifts on a machine falls on all jobs alike, and all of them copy
 * into the same memory, which has been touched before: map and copy into room
 * for all pieces, read into one buffer, pread and files into a window of
 * 256 MiB, so that a job over files that are not in memory yet does not have
 * to share what there is with its own results.
 *
 *	read	open, read 1 MiB at a time into 1 MiB, close; offsets ignored
 *	pread	ranges of files kept open while the path stays the same
 *	files	open, read, close for each piece; offsets ignored
 *	map	mmap a file while the path stays the same, copy the piece out
 *	fresh	makes a file, has it mapped and copies as many bytes into it from
 *		memory; on a tmpfs of huge pages: what new memory costs
 *	copy	no file: as many bytes from memory to memory, the machine's limit
 *	forget	drop what the kernel has cached of the files
 *	run	LIST is a command for the shell: whatever makes the next job cold
 *
 * With one of the last two the order stays as it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/mem.h"

#define STEP	    ((size_t)1 << 20)
#define COPY_SOURCE ((size_t)256 << 20)
#define WINDOW	    ((size_t)256 << 20)
#define JOBS_MAX    8

struct piece {
	size_t len;
	off_t off;
	char *path;
};

struct job {
	void (*run)(const struct job *job);
	struct piece *pieces;
	size_t count;
	size_t bytes;
	size_t longest;
	const char *command; /* of run_command */
};

static unsigned char *dest;	   /* large enough for every job */
static unsigned char *copy_source; /* COPY_SOURCE bytes, for the op copy */

static void die(const char *what, const char *path)
{
	fprintf(stderr, "reader: cannot %s '%s': %s\n", what, path,
		strerror(errno));
	exit(1);
}

/* Where in the window a piece goes that comes after `at`. */
static unsigned char *next_place(unsigned char *at, size_t len)
{
	return (size_t)(at - dest) + len > WINDOW ? dest : at;
}

static int open_piece(const struct piece *piece)
{
	int fd = open(piece->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("open", piece->path);
	return fd;
}

/* Any short or failed read ends the program: a time would mean nothing. */
static void check_read(ssize_t got, const struct piece *piece)
{
	if (got > 0)
		return;
	if (got == 0)
		errno = ENODATA;
	die("read", piece->path);
}

static void run_read(const struct job *job)
{
	for (size_t i = 0; i < job->count; i++) {
		const struct piece *piece = &job->pieces[i];
		int fd = open_piece(piece);

		for (size_t done = 0; done < piece->len;) {
			ssize_t got = read(fd, dest, STEP);

			check_read(got, piece);
			done += (size_t)got;
		}
		close(fd);
	}
}

static void run_files(const struct job *job)
{
	unsigned char *at = dest;

	for (size_t i = 0; i < job->count; i++) {
		const struct piece *piece = &job->pieces[i];
		int fd = open_piece(piece);

		at = next_place(at, piece->len);
		for (size_t done = 0; done < piece->len;) {
			size_t want = piece->len - done;
			ssize_t got =
				read(fd, at + done, want < STEP ? want : STEP);

			check_read(got, piece);
			done += (size_t)got;
		}
		close(fd);
		at += piece->len;
	}
}

static void run_pread(const struct job *job)
{
	unsigned char *at = dest;
	const char *path = "";
	int fd = -1;

	for (size_t i = 0; i < job->count; i++) {
		const struct piece *piece = &job->pieces[i];

		if (strcmp(path, piece->path) != 0) {
			if (fd >= 0)
				close(fd);
			fd = open_piece(piece);
			path = piece->path;
		}
		at = next_place(at, piece->len);
		for (size_t done = 0; done < piece->len;) {
			size_t want = piece->len - done;
			ssize_t got = pread(fd, at + done,
					    want < STEP ? want : STEP,
					    piece->off + (off_t)done);

			check_read(got, piece);
			done += (size_t)got;
		}
		at += piece->len;
	}
	if (fd >= 0)
		close(fd);
}

static void *map_file(const struct piece *piece, size_t *ret_size)
{
	int fd = open_piece(piece);
	struct stat st;
	void *map;

	if (fstat(fd, &st) < 0)
		die("stat", piece->path);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		die("map", piece->path);
	close(fd);
	*ret_size = (size_t)st.st_size;
	return map;
}

static void run_map(const struct job *job)
{
	unsigned char *at = dest, *map = NULL;
	const char *path = "";
	size_t size = 0;

	for (size_t i = 0; i < job->count; i++) {
		const struct piece *piece = &job->pieces[i];

		if (!map || strcmp(path, piece->path) != 0) {
			if (map)
				munmap(map, size);
			map = map_file(piece, &size);
			path = piece->path;
		}
		if ((size_t)piece->off + piece->len > size) {
			errno = ENODATA;
			die("read", piece->path);
		}
		memcpy(at, map + piece->off, piece->len);
		at += piece->len;
	}
	if (map)
		munmap(map, size);
}

static void run_copy(const struct job *job)
{
	unsigned char *at = dest;

	for (size_t left = job->bytes; left;) {
		size_t n = left < COPY_SOURCE ? left : COPY_SOURCE;

		memcpy(at, copy_source, n);
		at += n;
		left -= n;
	}
}

static void run_fresh(const struct job *job)
{
	for (size_t i = 0; i < job->count; i++) {
		const struct piece *piece = &job->pieces[i];
		int fd = open(piece->path,
			      O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		unsigned char *map;

		if (fd < 0 || fallocate(fd, 0, 0, (off_t)piece->len) < 0)
			die("make", piece->path);
		map = mmap(NULL, piece->len, PROT_READ | PROT_WRITE, MAP_SHARED,
			   fd, 0);
		if (map == MAP_FAILED)
			die("map", piece->path);
		for (size_t done = 0; done < piece->len;) {
			size_t left = piece->len - done;
			size_t n = left < COPY_SOURCE ? left : COPY_SOURCE;

			memcpy(map + done, copy_source, n);
			done += n;
		}
		munmap(map, piece->len);
		close(fd);
	}
}

static void run_forget(const struct job *job)
{
	for (size_t i = 0; i < job->count; i++) {
		int fd = open_piece(&job->pieces[i]);

		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		close(fd);
	}
}

static void run_command(const struct job *job)
{
	/* NOLINTNEXTLINE(cert-env33-c): the caller's own command */
	if (system(job->command) != 0)
		die("run", job->command);
}

static const struct {
	const char *name;
	void (*run)(const struct job *job);
} ops[] = {
	{ "read", run_read },	  { "pread", run_pread },
	{ "files", run_files },	  { "map", run_map },
	{ "copy", run_copy },	  { "run", run_command },
	{ "forget", run_forget }, { "fresh", run_fresh },
};

static void add_piece(struct job *job, char *line, const char *list)
{
	char *end;
	struct piece piece;

	piece.len = strtoull(line, &end, 10);
	piece.off = strtoll(end, &end, 10);
	line[strcspn(line, "\n")] = '\0';
	if (*end != ' ' || !end[1]) {
		errno = EINVAL;
		die("parse", list);
	}
	piece.path = strdup(end + 1);
	if ((job->count & (job->count - 1)) == 0) {
		size_t room = job->count ? 2 * job->count : 1;

		job->pieces =
			realloc(job->pieces, room * sizeof(job->pieces[0]));
	}
	if (!piece.path || !job->pieces)
		die("hold", list);
	job->pieces[job->count++] = piece;
	job->bytes += piece.len;
	if (piece.len > job->longest)
		job->longest = piece.len;
}

static size_t room_for(const struct job *job)
{
	size_t window = job->longest > WINDOW ? job->longest : WINDOW;

	if (job->run == run_read || job->run == run_fresh)
		return STEP;
	if (job->run == run_map || job->run == run_copy)
		return job->bytes;
	return job->bytes < window ? job->bytes : window;
}

static void parse_job(const char *arg, struct job *job)
{
	const char *list = strchr(arg, ':');
	char *line = NULL;
	size_t room = 0;
	FILE *file;

	memset(job, 0, sizeof(*job));
	for (size_t i = 0; list && i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (strlen(ops[i].name) == (size_t)(list - arg) &&
		    strncmp(ops[i].name, arg, (size_t)(list - arg)) == 0)
			job->run = ops[i].run;
	}
	if (!job->run) {
		errno = EINVAL;
		die("understand", arg);
	}
	list++;
	if (job->run == run_command) {
		job->command = list;
		return;
	}
	file = fopen(list, "re");
	if (!file)
		die("open", list);
	while (getline(&line, &room, file) > 0)
		add_piece(job, line, list);
	free(line);
	fclose(file);
}

/* Memory that is there: a first touch is not what is measured. */
static unsigned char *touched(size_t bytes)
{
	void *mem;

	bytes = (bytes + STEP) & ~(STEP - 1);
	mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		die("allocate", "buffer");
	madvise(mem, bytes, MADV_HUGEPAGE);
	memset(mem, 1, bytes);
	return mem;
}

static double seconds(const struct job *job)
{
	uint64_t from = wfs_now_ns();

	job->run(job);
	return (double)(wfs_now_ns() - from) * 1e-9;
}

int main(int argc, char **argv)
{
	struct job jobs[JOBS_MAX];
	double took[JOBS_MAX];
	int count = argc - 2;
	long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
	bool turn = true;
	size_t most = STEP;

	if (count < 1 || count > JOBS_MAX || rounds < 1) {
		fprintf(stderr, "usage: reader ROUNDS OP:LIST...\n");
		return 2;
	}
	for (int i = 0; i < count; i++) {
		parse_job(argv[i + 2], &jobs[i]);
		if (room_for(&jobs[i]) > most)
			most = room_for(&jobs[i]);
		if (jobs[i].run == run_command || jobs[i].run == run_forget)
			turn = false;
		if ((jobs[i].run == run_copy || jobs[i].run == run_fresh) &&
		    !copy_source)
			copy_source = touched(COPY_SOURCE);
	}
	dest = touched(most);
	for (long round = 0; round < rounds; round++) {
		for (int i = 0; i < count; i++) {
			int at = turn && round % 2 ? count - 1 - i : i;

			took[at] = seconds(&jobs[at]);
		}
		for (int i = 0; i < count; i++)
			printf("%.9f%c", took[i], i + 1 < count ? ' ' : '\n');
		fflush(stdout);
	}
	return 0;
}
