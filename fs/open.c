/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OPEN and RELEASE: how an open is going to be served.
 *
 *	local file of the same bytes  -> passthrough to it
 *	resident in the arena         -> passthrough to the arena
 *	hydrating, soon done          -> the open waits, then passthrough,
 *					 except with O_NONBLOCK
 *	anything else                 -> cached: the daemon answers READs
 *
 * An open that waits holds no thread: it is parked, and answered by the
 * store when the hydration ends, or by the notifier at its deadline or when
 * the caller is interrupted (an EINTR would break programs with timers).
 */
#include <errno.h>
#include <fcntl.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "fs/state.h"

/* fi->fh of a model's file: all that RELEASE needs, lost with nothing. */
enum open_kind {
	OPEN_CACHED = 1,
	OPEN_ARENA,  /* acquired from the store */
	OPEN_DIRECT, /* passthrough to a local file */
};

/* An open on its way to a reply. */
struct opening {
	struct wfs_fs *fs;
	fuse_req_t req;
	struct fuse_file_info fi;
	struct wfs_node node; /* owned */
};

/* An opening that waits for a hydration. */
struct parked {
	struct opening o;
	struct wfs_waiter waiter;
	struct wfs_deadline deadline;
	atomic_int refs; /* one of the store's, one of the notifier's */
};

static void undo(struct opening *o, enum open_kind kind)
{
	if (kind == OPEN_ARENA)
		wfs_store_release(o->fs->store, wfs_node_ino(&o->node));
	wfs_modes_leave(o->fs->modes, o->node.id);
	wfs_registry_note_open(o->fs->registry, o->node.slot, -1);
}

/* The node's mode is entered already; replies and ends the opening. */
static void reply(struct opening *o, enum open_kind kind, int backing_id)
{
	struct wfs_counters *c = &o->fs->counters;

	o->fi.fh = kind;
	o->fi.noflush = 1;
	o->fi.keep_cache = kind == OPEN_CACHED;
	o->fi.backing_id = kind == OPEN_CACHED ? 0 : backing_id;
	if (kind == OPEN_CACHED)
		atomic_fetch_add(&c->opens_cached, 1);
	else
		atomic_fetch_add(&c->opens_passthrough, 1);
	wfs_registry_note_open(o->fs->registry, o->node.slot, 1);
	/* -ENOENT: the open was given up; no RELEASE will come. */
	if (fuse_reply_open(o->req, &o->fi) == -ENOENT)
		undo(o, kind);
	wfs_node_clear(&o->node);
}

static void reply_error(struct opening *o, int error)
{
	atomic_fetch_add(&o->fs->counters.opens_refused, 1);
	if (error == -ESTALE)
		wfs_registry_note_stale(o->fs->registry, o->node.slot);
	fuse_reply_err(o->req, -error);
	wfs_node_clear(&o->node);
}

static void reply_expired(void *arg)
{
	struct opening *o = arg;

	reply(o, OPEN_CACHED, 0);
	free(o);
}

/*
 * Answers in cached mode; the entry is expired first, so that the next open
 * by name looks it up and may get a node that can be passthrough.
 */
static void reply_cached(struct opening *o, bool first)
{
	bool can_change = wfs_fs_passthrough(o->fs) &&
			  wfs_node_size(&o->node) > 0;
	struct opening *later;

	if (!first || !can_change) {
		reply(o, OPEN_CACHED, 0);
		return;
	}
	later = wfs_malloc(sizeof(*later));
	*later = *o;
	wfs_notifier_expire(o->fs->notifier, wfs_node_parent(&o->node),
			    wfs_node_name(&o->node), reply_expired, later);
}

/* Leaves the node's mode, which it cannot be had in any more. */
static void reply_lost(struct opening *o, int error)
{
	wfs_modes_leave(o->fs->modes, o->node.id);
	reply_error(o, error == -ESTALE ? -ESTALE : -EIO);
}

