/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the client share: a set, its files and its tensors.
 */
#ifndef WFS_TOOLS_LIB_CLIENT_H
#define WFS_TOOLS_LIB_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "core/base/err.h"
#include "core/base/keys.h"
#include "core/model/pool.h"
#include "tools/lib/include/weightfs/client.h"

/* How the bytes of a file are had, as far as that is known. */
enum wfs_weights_state {
	WFS_WEIGHTS_UNKNOWN,
	WFS_WEIGHTS_UNDER_WAY, /* on their way to this node */
	WFS_WEIGHTS_HERE,      /* in the arena, all of them */
	WFS_WEIGHTS_LOCAL,     /* a local file's, or of no mount of ours */
	WFS_WEIGHTS_FAR,       /* through the daemon: there is no room here */
};

struct wfs_weights_file {
	const char *name; /* in the set's directory */
	uint64_t size;	  /* bytes */
	uint32_t first;	  /* its tensors are [first, first + count) */
	uint32_t count;
	/* Below: of a set's load several threads, so under `lock`. */
	pthread_mutex_t lock;
	enum wfs_weights_state state;
	int fd; /* -1: not open; else `state` is known */
	struct weightfs_mapping *mapping;  /* counted, or NULL */
	struct wfs_weights_shared *shared; /* of client_gpu.c, or NULL */
};

struct wfs_weights_tensor {
	const char *name; /* name_len bytes and a NUL */
	const uint64_t *shape;
	uint64_t off, size; /* bytes, in the file */
	uint32_t name_len, file;
	uint8_t dtype; /* enum wfs_dtype */
	uint8_t ndim;
};

struct weightfs_set {
	char *path; /* as the caller named it, for messages */
	int dir;    /* that the files lie in: stays what it was */
	struct wfs_pool pool;
	struct wfs_weights_file *files;
	struct wfs_weights_tensor *tensors; /* in the order of the files */
	struct wfs_key *by_name;	    /* tag: index of the tensor */
	uint32_t file_count, count;
};

/* A file in memory. */
struct weightfs_mapping {
	atomic_uint refs;
	char *base; /* where the file's byte 0 is */
	void *room; /* that was reserved for it */
	size_t room_len;
	bool anonymous; /* a tensor's bytes are here once it is read */
	bool *filled;	/* of an anonymous one, by tensor of the file */
};

#define WFS_WEIGHTS_SUFFIX ".safetensors"

/* Names of files, in the order in which they are wanted. */
struct wfs_weights_names {
	struct wfs_key *rows; /* strings of the set's pool */
	uint32_t count, cap;
};

/* client_find.c: fills an empty set with what is at set->path. */
int wfs_weights_find(struct weightfs_set *set, const char *rank,
		     struct wfs_err *err);

/* client_look.c: the files of that name in the set's directory, once. */
int wfs_weights_look(struct weightfs_set *set,
		     const struct wfs_weights_names *names,
		     struct wfs_err *err);
/*
 * An attribute of a file, without opening it, which would bring it here, and
 * a NUL.  Its length; -ENODATA where no mount of ours has it.
 */
ssize_t wfs_weights_attribute(int dir, const char *name, const char *what,
			      char *buf, size_t size);
/* "cannot read 'name' in 'path': …"; returns `rc`. */
int wfs_weights_fail(const struct weightfs_set *set, const char *name, int rc,
		     struct wfs_err *err);

/*
 * client_file.c.  Starts to bring a file here, and does not wait: errors are
 * for who then wants its bytes.
 */
void wfs_weights_file_start(const struct weightfs_set *set,
			    struct wfs_weights_file *file);
/*
 * Opens it, when all of it is here or cannot be.  Waits; -ECANCELED as soon as
 * *stop.
 */
int wfs_weights_file_open(const struct weightfs_set *set,
			  struct wfs_weights_file *file,
			  const atomic_bool *stop, struct wfs_err *err);
/* Of one that is open, *ret_mapping is the file's. */
int wfs_weights_file_map(const struct weightfs_set *set,
			 struct wfs_weights_file *file,
			 struct weightfs_mapping **ret_mapping,
			 struct wfs_err *err);
/* Closes and lets go of it; what others map stays. */
void wfs_weights_file_drop(struct wfs_weights_file *file);

/* A part of a tensor. */
struct wfs_weights_piece {
	uint32_t tensor;
	uint64_t off, len; /* in the tensor, bytes */
};

/* Reads a piece of an open file to `to`. */
int wfs_weights_piece_read(const struct weightfs_set *set,
			   const struct wfs_weights_piece *piece, void *to,
			   struct wfs_err *err);
/* Has the piece's pages of a mapped file present, or read. */
int wfs_weights_piece_fill(const struct weightfs_set *set,
			   const struct wfs_weights_piece *piece,
			   struct wfs_err *err);

#endif
