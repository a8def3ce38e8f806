/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of a version that its authority lends on this host.
 *
 * A lent file is as good as one of a local directory: it is of our own user's
 * or root's process, and what its owner does to it later shows in the same
 * way.  Where a digest from elsewhere has to be met (a proven version) nothing
 * is borrowed, for who reads a descriptor is not looked after by anybody.
 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/events.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "transport/remote/inner.h"

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* One of another size is not what was asked for. */
static int take(struct remote_region *region, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != region->base.size) {
		close(fd);
		return -ESTALE;
	}
	region->lent_mtime = st.st_mtim;
	region->lent_ctime = st.st_ctim;
	region->lent_links = st.st_nlink;
	region->lent = fd;
	return 0;
}

/* What one file has against being lent is no reason to give up the others. */
static bool is_of_the_file(int rc)
{
	return rc == -ENOTSUP || rc == -ENOENT || rc == -ESTALE;
}

static int borrow_all(struct wfs_remote_source *source, struct wfs_err *err)
{
	const struct wfs_remote_lending *lending = &source->remote->lending;

	for (size_t i = 0; i < source->manifest->count; i++) {
		struct remote_region *region = &source->regions[i];
		int fd, rc;

		if (!region->far || !region->base.size)
			continue;
		rc = lending->borrow(source->lender, region->id,
				     region->base.size, &fd, err);
		if (!rc)
			rc = take(region, fd);
		if (rc && !is_of_the_file(rc))
			return rc;
		if (rc)
			continue;
		source->lent_files++;
		source->lent_bytes += region->base.size;
	}
	return source->lent_files ? 0 : -ENOTSUP;
}

static void tell(const struct wfs_remote_source *source, const char *why)
{
	static const char lent[] =
		"%u files of model '%s' are lent by seed '%s' on this host: "
		"nothing of them is copied";
	static const char none[] =
		"model '%s' of seed '%s', which is on this host, comes over "
		"the network: %s";
	const char *seed = source->authority->link->label;
	const char *name = source->remote_name;

	if (source->lent_files) {
		wfs_info(lent, source->lent_files, name, seed);
		wfs_event("seed", name, lent, source->lent_files, name, seed);
		return;
	}
	wfs_info(none, name, seed, why);
	wfs_event("seed", name, none, name, seed, why);
}

void wfs_remote_borrow(struct wfs_remote_source *source, const char *socket)
{
	const struct wfs_remote_lending *lending = &source->remote->lending;
	struct wfs_err err = { .text = "it lends none of the files" };
	int rc = -EPERM;

	if (source->trust > WFS_TRUST_SEED)
		wfs_err_set(&err, rc, "every chunk of it is to be checked");
	else
		rc = lending->open(socket, &source->lender, &err);
	if (!rc)
		borrow_all(source, &err);
	tell(source, err.text);
}

void wfs_remote_give_back(struct wfs_remote_source *source)
{
	for (size_t i = 0; i < source->manifest->count; i++)
		if (source->regions[i].lent >= 0)
			close(source->regions[i].lent);
	if (source->lender)
		source->remote->lending.close(source->lender);
}

static bool was_rewritten(const struct remote_region *region,
			  const struct stat *st)
{
	return (uint64_t)st->st_size != region->base.size ||
	       !same_time(st->st_mtim, region->lent_mtime);
}

int wfs_remote_read_lent(struct remote_region *region, void *buf, size_t len,
			 uint64_t off)
{
	ssize_t got = wfs_pread_all(region->lent, buf, len, off);
	struct stat st;

	if (got >= 0 && (size_t)got == len)
		return 0;
	if (got == -ESTALE ||
	    (fstat(region->lent, &st) == 0 && was_rewritten(region, &st)))
		return -ESTALE;
	return -EIO;
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
	bool same;
	struct stat st;

	if (region->lent < 0)
		return 0;
	if (fstat(region->lent, &st) < 0)
		return errno == ESTALE ? -ESTALE : 0;
	if (was_rewritten(region, &st))
		return -ESTALE;
	pthread_mutex_lock(&remote->lock);
	same = same_time(st.st_ctim, region->lent_ctime) ||
	       st.st_nlink != region->lent_links;
	if (same) {
		region->lent_ctime = st.st_ctim;
		region->lent_links = st.st_nlink;
	}
	pthread_mutex_unlock(&remote->lock);
	return same ? 0 : -ESTALE;
}