/* An open of the arena's file holds the node, so the file is resident. */
static void reply_arena(struct opening *o)
{
	struct wfs_node_recipe recipe;
	uint64_t wait;
	int id = wfs_node_recipe(&o->node, &recipe);

	if (id == 0) {
		id = wfs_store_acquire(o->fs->store, wfs_node_ino(&o->node),
				       recipe.recipe, NULL, &wait);
		wfs_node_recipe_clear(&recipe);
	}
	if (id > 0)
		reply(o, OPEN_ARENA, id);
	else
		reply_lost(o, id);
}

/* An open of the source's own file holds the node, so the file has an id. */
static void reply_direct(struct opening *o)
{
	int id =
		wfs_backing_direct_peek(o->fs->backing, wfs_node_ino(&o->node));

	if (id > 0)
		reply(o, OPEN_DIRECT, id);
	else
		reply_lost(o, -EIO);
}

/*
 * Replies in `wanted`, for which the arena's file is acquired if that is what
 * it is, or as the node is held to.
 */
static void open_in(struct opening *o, enum wfs_mode wanted, int id)
{
	enum wfs_mode mode;
	bool first;

	mode = wfs_modes_enter(o->fs->modes, o->node.id, wanted, &first);
	if (wanted == WFS_MODE_PASSTHROUGH && mode != wanted)
		wfs_store_release(o->fs->store, wfs_node_ino(&o->node));
	if (mode == WFS_MODE_CACHED)
		reply_cached(o, first);
	else if (mode == WFS_MODE_DIRECT)
		reply_direct(o);
	else if (mode == wanted)
		reply(o, OPEN_ARENA, id);
	else
		reply_arena(o);
}

static void open_cached(struct opening *o)
{
	open_in(o, WFS_MODE_CACHED, 0);
}

/* `id` is acquired from the store. */
static void open_arena(struct opening *o, int id)
{
	open_in(o, WFS_MODE_PASSTHROUGH, id);
}

/* What the store said, in the end. */
static void open_result(struct opening *o, int result)
{
	if (result > 0)
		open_arena(o, result);
	else if (result == -ESTALE)
		reply_error(o, result);
	else
		open_cached(o);
}

static void unref_parked(struct parked *p, int refs)
{
	if (atomic_fetch_sub(&p->refs, refs) == refs)
		free(p);
}

/* From here on no interrupt reaches `p`, and the request may be answered. */
static void unpark(struct parked *p)
{
	fuse_req_interrupt_func(p->o.req, NULL, NULL);
}

static struct parked *parked_of_waiter(struct wfs_waiter *waiter)
{
	return (struct parked *)((char *)waiter -
				 offsetof(struct parked, waiter));
}

static struct parked *parked_of_deadline(struct wfs_deadline *deadline)
{
	return (struct parked *)((char *)deadline -
				 offsetof(struct parked, deadline));
}

/* The hydration ended. */
static void parked_done(struct wfs_waiter *waiter, int result)
{
	struct parked *p = parked_of_waiter(waiter);

	int refs = 1;

	unpark(p);
	if (wfs_notifier_drop(p->o.fs->notifier, &p->deadline))
		refs++;
	open_result(&p->o, result);
	unref_parked(p, refs);
}

/* Too late, or interrupted: the slower mode, at once. */
static void parked_overdue(struct wfs_deadline *deadline)
{
	struct parked *p = parked_of_deadline(deadline);

	int refs = 1;

	if (wfs_store_cancel(p->o.fs->store, &p->waiter)) {
		unpark(p);
		open_cached(&p->o);
		refs++;
	}
	unref_parked(p, refs);
}

static void parked_interrupted(fuse_req_t req, void *data)
{
	struct parked *p = data;

	(void)req;
	wfs_notifier_hurry(p->o.fs->notifier, &p->deadline);
}

