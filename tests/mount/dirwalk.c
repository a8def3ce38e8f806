/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dirwalk DIR: prints each entry as "TYPE INO NAME" in the order of the
 * directory (TYPE: d, f, l or ?), and checks that the directory can be
 * seeked: telldir before each entry, seekdir there and the same entry again,
 * from the last to the first; rewinddir and all of it again.  With a buffer
 * of getdents that holds few entries the walk is made once more.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct entry {
	char *name;
	unsigned long ino;
	long pos; /* telldir before it was read */
	unsigned char type;
};

static struct entry *entries;
static size_t count;

static void add(const struct dirent *d, long pos)
{
	if (!(count & (count - 1))) {
		size_t room = count ? count * 2 : 1;

		entries = realloc(entries, room * sizeof(*entries));
		if (!entries)
			err(1, "no memory");
	}
	entries[count].name = strdup(d->d_name);
	entries[count].ino = d->d_ino;
	entries[count].pos = pos;
	entries[count].type = d->d_type;
	count++;
}

static void read_all(DIR *dir)
{
	for (;;) {
		long pos = telldir(dir);
		struct dirent *d;

		errno = 0;
		d = readdir(dir);
		if (!d) {
			if (errno)
				err(1, "cannot read the directory");
			return;
		}
		add(d, pos);
	}
}

static void expect(const struct dirent *d, const struct entry *e,
		   const char *how)
{
	if (!d)
		errx(1, "%s: nothing instead of '%s'", how, e->name);
	if (strcmp(d->d_name, e->name) || d->d_ino != e->ino ||
	    d->d_type != e->type)
		errx(1, "%s: '%s' (%lu) instead of '%s' (%lu)", how, d->d_name,
		     (unsigned long)d->d_ino, e->name, e->ino);
}

static void check_seeks(DIR *dir)
{
	size_t i, step = count / 500 + 1;

	for (i = count; i >= step; i -= step) {
		seekdir(dir, entries[i - 1].pos);
		expect(readdir(dir), &entries[i - 1], "after seekdir");
	}
	rewinddir(dir);
	for (i = 0; i < count; i++)
		expect(readdir(dir), &entries[i], "after rewinddir");
	if (readdir(dir))
		errx(1, "after rewinddir: more entries than before");
}

/* The same walk with a buffer that is always full after one or two names. */
static void check_small_buffer(const char *path)
{
	union {
		struct dirent64 align;
		char bytes[300];
	} buf;
	size_t i = 0;
	long n;
	int fd = open(path, O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		err(1, "cannot open '%s'", path);
	while ((n = syscall(SYS_getdents64, fd, &buf, sizeof(buf))) > 0) {
		long at = 0;

		while (at < n) {
			void *p = buf.bytes + at;
			struct dirent64 *d = p;

			if (i == count || strcmp(d->d_name, entries[i].name))
				errx(1, "small buffer: '%s' is out of place",
				     d->d_name);
			i++;
			at += d->d_reclen;
		}
	}
	if (n < 0)
		err(1, "getdents64");
	if (i != count)
		errx(1, "small buffer: %zu entries of %zu", i, count);
	close(fd);
}

int main(int argc, char **argv)
{
	size_t i;
	DIR *dir;

	if (argc != 2)
		errx(2, "usage: dirwalk DIR");
	dir = opendir(argv[1]);
	if (!dir)
		err(1, "cannot open '%s'", argv[1]);
	read_all(dir);
	check_seeks(dir);
	check_small_buffer(argv[1]);
	for (i = 0; i < count; i++)
		printf("%c %lu %s\n",
		       entries[i].type == DT_DIR ? 'd' :
		       entries[i].type == DT_REG ? 'f' :
		       entries[i].type == DT_LNK ? 'l' :
						   '?',
		       entries[i].ino, entries[i].name);
	closedir(dir);
	return 0;
}
