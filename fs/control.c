/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See control.h.  An open of a control file has a number; what it remembers
 * lies in a list under that number.  A number that is not known (from before
 * a restart) is served as if it had just been opened.
 */
#include "fs/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "core/base/events.h"
#include "core/base/text.h"
#include "fs/report.h"
#include "fs/state.h"
#include "fs/warm.h"
#include "fs/weightfs_ioctl.h"

struct control_open {
	struct control_open *next;
	uint64_t fh;
	struct wfs_text text; /* the snapshot, not for events */
	uint64_t base;	      /* events: position of offset 0 */
	uint64_t reached;     /* events: position after the last read */
	struct fuse_pollhandle *poll;
};

struct wfs_control_state {
	struct wfs_fs *fs;
	pthread_mutex_t lock;
	struct control_open *opens;
	uint64_t last_fh;
	bool waking; /* a wake is queued at the notifier */
};

static void wake_pollers(void *arg)
{
	struct wfs_control_state *c = arg;

	pthread_mutex_lock(&c->lock);
	c->waking = false;
	for (struct control_open *o = c->opens; o; o = o->next) {
		struct fuse_pollhandle *ph = wfs_steal_ptr(&o->poll);

		if (ph) {
			fuse_lowlevel_notify_poll(ph);
			fuse_pollhandle_destroy(ph);
		}
	}
	pthread_mutex_unlock(&c->lock);
}

/* May run in any thread, inside a request too: so only queue it. */
static void on_event(void *arg)
{
	struct wfs_control_state *c = arg;
	bool queue;

	pthread_mutex_lock(&c->lock);
	queue = !c->waking;
	c->waking = true;
	pthread_mutex_unlock(&c->lock);
	if (queue)
		wfs_notifier_call(c->fs->notifier, wake_pollers, c);
}

struct wfs_control_state *wfs_control_new(struct wfs_fs *fs)
{
	struct wfs_control_state *c = wfs_calloc(1, sizeof(*c));

	c->fs = fs;
	/* Numbers of an earlier daemon should not be known to this one. */
	c->last_fh = wfs_now_ns();
	pthread_mutex_init(&c->lock, NULL);
	wfs_events_watch(on_event, c);
	return c;
}

static void free_open(struct control_open *o)
{
	if (o->poll)
		fuse_pollhandle_destroy(o->poll);
	free(o->text.data);
	free(o);
}

void wfs_control_stop(struct wfs_control_state *c)
{
	if (c)
		wfs_events_watch(NULL, NULL);
}

