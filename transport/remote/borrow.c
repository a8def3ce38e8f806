/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of a version that seeds lend on this host: its authority, before it is
 * read at all, and whoever is found to have the same file, later.
 *
 * A lent file is as good as one of a local directory: it is of our own user's
 * or root's process, and what its owner does to it later shows in the same
 * way.  Where a digest from elsewhere has to be met (a proven version) nothing
 * is borrowed, for who reads a descriptor is not looked after by anybody.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/events.h"
#include "core/base/listed.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "transport/remote/inner.h"

/* Takes the descriptor over, unless the region has one or it is no such file;
 * with the lock held. */
static bool take(struct remote_region *region, struct remote_seed *lender,
		 int fd)
{
	struct stat st;

	if (atomic_load(&region->lent) >= 0 || fstat(fd, &st) != 0 ||
	    (uint64_t)st.st_size != region->base.size) {
		close(fd);
		return false;
	}
	region->lent_mtime = st.st_mtim;
	region->lent_ctime = st.st_ctim;
	region->lent_links = st.st_nlink;
	region->lender = lender;
	lender->lent_files++;
	lender->lent_bytes += region->base.size;
	atomic_store(&region->lent, fd);
	return true;
}

/* What one file has against being lent is no reason to give up the others. */
static bool is_of_the_file(int rc)
{
	return rc == -ENOTSUP || rc == -ENOENT || rc == -ESTALE;
}

/* A file that somebody may lend, of a source that may be gone by then. */
struct wanted {
	uint64_t serial; /* of the source */
	size_t index;
	uint64_t size;
	uint8_t id[WFS_WIRE_ID_BYTES];
};

struct wants {
	struct wanted *files;
	size_t count;
};

static void add_wants_locked(const struct wfs_remote_source *source,
			     const struct remote_seed *seed,
			     struct wants *wants)
{
	size_t most = wants->count + source->manifest->count;

	/* Whoever reads a descriptor is not looked after by anybody. */
	if (source->trust > WFS_TRUST_SEED)
		return;
	wants->files =
		wfs_realloc(wants->files, (most + 1) * sizeof(*wants->files));
	for (size_t i = 0; i < source->manifest->count; i++) {
		const struct remote_region *region = &source->regions[i];
		struct wanted *file = &wants->files[wants->count];
		const struct wfs_manifest_file *same;

		if (!region->far || !region->base.size ||
		    atomic_load(&region->lent) >= 0)
			continue;
		same = wfs_remote_same_locked(source, i, seed);
		if (!same)
			continue;
		*file = (struct wanted){ .serial = source->serial,
					 .index = i,
					 .size = region->base.size };
		memcpy(file->id, same->id, sizeof(file->id));
		wants->count++;
	}
}

/* Gives a descriptor to the region that wanted it, if that is there still. */
static bool give(struct remote_seed *seed, const struct wanted *file, int fd)
{
	struct wfs_remote *remote = seed->remote;
	struct wfs_remote_source *s;
	bool taken = false;

	pthread_mutex_lock(&remote->lock);
	for (s = remote->sources; s && s->serial != file->serial; s = s->next)
		;
	if (s)
		taken = take(&s->regions[file->index], seed, fd);
	else
		close(fd);
	pthread_mutex_unlock(&remote->lock);
	return taken;
}

/* How many of them were lent; *ret_gone: and it will lend no more. */
static unsigned borrow_all(struct remote_seed *seed, void *lender,
			   const struct wants *wants, bool *ret_gone)
{
	const struct wfs_remote_lending *lending = &seed->remote->lending;
	unsigned lent = 0;
	int fd, rc = 0;

	for (size_t i = 0; i < wants->count && !rc; i++) {
		const struct wanted *file = &wants->files[i];

		rc = lending->borrow(lender, file->id, file->size, &fd, NULL);
		if (!rc)
			lent += give(seed, file, fd);
		else if (is_of_the_file(rc))
			rc = 0;
	}
	*ret_gone = rc;
	return lent;
}

static void tell_lent(const struct remote_seed *seed, unsigned files)
{
	static const char text[] = "%u files are lent by seed '%s' on this "
				   "host: nothing of them is copied";

	wfs_info(text, files, seed->link->label);
	wfs_event("seed", NULL, text, files, seed->link->label);
}

