/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking a checkpoint's directory.  Every step is relative to a descriptor
 * of the directory it is in and follows no link by itself, so whoever swaps
 * things underneath gains nothing; and nothing is opened for reading that
 * could block or act (a FIFO, a device).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "transport/file/link.h"
#include "transport/file/tree.h"

/* O_NONBLOCK: what was swapped for a FIFO must not hold us. */
#define FILE_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#define DIR_FLAGS  (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

struct walk {
	const char *label;
	struct wfs_link_rules links;
	bool keep;
	struct wfs_tree tree;
	struct wfs_err *err;
};

/* A directory that is being read, and those it lies in. */
struct level {
	const struct level *up;
	const char *path; /* "" is the root */
	unsigned depth;
	int fd;
	dev_t dev;
	ino_t ino;
};

static int walk_dir(struct walk *w, const struct level *up, const char *path,
		    int fd);

static bool out_of_descriptors(int code)
{
	return code == -EMFILE || code == -ENFILE;
}

/* `path` is "" for the checkpoint's own directory. */
static int cannot(struct walk *w, const char *what, const char *path, int code)
{
	const char *why = strerror(-code);

	if (out_of_descriptors(code))
		why = "too many open files; raise the limit (ulimit -n, "
		      "LimitNOFILE=)";
	if (!*path)
		return wfs_err_set(w->err, code, "cannot %s '%s': %s", what,
				   w->label, why);
	return wfs_err_set(w->err, code, "cannot %s '%s' of '%s': %s", what,
			   path, w->label, why);
}

static void leave_out(const struct walk *w, const char *path, const char *why)
{
	if (w->keep)
		wfs_warn("'%s' of '%s' is left out: %s", path, w->label, why);
}

/* Takes over *fd. */
static int add_node(struct walk *w, const char *path, const struct stat *st,
		    int *fd)
{
	struct wfs_tree *tree = &w->tree;

	if (tree->count == WFS_TREE_ENTRIES)
		return wfs_err_set(w->err, -E2BIG,
				   "'%s' holds more than %u files", w->label,
				   WFS_TREE_ENTRIES);
	if (tree->count == tree->cap) {
		tree->cap = tree->cap ? 2 * tree->cap : 64;
		tree->nodes = wfs_realloc(tree->nodes,
					  tree->cap * sizeof(*tree->nodes));
	}
	tree->nodes[tree->count++] = (struct wfs_tree_node){
		.path = wfs_strdup(path),
		.st = *st,
		.fd = wfs_steal_fd(fd),
	};
	return 0;
}

/*
 * Opens for reading what `dir` calls `name`, or what the O_PATH descriptor
 * `target` (if >= 0) is.
 */
static int open_for_reading(int dir, const char *name, int target, int flags)
{
	char proc[64];
	int fd;

	if (target < 0) {
		fd = openat(dir, name, flags | O_NOFOLLOW);
	} else {
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d", target);
		fd = open(proc, flags);
	}
	return fd < 0 ? -errno : fd;
}

static int visit_file(struct walk *w, const struct level *in, const char *name,
		      const char *path, int target, struct stat *st)
{
	int fd wfs_autoclose = -1;

	if (!w->keep)
		return add_node(w, path, st, &fd);
	fd = open_for_reading(in->fd, name, target, FILE_FLAGS);
	if (fd == -ENOENT && target < 0)
		return 0; /* removed since it was listed */
	if (fd < 0)
		return cannot(w, "open", path, fd);
	if (fstat(fd, st) < 0)
		return cannot(w, "stat", path, -errno);
	if (!S_ISREG(st->st_mode)) {
		leave_out(w, path, "it is not a regular file");
		return 0;
	}
	return add_node(w, path, st, &fd);
}

static int visit_dir(struct walk *w, const struct level *in, const char *name,
		     const char *path, int target)
{
	int fd wfs_autoclose = -1;
	int none = -1, rc;
	struct stat st;

	fd = open_for_reading(in->fd, name, target, DIR_FLAGS);
	if (fd == -ENOENT && target < 0)
		return 0;
	if (fd < 0)
		return cannot(w, "open", path, fd);
	if (fstat(fd, &st) < 0)
		return cannot(w, "stat", path, -errno);
	if (in->depth == WFS_TREE_DEPTH)
		return wfs_err_set(w->err, -E2BIG,
				   "'%s' of '%s' lies more than %d "
				   "directories deep",
				   path, w->label, WFS_TREE_DEPTH);
	for (const struct level *l = in; l; l = l->up) {
		if (l->dev == st.st_dev && l->ino == st.st_ino)
			return wfs_err_set(w->err, -ELOOP,
					   "'%s' of '%s' is a link to a "
					   "directory that it lies in: "
					   "remove it",
					   path, w->label);
	}
	rc = add_node(w, path, &st, &none);
	return rc ? rc : walk_dir(w, in, path, wfs_steal_fd(&fd));
}

