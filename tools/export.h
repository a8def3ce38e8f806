/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a layout's files to a directory, so that an interrupted export goes
 * on where it was.
 *
 * Nothing has its name before all of it is on the disk.  What is being
 * written lies in `.weightfs-export/` of the target, as <identity>.part; the
 * identity is a hash of what the file is made from, so that a part of another
 * layout, plan or state of the checkpoint is never continued.  The part that
 * is there is compared with what it should be and continued after that.  A
 * journal beside it has identity, size, mtime and inode of what is finished;
 * a file without a line in it is compared byte by byte.  The directory is
 * removed at the end.
 */
#ifndef WFS_TOOLS_EXPORT_H
#define WFS_TOOLS_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/model/model.h"
#include "tools/progress.h"

#define WFS_EXPORT_WORK ".weightfs-export"
#define WFS_IDENTITY	16 /* bytes */

enum wfs_export_state {
	WFS_EXPORT_MISSING,  /* to be written */
	WFS_EXPORT_UNSURE,   /* there; the survey compares it */
	WFS_EXPORT_REPLACED, /* to be written over something else */
	WFS_EXPORT_KEPT,     /* complete already */
};

/* A file to be. */
struct wfs_export_item {
	char *path; /* relative to the target */
	uint64_t size;
	mode_t mode;
	bool is_tensor;	      /* or an entry */
	uint32_t rank, index; /* of a tensor; `index` also of an entry */
	uint8_t identity[WFS_IDENTITY];
	enum wfs_export_state state;
};

struct wfs_export {
	/* The caller's. */
	const struct wfs_model *layout;
	const char *base_path; /* of the checkpoint, absolute */
	const char *target;    /* directory, absolute */
	bool raw;	       /* tensors as files, no safetensors files */
	bool force;	       /* what is in the way is replaced */
	/* Results. */
	uint64_t written, kept; /* files */
	uint64_t written_bytes, kept_bytes;
	/* The work; {0}. */
	struct wfs_export_item *items;
	size_t count;
	char **dirs; /* relative; parents first */
	size_t dir_count;
	int dir_fd, work_fd, journal_fd;
	void *finished; /* the journal as it was, see export_journal.c */
	size_t finished_count;
	char *buffers[2];
	mode_t umask;
	struct wfs_progress progress;
};

/*
 * Makes the directory if need be and writes what is missing.  With a sentence:
 * -EEXIST when something else is in the way and `force` is not set, -ENOSPC
 * before anything is written when there is no room, -EBUSY when another
 * export writes there, -ESTALE when the checkpoint changed meanwhile, and
 * what the system says.  What is finished stays, also on failure.
 */
int wfs_export_run(struct wfs_export *x, struct wfs_err *err);
void wfs_export_clear(struct wfs_export *x);

/* The steps, for the files that share the work. */

/* export_items.c: fills items (without state) and dirs. */
int wfs_export_list(struct wfs_export *x, struct wfs_err *err);
int wfs_export_recipe(const struct wfs_export *x,
		      const struct wfs_export_item *item,
		      struct wfs_recipe **ret_recipe, struct wfs_err *err);

/* export_journal.c: what is finished. */
int wfs_export_journal_open(struct wfs_export *x, struct wfs_err *err);
bool wfs_export_journal_has(const struct wfs_export *x,
			    const struct wfs_export_item *item,
			    const struct stat *st);
int wfs_export_journal_add(struct wfs_export *x,
			   const struct wfs_export_item *item,
			   const struct stat *st, struct wfs_err *err);
/* Removes what lies in the work directory and belongs to no item. */
void wfs_export_work_tidy(struct wfs_export *x);
/* Removes the work directory, or only if there is nothing in it. */
void wfs_export_work_remove(struct wfs_export *x);
void wfs_export_work_leave(struct wfs_export *x);
/* "<identity>.part" */
#define WFS_EXPORT_PART_NAME (2 * WFS_IDENTITY + 6)
void wfs_export_part_name(const struct wfs_export_item *item,
			  char name[WFS_EXPORT_PART_NAME]);

/* export_survey.c: each item's state, and whether there is room. */
int wfs_export_survey(struct wfs_export *x, struct wfs_err *err);

/* export_write.c */

/*
 * Compares the file `fd` with what `recipe` says: *ret_same is how many bytes
 * from its beginning are right.
 */
int wfs_export_compare(struct wfs_export *x, const struct wfs_export_item *item,
		       const struct wfs_recipe *recipe, int fd, uint64_t size,
		       uint64_t *ret_same, struct wfs_err *err);
int wfs_export_write(struct wfs_export *x, struct wfs_export_item *item,
		     struct wfs_err *err);

#endif
