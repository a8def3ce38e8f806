/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fs.h.  The session with the kernel: what is asked for at INIT, the
 * loop, and the order in which things start and end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "core/base/events.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "fs/hashes.h"
#include "fs/mountpoint.h"
#include "fs/readonly.h"
#include "fs/state.h"
#include "fs/unmount.h"

/* The default of 12 is too few for many readers of a slow source. */
#define MAX_BACKGROUND 96

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct wfs_fs *fs = userdata;
	const char *why = NULL;

	fuse_set_feature_flag(conn, FUSE_CAP_PARALLEL_DIROPS);
	fuse_set_feature_flag(conn, FUSE_CAP_ASYNC_READ);
	fuse_set_feature_flag(conn, FUSE_CAP_EXPIRE_ONLY);
	/* Always plus: in "auto", only the first page of a listing is. */
	fuse_set_feature_flag(conn, FUSE_CAP_READDIRPLUS);
	fuse_unset_feature_flag(conn, FUSE_CAP_READDIRPLUS_AUTO);
	/* Nothing here changes under the kernel's cache. */
	fuse_unset_feature_flag(conn, FUSE_CAP_AUTO_INVAL_DATA);
	/* Measured: splice brings nothing. */
	fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_READ);
	fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_WRITE);
	fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_MOVE);
	conn->max_background = MAX_BACKGROUND;
	conn->time_gran = 1;
	if (fs->config.passthrough == WFS_PASSTHROUGH_OFF)
		why = "switched off by an option";
	else if (!fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH))
		why = "the kernel has no FUSE passthrough; 6.9 or later has";
	else
		conn->max_backing_stack_depth = fs->config.deep_stack ? 2 : 1;
	wfs_backing_setup(fs->backing, fuse_session_fd(fs->session), why);
	if (why)
		wfs_info("passthrough is not in use: %s", why);
	if (fs->store)
		wfs_store_attach(fs->store, wfs_backing_exposer(fs->backing));
	wfs_mountpoint_readahead(fs->mountpoint, fs->config.readahead_kib);
	/* Of what is set there and this the kernel takes the lesser. */
	if (fs->config.readahead_kib)
		conn->max_readahead = fs->config.readahead_kib << 10;
	fs->started_ns = wfs_now_ns();
	if (fs->ready)
		fs->ready(fs->ready_ctx);
}

static void op_poll(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi,
		    struct fuse_pollhandle *ph)
{
	wfs_control_poll(wfs_fs_of(req), req, id, fi->fh, ph);
}

static const struct fuse_lowlevel_ops reading = {
	.init = op_init,
	.lookup = wfs_op_lookup,
	.getattr = wfs_op_getattr,
	.statfs = wfs_op_statfs,
	.opendir = wfs_op_opendir,
	.readdir = wfs_op_readdir,
	.readdirplus = wfs_op_readdirplus,
	.releasedir = wfs_op_releasedir,
	.open = wfs_op_open,
	.read = wfs_op_read,
	.release = wfs_op_release,
	.getxattr = wfs_op_getxattr,
	.listxattr = wfs_op_listxattr,
	.poll = op_poll,
	.ioctl = wfs_op_ioctl,
};

/* A model's name appeared, moved or vanished. */
static void on_renamed(void *ctx, const char *name)
{
	struct wfs_fs *fs = ctx;

	if (fs->notifier)
		wfs_notifier_expire(fs->notifier, FUSE_ROOT_ID, name, NULL,
				    NULL);
}

static void on_retired(void *ctx, uint32_t slot)
{
	struct wfs_fs *fs = ctx;
	uint64_t value = wfs_ino_make(slot, 0, 0, 0);

	wfs_backing_drop(fs->backing, WFS_INO_SLOT_MASK, value);
	wfs_intent_drop(fs->intent, slot);
	wfs_hashes_drop(fs->hashes, slot);
	if (fs->store)
		wfs_store_evict(fs->store, WFS_INO_SLOT_MASK, value, true);
}

/* Commas and backslashes separate mount options. */
static char *escape_option(const char *s)
{
	struct wfs_text t = { 0 };

	for (; *s; s++) {
		if (*s == ',' || *s == '\\')
			wfs_text_add(&t, "\\");
		wfs_text_add_bytes(&t, s, 1);
	}
	return t.data ? t.data : wfs_strdup("");
}