void wfs_control_free(struct wfs_control_state *c)
{
	if (!c)
		return;
	while (c->opens) {
		struct control_open *o = c->opens;

		c->opens = o->next;
		free_open(o);
	}
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static void make_text(struct wfs_fs *fs, uint32_t index, struct wfs_text *t)
{
	if (index == WFS_CONTROL_STATUS)
		wfs_report_status(fs, t);
	else if (index == WFS_CONTROL_STATS)
		wfs_report_stats(fs, t);
	else
		wfs_report_version(t);
}

void wfs_control_attr(struct wfs_fs *fs, uint32_t index, struct stat *st)
{
	struct wfs_text t = { 0 };
	uint64_t oldest, end;

	if (index < WFS_CONTROL_STATUS)
		return;
	if (index == WFS_CONTROL_EVENTS) {
		wfs_events_span(&oldest, &end);
		st->st_size = (off_t)(end - oldest);
	} else {
		make_text(fs, index, &t);
		st->st_size = (off_t)t.len;
		free(t.data);
	}
	st->st_blocks = (st->st_size + 511) / 512;
}

static struct control_open *add_open(struct wfs_fs *fs, uint32_t index,
				     uint64_t fh)
{
	struct wfs_control_state *c = fs->control;
	struct control_open *o = wfs_calloc(1, sizeof(*o));
	uint64_t end;

	if (index == WFS_CONTROL_EVENTS)
		wfs_events_span(&o->base, &end);
	else
		make_text(fs, index, &o->text);
	o->reached = o->base;
	pthread_mutex_lock(&c->lock);
	o->fh = fh ? fh : ++c->last_fh;
	o->next = c->opens;
	c->opens = o;
	pthread_mutex_unlock(&c->lock);
	return o;
}

/* With the lock held. */
static struct control_open **find_open(struct wfs_control_state *c, uint64_t fh)
{
	struct control_open **po = &c->opens;

	while (*po && (*po)->fh != fh)
		po = &(*po)->next;
	return po;
}

void wfs_control_open(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
		      struct fuse_file_info *fi)
{
	if (id <= WFS_CONTROL_DIR || id >= WFS_CONTROL_END) {
		fuse_reply_err(req, id >= WFS_CONTROL_END ? ESTALE : EISDIR);
		return;
	}
	fi->fh = add_open(fs, (uint32_t)id, 0)->fh;
	fi->direct_io = 1;
	fi->noflush = 1;
	if (fuse_reply_open(req, fi) == -ENOENT)
		wfs_control_release(fs, fi->fh);
}

void wfs_control_release(struct wfs_fs *fs, uint64_t fh)
{
	struct wfs_control_state *c = fs->control;
	struct control_open **po, *o;

	pthread_mutex_lock(&c->lock);
	po = find_open(c, fh);
	o = *po;
	if (o)
		*po = o->next;
	pthread_mutex_unlock(&c->lock);
	if (o)
		free_open(o);
}

static ssize_t read_locked(struct control_open *o, bool is_events, char *buf,
			   size_t size, off_t off)
{
	ssize_t n = 0;

	if (is_events) {
		n = wfs_events_read(o->base + (uint64_t)off, buf, size);
		if (n >= 0)
			o->reached = o->base + (uint64_t)off + (uint64_t)n;
	} else if ((uint64_t)off < o->text.len) {
		n = (ssize_t)(o->text.len - (size_t)off);
		if ((size_t)n > size)
			n = (ssize_t)size;
		memcpy(buf, o->text.data + off, (size_t)n);
	}
	return n;
}

void wfs_control_read(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
		      size_t size, off_t off, uint64_t fh)
{
	struct wfs_control_state *c = fs->control;
	char *buf wfs_autofree = wfs_malloc(size + 1);
	struct control_open *o;
	ssize_t n;

	if (id <= WFS_CONTROL_DIR || id >= WFS_CONTROL_END || off < 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	pthread_mutex_lock(&c->lock);
	o = *find_open(c, fh);
	if (!o) {
		pthread_mutex_unlock(&c->lock);
		add_open(fs, (uint32_t)id, fh);
		pthread_mutex_lock(&c->lock);
		o = *find_open(c, fh);
	}
	n = o ? read_locked(o, id == WFS_CONTROL_EVENTS, buf, size, off) : -EIO;
	pthread_mutex_unlock(&c->lock);
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

void wfs_control_poll(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
		      uint64_t fh, struct fuse_pollhandle *ph)
{
	struct wfs_control_state *c = fs->control;
	struct fuse_pollhandle *old = ph;
	unsigned revents = POLLIN | POLLRDNORM;
	struct control_open *o;
	uint64_t oldest, end;

	if (id == WFS_CONTROL_EVENTS) {
		pthread_mutex_lock(&c->lock);
		o = *find_open(c, fh);
		wfs_events_span(&oldest, &end);
		if (o && o->reached >= end)
			revents = 0;
		if (o && ph) {
			old = o->poll;
			o->poll = ph;
		}
		pthread_mutex_unlock(&c->lock);
	}
	if (old)
		fuse_pollhandle_destroy(old);
	fuse_reply_poll(req, revents);
}

static void evict(struct wfs_fs *fs, fuse_req_t req, size_t out_size)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct weightfs_evict out = { 0 };
	struct wfs_store_stats st;

	if (out_size < sizeof(out)) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	if (ctx->uid != 0 && ctx->uid != geteuid()) {
		fuse_reply_err(req, EPERM);
		return;
	}
	if (fs->store) {
		out.freed = wfs_store_evict(fs->store, 0, 0, false);
		wfs_store_stats(fs->store, &st);
		out.left = st.arena_used;
	}
	fuse_reply_ioctl(req, 0, &out, sizeof(out));
}

static void warm(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
		 const struct wfs_ioctl *call)
{
	struct weightfs_warm warm;
	int rc = -ENOTTY;

	if (call->in_size == sizeof(warm) && call->out_size == sizeof(warm)) {
		memcpy(&warm, call->in, sizeof(warm));
		rc = wfs_warm(fs, id, &warm);
	}
	if (rc)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_ioctl(req, 0, &warm, sizeof(warm));
}

void wfs_control_ioctl(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
		       const struct wfs_ioctl *call)
{
	if (id == WFS_CONTROL_VERSION && call->cmd == WEIGHTFS_IOC_EVICT)
		evict(fs, req, call->out_size);
	else if (call->cmd == WEIGHTFS_IOC_WARM)
		warm(fs, req, id, call);
	else
		fuse_reply_err(req, ENOTTY);
}
