/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that a FUSE passthrough daemon can do, to compare with.
 *
 *	passd BACKINGDIR MOUNTPOINT
 *
 * One directory that shows the regular files of BACKINGDIR read-only; each is
 * registered with the kernel once, at its first open.  Names and attributes
 * are cached for long, requests are answered by libfuse's own pool of threads.
 * Stays in front; SIGTERM unmounts.
 */
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 17)
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOR_LONG  86400.0
#define FIRST_INO 2 /* file i has node id FIRST_INO + i */

struct file {
	char *name;
	struct stat st;
	int fd;
	int backing_id;
};

static struct file *files; /* sorted by name */
static size_t file_count;
static pthread_mutex_t register_lock = PTHREAD_MUTEX_INITIALIZER;

static int by_name(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	if (!fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH)) {
		fprintf(stderr, "passd: this kernel has no passthrough\n");
		exit(1);
	}
	conn->max_backing_stack_depth = 1;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	union {
		const char *in;
		char *key;
	} cast = { .in = name };
	struct file want = { .name = cast.key }, *file;
	struct fuse_entry_param entry = { .attr_timeout = FOR_LONG,
					  .entry_timeout = FOR_LONG };

	file = bsearch(&want, files, file_count, sizeof(*files), by_name);
	if (parent != FUSE_ROOT_ID || !file) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	entry.ino = FIRST_INO + (fuse_ino_t)(file - files);
	entry.attr = file->st;
	entry.attr.st_ino = entry.ino;
	fuse_reply_entry(req, &entry);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct stat st = { .st_mode = S_IFDIR | 0555, .st_nlink = 2 };

	(void)fi;
	if (ino != FUSE_ROOT_ID)
		st = files[ino - FIRST_INO].st;
	st.st_ino = ino;
	fuse_reply_attr(req, &st, FOR_LONG);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct file *file = &files[ino - FIRST_INO];

	pthread_mutex_lock(&register_lock);
	if (file->backing_id <= 0)
		file->backing_id = fuse_passthrough_open(req, file->fd);
	pthread_mutex_unlock(&register_lock);
	if (file->backing_id <= 0) {
		fuse_reply_err(req, EIO);
		return;
	}
	fi->backing_id = file->backing_id;
	fi->noflush = 1;
	fuse_reply_open(req, fi);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.open = op_open,
};

static int read_directory(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		struct file file = { 0 };

		file.fd = openat(dirfd(dir), entry->d_name,
				 O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (file.fd < 0 || fstat(file.fd, &file.st) < 0)
			return -errno;
		if (!S_ISREG(file.st.st_mode)) {
			close(file.fd);
			continue;
		}
		if ((file_count & (file_count - 1)) == 0) {
			size_t room = file_count ? 2 * file_count : 1;

			files = realloc(files, room * sizeof(*files));
		}
		file.name = strdup(entry->d_name);
		if (!files || !file.name) {
			free(file.name);
			return -ENOMEM;
		}
		files[file_count++] = file;
	}
	closedir(dir);
	qsort(files, file_count, sizeof(*files), by_name);
	return 0;
}

static int serve(const char *mountpoint)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_loop_config *loop = fuse_loop_cfg_create();
	struct fuse_session *se;
	int r = 1;

	if (!loop || fuse_opt_add_arg(&args, "passd") ||
	    fuse_opt_add_arg(&args, "-oro,fsname=passd"))
		return 1;
	se = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (se && fuse_session_mount(se, mountpoint) == 0) {
		fuse_set_signal_handlers(se);
		r = fuse_session_loop_mt(se, loop) < 0;
		fuse_remove_signal_handlers(se);
		fuse_session_unmount(se);
	}
	if (se)
		fuse_session_destroy(se);
	fuse_loop_cfg_destroy(loop);
	fuse_opt_free_args(&args);
	return r;
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	int r;

	if (argc != 3) {
		fprintf(stderr, "usage: passd BACKINGDIR MOUNTPOINT\n");
		return 2;
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	r = read_directory(argv[1]);
	if (r < 0) {
		fprintf(stderr, "passd: cannot read '%s': %s\n", argv[1],
			strerror(-r));
		return 1;
	}
	return serve(argv[2]);
}