/* Waits for the hydration without a thread; ends the opening either way. */
static void park(struct opening *o, const struct wfs_recipe *recipe)
{
	struct parked *p = wfs_calloc(1, sizeof(*p));
	uint64_t wait;
	int r;

	p->o = *o;
	p->waiter.done = parked_done;
	p->deadline.fire = parked_overdue;
	p->deadline.at_ns = wfs_now_ns() + o->fs->config.open_wait_ns;
	atomic_store(&p->refs, 2);
	fuse_req_interrupt_func(o->req, parked_interrupted, p);
	r = wfs_store_acquire(o->fs->store, wfs_node_ino(&o->node), recipe,
			      &p->waiter, &wait);
	if (r == -EINPROGRESS) {
		/* `p` may be answered already; this reference keeps it. */
		atomic_fetch_add(&o->fs->counters.opens_waited, 1);
		wfs_notifier_add(o->fs->notifier, &p->deadline);
		return;
	}
	unpark(p);
	free(p);
	open_result(o, r);
}

static void open_hydrated(struct opening *o)
{
	struct wfs_fs *fs = o->fs;
	struct wfs_node_recipe recipe;
	uint64_t wait = 0;
	int r = wfs_node_recipe(&o->node, &recipe);

	if (r < 0) {
		reply_error(o, -EIO);
		return;
	}
	r = wfs_store_acquire(fs->store, wfs_node_ino(&o->node), recipe.recipe,
			      NULL, &wait);
	wfs_intent_prefetch(fs->intent, fs, &o->node);
	if (r == -EINPROGRESS && !(o->fi.flags & O_NONBLOCK) &&
	    wait <= fs->config.open_wait_ns &&
	    wfs_modes_of(fs->modes, o->node.id) != WFS_MODE_CACHED)
		park(o, recipe.recipe);
	else
		open_result(o, r);
	wfs_node_recipe_clear(&recipe);
}

/* Passthrough to the local file itself, if the kernel takes it. */
static bool try_direct(struct opening *o, struct wfs_region *region)
{
	int fd = wfs_node_descriptor(&o->node), id;

	if (fd < 0)
		return false;
	id = wfs_backing_direct(o->fs->backing, wfs_node_ino(&o->node), fd,
				region->path);
	if (id <= 0)
		return false;
	open_in(o, WFS_MODE_DIRECT, id);
	return true;
}

static void open_file(struct opening *o)
{
	struct wfs_fs *fs = o->fs;
	struct wfs_region *region = wfs_node_region(&o->node);
	int r = wfs_node_check(&o->node);

	if (r < 0) {
		reply_error(o, r);
		return;
	}
	if (wfs_node_size(&o->node) == 0 || !wfs_fs_passthrough(fs)) {
		open_cached(o);
		return;
	}
	if (try_direct(o, region))
		return;
	if (fs->store && wfs_intent_note_open(fs->intent, &o->node))
		open_hydrated(o);
	else
		open_cached(o);
}

void wfs_op_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	struct opening o = { .fs = wfs_fs_of(req), .req = req, .fi = *fi };
	int r;

	if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC)) {
		fuse_reply_err(req, EROFS);
		return;
	}
	wfs_backing_probe(o.fs->backing);
	if (wfs_ino_slot(id) == 0) {
		wfs_control_open(o.fs, req, id, fi);
		return;
	}
	r = wfs_node_resolve(o.fs->registry, id, &o.node);
	if (r == 0 && wfs_node_is_dir(&o.node)) {
		wfs_node_clear(&o.node);
		r = -EISDIR;
	}
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		open_file(&o);
}

void wfs_op_release(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	struct wfs_fs *fs = wfs_fs_of(req);

	if (wfs_ino_slot(id) == 0) {
		wfs_control_release(fs, fi->fh);
	} else {
		if (fi->fh == OPEN_ARENA)
			wfs_store_release(fs->store, wfs_ino_stable(id));
		wfs_modes_leave(fs->modes, id);
		wfs_registry_note_open(fs->registry, wfs_ino_slot(id), -1);
	}
	fuse_reply_err(req, 0);
}