static void tell_none(const struct remote_seed *seed, const char *why)
{
	static const char text[] = "seed '%s' is on this host, but its files "
				   "come over the network: %s";

	wfs_info(text, seed->link->label, why);
	wfs_event("seed", NULL, text, seed->link->label, why);
}

/*
 * On a connection of its own: the seed's is its thread's.  A version that
 * nobody reads yet is worth waiting for, so that no header is fetched.
 */
void wfs_remote_borrow(struct wfs_remote_source *source,
		       struct remote_seed *seed, const char *socket)
{
	const struct wfs_remote_lending *lending = &seed->remote->lending;
	struct wants wants = { 0 };
	void *lender;
	unsigned lent;
	bool gone;

	if (source->trust > WFS_TRUST_SEED)
		tell_none(seed, "every chunk of them is to be checked");
	pthread_mutex_lock(&seed->remote->lock);
	add_wants_locked(source, seed, &wants);
	pthread_mutex_unlock(&seed->remote->lock);
	if (wants.count && !lending->open(socket, &lender, NULL)) {
		lent = borrow_all(seed, lender, &wants, &gone);
		lending->close(lender);
		if (lent)
			tell_lent(seed, lent);
	}
	free(wants.files);
}

void wfs_remote_borrow_more(struct remote_seed *seed)
{
	struct wfs_remote *remote = seed->remote;
	struct wants wants = { 0 };
	struct wfs_err err = { 0 };
	unsigned lent = 0;
	bool gone = false;

	if (!seed->socket || seed->no_lender)
		return;
	pthread_mutex_lock(&remote->lock);
	for (const struct wfs_remote_source *s = remote->sources; s;
	     s = s->next)
		add_wants_locked(s, seed, &wants);
	pthread_mutex_unlock(&remote->lock);
	if (wants.count && !seed->lender &&
	    remote->lending.open(seed->socket, &seed->lender, &err)) {
		seed->no_lender = true;
		tell_none(seed, err.text);
	}
	if (seed->lender)
		lent = borrow_all(seed, seed->lender, &wants, &gone);
	if (gone)
		wfs_remote_forget_lender(seed);
	if (lent)
		tell_lent(seed, lent);
	free(wants.files);
}

void wfs_remote_forget_lender(struct remote_seed *seed)
{
	if (seed->lender)
		seed->remote->lending.close(wfs_steal_ptr(&seed->lender));
	seed->no_lender = false;
}

void wfs_remote_give_back(struct wfs_remote_source *source)
{
	for (size_t i = 0; i < source->manifest->count; i++) {
		struct remote_region *region = &source->regions[i];
		int fd = atomic_load(&region->lent);

		if (fd < 0 || !region->far)
			continue;
		close(fd);
		region->lender->lent_files--;
		region->lender->lent_bytes -= region->base.size;
	}
}

int wfs_remote_read_lent(struct remote_region *region, void *buf, size_t len,
			 uint64_t off)
{
	return wfs_pread_listed(atomic_load(&region->lent), region->base.size,
				region->lent_mtime, buf, len, off);
}

/*
 * Where only the inode changed, a link to the file came or went; when none
 * did, somebody may have written to it and set its time back.  (A local
 * directory would look at the name as well, which is not ours to know.)
 */
int wfs_remote_check_lent(struct remote_region *region)
{
	struct wfs_remote *remote =
		((struct wfs_remote_source *)region->base.source)->remote;
	int fd = atomic_load(&region->lent);
	struct stat st;
	bool same;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return errno == ESTALE ? -ESTALE : 0;
	if (wfs_was_rewritten(&st, region->base.size, region->lent_mtime))
		return -ESTALE;
	pthread_mutex_lock(&remote->lock);
	same = wfs_same_time(st.st_ctim, region->lent_ctime) ||
	       st.st_nlink != region->lent_links;
	if (same) {
		region->lent_ctime = st.st_ctim;
		region->lent_links = st.st_nlink;
	}
	pthread_mutex_unlock(&remote->lock);
	return same ? 0 : -ESTALE;
}