/* A model without one of these would be another model. */
static bool is_weights_name(const char *name)
{
	return wfs_ends_with(name, ".safetensors") ||
	       wfs_ends_with(name, ".safetensors.index.json");
}

static int refuse_link(struct walk *w, const char *name, const char *path,
		       int code)
{
	const char *why = strerror(-code);

	if (out_of_descriptors(code))
		return cannot(w, "open", path, code);
	if (code == -EXDEV) {
		code = -ELOOP;
		why = "it is a link that leaves the checkpoint (mount with "
		      "-o follow_links to follow such links)";
	} else if (code == -ENOENT) {
		why = "it is a link that leads nowhere (is the checkpoint "
		      "complete?)";
	}
	if (is_weights_name(name))
		return wfs_err_set(w->err, code, "cannot open '%s' of '%s': %s",
				   path, w->label, why);
	leave_out(w, path, why);
	return 0;
}

static int visit(struct walk *w, const struct level *in, const char *name)
{
	char *path wfs_autofree = NULL;
	int target wfs_autoclose = -1;
	struct stat st;

	path = wfs_asprintf("%s%s%s", in->path, *in->path ? "/" : "", name);
	if (fstatat(in->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT)
			return 0;
		return cannot(w, "stat", path, -errno);
	}
	if (S_ISLNK(st.st_mode)) {
		target = wfs_link_resolve(&w->links, in->fd, name, path);
		if (target < 0)
			return refuse_link(w, name, path, target);
		if (fstat(target, &st) < 0)
			return cannot(w, "stat", path, -errno);
	}
	if (S_ISDIR(st.st_mode))
		return visit_dir(w, in, name, path, target);
	if (S_ISREG(st.st_mode))
		return visit_file(w, in, name, path, target, &st);
	leave_out(w, path, "it is not a regular file");
	return 0;
}

/* Takes over `fd`. */
static int walk_dir(struct walk *w, const struct level *up, const char *path,
		    int fd)
{
	struct level level = {
		.up = up,
		.path = path,
		.depth = up ? up->depth + 1 : 0,
		.fd = fd,
	};
	const struct dirent *entry;
	struct stat st;
	DIR *dir = NULL;
	int rc = 0;

	if (fstat(fd, &st) == 0)
		dir = fdopendir(fd);
	if (!dir) {
		rc = cannot(w, "read", path, -errno);
		close(fd);
		return rc;
	}
	level.dev = st.st_dev;
	level.ino = st.st_ino;
	while (!rc) {
		errno = 0;
		entry = readdir(dir);
		if (!entry)
			break;
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			rc = visit(w, &level, entry->d_name);
	}
	if (!rc && errno)
		rc = cannot(w, "read", path, -errno);
	closedir(dir);
	return rc;
}

static int compare_nodes(const void *a, const void *b)
{
	const struct wfs_tree_node *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static int walk_root(struct walk *w)
{
	int fd = openat(w->tree.root, ".", DIR_FLAGS);
	int rc;

	if (fd < 0)
		return cannot(w, "open", "", -errno);
	rc = walk_dir(w, NULL, "", fd);
	if (!rc && w->tree.count)
		qsort(w->tree.nodes, w->tree.count, sizeof(*w->tree.nodes),
		      compare_nodes);
	return rc;
}

int wfs_tree_walk(const char *path, const struct wfs_file_source_config *config,
		  bool keep, struct wfs_tree *ret_tree, struct wfs_err *err)
{
	struct walk w = { .label = path, .keep = keep, .err = err };
	int rc;

	w.links.follow_all = config->follow_links;
	w.tree.root = wfs_link_open_root(
		path, config->follow_links ? NULL : config->beneath);
	if (w.tree.root < 0)
		return cannot(&w, "open", "", w.tree.root);
	w.links.root = w.tree.root;
	w.links.blobs = wfs_link_hub_blobs(w.tree.root, path);
	if (out_of_descriptors(w.links.blobs))
		rc = cannot(&w, "open", "", w.links.blobs);
	else
		rc = walk_root(&w);
	if (w.links.blobs >= 0)
		close(w.links.blobs);
	if (rc) {
		wfs_tree_clear(&w.tree);
		return rc;
	}
	*ret_tree = w.tree;
	return 0;
}

void wfs_tree_clear(struct wfs_tree *tree)
{
	for (size_t i = 0; i < tree->count; i++) {
		free(tree->nodes[i].path);
		if (tree->nodes[i].fd >= 0)
			close(tree->nodes[i].fd);
	}
	free(tree->nodes);
	if (tree->root >= 0)
		close(tree->root);
	*tree = (struct wfs_tree){ .root = -1 };
}
