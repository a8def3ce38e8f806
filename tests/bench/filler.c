/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filler ROUNDS SMALL LARGE...: fills memory from files of a mount, and copies
 * it there from the mapped files.
 *
 * One line a round: seconds of the copy of all LARGE, seconds of FILLs of them
 * into the same memory, seconds of one FILL of the first 4 KiB of SMALL (the
 * mean of many).  The first two change places from round to round.  What was
 * filled last is compared in the end.  All LARGE should be more than caches
 * hold: what one CPU has just written another has to fetch from it.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/base/unix.h"
#include "fs/weightfs_ioctl.h"

#define SMALL_BYTES 4096
#define SMALL_TIMES 2000

struct file {
	int fd;
	struct weightfs_info info;
	const char *map;
	__u64 at; /* in memory */
};

static void open_file(const char *path, struct file *file)
{
	*file = (struct file){ .fd = open(path, O_RDONLY | O_CLOEXEC) };
	file->info.head = (struct weightfs_head){ .size = sizeof(file->info),
						  .abi = WEIGHTFS_ABI };
	if (file->fd < 0 ||
	    ioctl(file->fd, WEIGHTFS_IOC_INFO, &file->info) != 0)
		err(1, "cannot ask for '%s'", path);
}

/* Stays open, as long as the slot is wanted. */
static __u64 pass(const struct file *file, int memory)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct weightfs_pass ask = { .abi = WEIGHTFS_ABI,
				     .what = WEIGHTFS_PASS_MEMORY };
	struct weightfs_passed told;
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int none;

	snprintf(address.sun_path, sizeof(address.sun_path), "%.107s",
		 file->info.socket);
	memcpy(ask.token, file->info.token, sizeof(ask.token));
	if (s < 0 ||
	    connect(s, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    wfs_unix_send(s, &ask, sizeof(ask), memory) != 0 ||
	    wfs_unix_receive(s, &told, sizeof(told), &none) != 0 ||
	    told.status != 0)
		errx(1, "cannot pass memory over '%s'", file->info.socket);
	return told.slot;
}

static void fill(const struct file *file, __u64 slot, __u64 len)
{
	struct weightfs_fill call = {
		.head = { .size = sizeof(call), .abi = WEIGHTFS_ABI },
		.slot = slot,
		.count = 1,
		.segment[0] = { .dst_off = file->at, .len = len, .count = 1 },
	};

	if (ioctl(file->fd, WEIGHTFS_IOC_FILL, &call) != 0)
		err(1, "cannot fill memory");
}

static double seconds_since(uint64_t begin)
{
	return (double)(wfs_now_ns() - begin) / 1e9;
}

static double time_copy(char *to, const struct file *files, int count)
{
	uint64_t begin = wfs_now_ns();

	for (int i = 0; i < count; i++)
		memcpy(to + files[i].at, files[i].map, files[i].info.bytes);
	return seconds_since(begin);
}

static double time_fill(__u64 slot, const struct file *files, int count)
{
	uint64_t begin = wfs_now_ns();

	for (int i = 0; i < count; i++)
		fill(&files[i], slot, files[i].info.bytes);
	return seconds_since(begin);
}

static double time_small(const struct file *file, __u64 slot)
{
	uint64_t begin = wfs_now_ns();

	for (int i = 0; i < SMALL_TIMES; i++)
		fill(file, slot, SMALL_BYTES);
	return seconds_since(begin) / SMALL_TIMES;
}

static __u64 open_all(char **paths, struct file *files, int count)
{
	__u64 at = 0;

	for (int i = 0; i < count; i++) {
		open_file(paths[i], &files[i]);
		files[i].map = mmap(NULL, files[i].info.bytes, PROT_READ,
				    MAP_SHARED | MAP_POPULATE, files[i].fd, 0);
		if (files[i].map == MAP_FAILED)
			err(1, "cannot map '%s'", paths[i]);
		files[i].at = at;
		at += files[i].info.bytes;
	}
	return at;
}

static void check(char *to, __u64 slot, const struct file *files, int count)
{
	for (int i = 0; i < count; i++) {
		char *at = to + files[i].at;

		memset(at, 0, files[i].info.bytes);
		fill(&files[i], slot, files[i].info.bytes);
		if (memcmp(files[i].map, at, files[i].info.bytes) != 0)
			errx(1, "other bytes");
	}
}

int main(int argc, char **argv)
{
	int memory = memfd_create("filler", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	double copied, filled = 0;
	struct file small, *files;
	int count = argc - 3;
	long rounds;
	__u64 slot;
	size_t len;
	char *to;

	if (count < 1)
		errx(2, "usage: filler ROUNDS SMALL LARGE...");
	rounds = strtol(argv[1], NULL, 10);
	open_file(argv[2], &small);
	files = wfs_calloc((size_t)count, sizeof(*files));
	len = open_all(argv + 3, files, count);
	if (memory < 0 || posix_fallocate(memory, 0, (off_t)len) != 0 ||
	    fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) != 0)
		err(1, "cannot make memory");
	to = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		  memory, 0);
	if (to == MAP_FAILED)
		err(1, "cannot map memory");
	slot = pass(&small, memory);
	for (long i = 0; i < rounds; i++) {
		if (i % 2)
			filled = time_fill(slot, files, count);
		copied = time_copy(to, files, count);
		if (i % 2 == 0)
			filled = time_fill(slot, files, count);
		printf("%.9f %.9f %.9f\n", copied, filled,
		       time_small(&small, slot));
	}
	check(to, slot, files, count);
	free(files);
	return 0;
}