static int make_session(struct wfs_fs *fs, struct wfs_err *err)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_lowlevel_ops ops = reading;
	char *source wfs_autofree = escape_option(fs->source_name);
	char *opts wfs_autofree = wfs_asprintf(
		"fsname=%s,subtype=weightfs,ro,nosuid,nodev,"
		"default_permissions%s",
		source, fs->config.allow_other ? ",allow_other" : "");

	wfs_readonly_ops(&ops);
	if (fuse_opt_add_arg(&args, "weightfs") == 0 &&
	    fuse_opt_add_arg(&args, "-o") == 0 &&
	    fuse_opt_add_arg(&args, opts) == 0)
		fs->session = fuse_session_new(&args, &ops, sizeof(ops), fs);
	fuse_opt_free_args(&args);
	if (!fs->session)
		return wfs_err_set(err, -EINVAL,
				   "cannot make a FUSE session for '%s'",
				   fs->mountpoint);
	return 0;
}

/* Without it all works but what needs descriptors of readers. */
static void start_passing(struct wfs_fs *fs)
{
	struct wfs_err err = { 0 };

	fs->slots = wfs_slots_new();
	if (wfs_passing_start(fs->slots, fs->config.device,
			      fs->config.allow_other, &fs->passing, &err) != 0)
		wfs_info("memory of readers cannot be filled: %s", err.text);
	else if (wfs_ring_new(&fs->ring) != 0)
		wfs_info("events of readers cannot be rung: the kernel has no "
			 "AIO");
}

int wfs_fs_new(const struct wfs_fs_config *config,
	       struct wfs_registry *registry, struct wfs_store *store,
	       const char *store_why, struct wfs_fs **ret_fs,
	       struct wfs_err *err)
{
	struct wfs_fs *fs = wfs_calloc(1, sizeof(*fs));
	int r;

	fs->config = *config;
	sem_init(&fs->stop, 0, 0);
	fs->mountpoint = wfs_strdup(config->mountpoint);
	fs->source_name = wfs_strdup(config->source);
	fs->store_why = wfs_strdup(store_why ? store_why : "");
	fs->registry = registry;
	fs->store = store;
	fs->backing = wfs_backing_new();
	fs->modes = wfs_modes_new();
	fs->intent = wfs_intent_new(fs, config->orders);
	fs->hashes = wfs_hashes_new(fs);
	start_passing(fs);
	r = make_session(fs, err);
	if (r == 0) {
		r = wfs_notifier_start(fs->session, &fs->notifier);
		if (r == 0)
			r = wfs_workers_start(config->readers, &fs->readers);
		if (r == 0)
			r = wfs_workers_start(0, &fs->fillers);
		if (r == 0)
			r = wfs_workers_start(0, &fs->feeders);
		if (r < 0)
			wfs_err_set(err, r, "cannot start threads: %s",
				    strerror(-r));
	}
	if (r < 0) {
		wfs_fs_free(fs);
		return r;
	}
	fs->control = wfs_control_new(fs);
	wfs_registry_hook(registry, (struct wfs_registry_hooks){
					    .ctx = fs,
					    .renamed = on_renamed,
					    .retired = on_retired,
				    });
	*ret_fs = fs;
	return 0;
}

int wfs_fs_mount(struct wfs_fs *fs, struct wfs_err *err)
{
	int r = wfs_mountpoint_prepare(fs->mountpoint, fs->config.nonempty,
				       err);

	if (r < 0)
		return r;
	if (fuse_session_mount(fs->session, fs->mountpoint) != 0)
		return wfs_err_set(err, -EPERM,
				   "cannot mount on '%s': is /dev/fuse there "
				   "and, for other users than root, "
				   "fusermount3? Try: weightfs doctor",
				   fs->mountpoint);
	fs->mounted = true;
	return 0;
}

static void interrupt_only(int signal)
{
	(void)signal;
}

/*
 * libfuse's loop looks at its exit flag only when its wait is interrupted,
 * and misses a signal that comes just before the wait; so it is interrupted
 * until it has ended.
 */
