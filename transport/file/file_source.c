/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source over a directory of this node: one descriptor for each file, kept
 * for the life of the source.  A file that was replaced by rename goes on
 * being read through it; one that was rewritten is told by its times.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/listed.h"
#include "core/base/text.h"
#include "transport/file/file_source.h"
#include "transport/file/tree.h"

/* So often a change of ctime alone is looked at before it counts. */
#define SUSPICIOUS_LOOKS 5

/* What a harmless change leaves behind, so that it is judged only once. */
struct seen {
	struct timespec ctime;
	nlink_t nlink;
};

struct file_region {
	struct wfs_region base;
	int fd;
	struct timespec mtime;
	dev_t dev;
	ino_t ino;
	struct seen seen; /* under the source's lock */
};

struct file_source {
	struct wfs_source base;
	struct wfs_tree tree;
	struct wfs_source_entry *entries;
	struct file_region *regions;
	pthread_mutex_t lock; /* held for a copy of `seen`, never for I/O */
};

static struct file_source *to_file_source(struct wfs_source *src)
{
	return (struct file_source *)src;
}

static struct file_region *to_file_region(struct wfs_region *region)
{
	return (struct file_region *)region;
}

static const struct wfs_source_entry *file_list(struct wfs_source *src,
						size_t *ret_count)
{
	struct file_source *fs = to_file_source(src);

	*ret_count = fs->tree.count;
	return fs->entries;
}

static int file_read(struct wfs_region *region, void *buf, size_t len,
		     uint64_t off)
{
	const struct file_region *f = to_file_region(region);

	return wfs_pread_listed(f->fd, region->size, f->mtime, buf, len, off);
}

static int file_descriptor(struct wfs_region *region)
{
	return to_file_region(region)->fd;
}

static struct seen seen_load(struct file_source *fs, struct file_region *f)
{
	struct seen seen;

	pthread_mutex_lock(&fs->lock);
	seen = f->seen;
	pthread_mutex_unlock(&fs->lock);
	return seen;
}

/* False when another thread has judged a change in the meantime. */
static bool seen_swap(struct file_source *fs, struct file_region *f,
		      const struct seen *from, const struct seen *to)
{
	bool same;

	pthread_mutex_lock(&fs->lock);
	same = wfs_same_time(f->seen.ctime, from->ctime) &&
	       f->seen.nlink == from->nlink;
	if (same)
		f->seen = *to;
	pthread_mutex_unlock(&fs->lock);
	return same;
}

/* Is what its name leads to now another file, or none? */
static bool name_moved_on(const struct file_source *fs,
			  const struct file_region *f)
{
	struct stat st;

	if (fstatat(fs->tree.root, f->base.path, &st, AT_NO_AUTOMOUNT) < 0)
		return errno == ENOENT || errno == ENOTDIR;
	return st.st_dev != f->dev || st.st_ino != f->ino;
}

/* A link or rename under way shows its ctime before anything else. */
static void let_it_finish(void)
{
	static const struct timespec nap = { .tv_nsec = 2000000 };

	nanosleep(&nap, NULL);
}

/* One fstat, unless something happened to the file since the last call. */
static int file_check(struct wfs_region *region)
{
	struct file_source *fs = to_file_source(region->source);
	struct file_region *f = to_file_region(region);
	struct seen was, now;
	struct stat st;

	for (int looks = 0; looks < SUSPICIOUS_LOOKS;) {
		was = seen_load(fs, f);
		if (fstat(f->fd, &st) < 0)
			return errno == ESTALE ? -ESTALE : 0;
		if (wfs_was_rewritten(&st, f->base.size, f->mtime))
			return -ESTALE;
		if (wfs_same_time(st.st_ctim, was.ctime))
			return 0;
		now = (struct seen){ st.st_ctim, st.st_nlink };
		if (now.nlink == was.nlink && !name_moved_on(fs, f)) {
			let_it_finish();
			looks++;
		} else if (seen_swap(fs, f, &was, &now)) {
			return 0;
		}
	}
	return -ESTALE;
}

/* Files on this node's own disk are what the operator pointed at. */
static enum wfs_trust file_trust(struct wfs_region *region)
{
	(void)region;
	return WFS_TRUST_ORIGIN;
}

static void file_close(struct wfs_source *src)
{
	struct file_source *fs = to_file_source(src);

	wfs_tree_clear(&fs->tree);
	free(fs->entries);
	free(fs->regions);
	pthread_mutex_destroy(&fs->lock);
	free(fs);
}

static const struct wfs_source_ops file_ops = {
	.name = "file",
	.list = file_list,
	.read = file_read,
	.descriptor = file_descriptor,
	.check = file_check,
	.trust = file_trust,
	.close = file_close,
};

static void init_region(struct file_region *f, struct wfs_source *src,
			const struct wfs_tree_node *node)
{
	f->base.source = src;
	f->base.path = node->path;
	f->base.size = (uint64_t)node->st.st_size;
	atomic_init(&f->base.failed_once, false);
	atomic_init(&f->base.stale, false);
	f->fd = node->fd;
	f->mtime = node->st.st_mtim;
	f->dev = node->st.st_dev;
	f->ino = node->st.st_ino;
	f->seen = (struct seen){ node->st.st_ctim, node->st.st_nlink };
}

/* The listing of a tree; the paths stay the tree's. */
static struct wfs_source_entry *make_entries(const struct wfs_tree *tree)
{
	struct wfs_source_entry *entries;

	entries = wfs_calloc(tree->count, sizeof(*entries));
	for (size_t i = 0; i < tree->count; i++) {
		entries[i].path = tree->nodes[i].path;
		entries[i].st = tree->nodes[i].st;
	}
	return entries;
}

int wfs_file_source_open(const char *path,
			 const struct wfs_file_source_config *config,
			 struct wfs_source **ret_source, struct wfs_err *err)
{
	struct file_source *fs;
	struct wfs_tree tree;
	int rc = wfs_tree_walk(path, config, true, &tree, err);

	if (rc)
		return rc;
	fs = wfs_calloc(1, sizeof(*fs));
	wfs_source_init(&fs->base, &file_ops, path);
	pthread_mutex_init(&fs->lock, NULL);
	fs->tree = tree;
	fs->entries = make_entries(&tree);
	fs->regions = wfs_calloc(tree.count, sizeof(*fs->regions));
	for (size_t i = 0; i < tree.count; i++) {
		if (tree.nodes[i].fd < 0)
			continue;
		init_region(&fs->regions[i], &fs->base, &tree.nodes[i]);
		fs->entries[i].region = &fs->regions[i].base;
	}
	*ret_source = &fs->base;
	return 0;
}

int wfs_file_source_peek(const char *path,
			 const struct wfs_file_source_config *config,
			 struct wfs_file_listing *ret_listing,
			 struct wfs_err *err)
{
	struct wfs_tree *tree = wfs_calloc(1, sizeof(*tree));
	int rc = wfs_tree_walk(path, config, false, tree, err);

	if (rc) {
		free(tree);
		return rc;
	}
	ret_listing->entries = make_entries(tree);
	ret_listing->count = tree->count;
	ret_listing->own = tree;
	return 0;
}

void wfs_file_listing_clear(struct wfs_file_listing *listing)
{
	if (listing->own)
		wfs_tree_clear(listing->own);
	free(listing->own);
	free(listing->entries);
	*listing = (struct wfs_file_listing){ 0 };
}