static void *stopper(void *arg)
{
	struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	struct wfs_fs *fs = arg;

	while (sem_wait(&fs->stop) != 0)
		;
	while (!atomic_load(&fs->loop_ended)) {
		fuse_session_exit(fs->session);
		pthread_kill(fs->loop_thread, SIGUSR2);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

int wfs_fs_run(struct wfs_fs *fs, void (*ready)(void *ctx), void *ctx)
{
	struct sigaction action = { .sa_handler = interrupt_only };
	struct fuse_loop_config *loop = fuse_loop_cfg_create();
	pthread_t thread;
	int r;

	if (!loop)
		return -ENOMEM;
	fs->ready = ready;
	fs->ready_ctx = ctx;
	fs->loop_thread = pthread_self();
	sigaction(SIGUSR2, &action, NULL); /* no SA_RESTART */
	r = -pthread_create(&thread, NULL, stopper, fs);
	if (r == 0) {
		fuse_loop_cfg_set_clone_fd(loop, 0);
		r = fuse_session_loop_mt(fs->session, loop);
		atomic_store(&fs->loop_ended, true);
		sem_post(&fs->stop);
		pthread_join(thread, NULL);
	}
	fuse_loop_cfg_destroy(loop);
	wfs_event("unmount", NULL, "the mount on '%s' ends", fs->mountpoint);
	return r < 0 ? r : 0;
}

const char *wfs_fs_passthrough_why(const struct wfs_fs *fs)
{
	const char *why = wfs_backing_why(fs->backing);

	return why[0] ? why : NULL;
}

void wfs_fs_exit(struct wfs_fs *fs)
{
	sem_post(&fs->stop);
}

/*
 * Ends the connection, whose readers get ENOTCONN, and the mount.  The
 * descriptor is replaced, not closed: threads still write answers to it, and
 * a number set free could be the next file's.  In its place comes a pipe that
 * nobody reads: poll(2) says POLLERR of it, as it does of a mount that is
 * gone, and so libfuse leaves alone what may lie on the mount point by then.
 */
static void hang_up(struct wfs_fs *fs)
{
	struct pollfd poll_fd = { .fd = fuse_session_fd(fs->session) };
	bool gone = poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & POLLERR;
	int pipe_fds[2];

	if (gone || pipe2(pipe_fds, O_CLOEXEC) != 0)
		return;
	close(pipe_fds[0]);
	dup3(pipe_fds[1], poll_fd.fd, O_CLOEXEC);
	close(pipe_fds[1]);
	wfs_unmount(fs->mountpoint, true, NULL);
}

/*
 * The loop has ended, so nothing new comes.  The mount goes first: a source
 * that hangs may hold up the rest, but not the readers.  Then what waits is
 * answered, to nobody, and the threads end.
 */
void wfs_fs_free(struct wfs_fs *fs)
{
	if (!fs)
		return;
	if (fs->control)
		wfs_registry_hook(fs->registry,
				  (struct wfs_registry_hooks){ 0 });
	wfs_backing_stop(fs->backing);
	if (fs->mounted)
		hang_up(fs);
	if (fs->store)
		wfs_store_detach(fs->store);
	wfs_workers_stop(fs->readers);
	wfs_hashes_stop(fs->hashes);
	wfs_intent_stop(fs->intent);
	wfs_passing_stop(fs->passing); /* fills end with it */
	wfs_workers_stop(fs->fillers);
	wfs_workers_stop(fs->feeders);
	wfs_slots_free(fs->slots);
	wfs_ring_free(fs->ring);
	wfs_control_stop(fs->control);
	wfs_notifier_stop(fs->notifier);
	wfs_control_free(fs->control);
	if (fs->mounted)
		fuse_session_unmount(fs->session);
	if (fs->session)
		fuse_session_destroy(fs->session);
	wfs_intent_free(fs->intent);
	wfs_hashes_free(fs->hashes);
	wfs_modes_free(fs->modes);
	wfs_backing_free(fs->backing);
	free(fs->store_why);
	free(fs->source_name);
	free(fs->mountpoint);
	sem_destroy(&fs->stop);
	free(fs);
}
