/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading weights from a weightfs mount: tensors found, brought here ahead of
 * their use, mapped without a copy, or copied to where they are to lie.  What
 * <weightfs/base.h> says of errors and handles holds here; what a set mapped
 * may be used, and unmapped, by any thread.
 */
#ifndef WEIGHTFS_CLIENT_H
#define WEIGHTFS_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include <weightfs/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Tensors that were opened together, and a mapped file that holds some. */
struct weightfs_set;
struct weightfs_mapping;

struct weightfs_tensor {
	const char *name; /* name_len bytes and a NUL; the set's */
	size_t name_len;
	const char *dtype;     /* as safetensors names it: "BF16" */
	const uint64_t *shape; /* ndim elements; the set's */
	unsigned ndim;	       /* 0: a scalar */
	uint64_t size;	       /* bytes */
};

/*
 * The tensors of `path`, in the order in which they lie there:
 *
 *   a tensor file                of a mount: that one
 *   a rank's directory           of a mount: its tensor files
 *   a safetensors file           those that its header lists
 *   a directory of such files    those of the files that its
 *                                model.safetensors.index.json names, of all
 *                                of them where it has none
 *
 * `rank` ("0", "pp-0-tp-1") takes those of one rank out of a model's
 * directory; NULL: no such choice.  Nothing is mapped yet.  A directory is
 * looked up once, so a version that is switched meanwhile mixes nothing.
 *
 * -ENOENT no such path or rank; -EINVAL `path` holds no tensors; -EEXIST two
 * files hold the same tensor, as those of several ranks do; -EBADMSG a broken
 * header; errors of open(2).
 */
WEIGHTFS_API int weightfs_open(const char *path, const char *rank,
			       struct weightfs_set **ret_set);
/* What is mapped stays so until it is unmapped.  NULL is fine. */
WEIGHTFS_API void weightfs_close(struct weightfs_set *set);

WEIGHTFS_API size_t weightfs_count(const struct weightfs_set *set);
/* `i` is below the count. */
WEIGHTFS_API void weightfs_tensor(const struct weightfs_set *set, size_t i,
				  struct weightfs_tensor *ret_tensor);
/* The number of the tensor of that name, or -ENOENT. */
WEIGHTFS_API int64_t weightfs_find(const struct weightfs_set *set,
				   const char *name, size_t name_len);

/*
 * Starts to bring the files of `count` tensors from number `first` on to this
 * node, and does not wait for it.  Does nothing for local files that need no
 * arena and outside a mount.
 */
WEIGHTFS_API void weightfs_prefetch(struct weightfs_set *set, size_t first,
				    size_t count);

/*
 * The bytes of tensor `i`, read through a private map of its file: no copy,
 * shared with every other reader.  The memory can be written to; a page that
 * is becomes this process's own, and the file never changes.  Waits until all
 * of the file is on this node.  A file that there is no room for is read into
 * anonymous memory, so that an error of its source is -EIO here and no SIGBUS
 * later.
 *
 * *ret_mapping is given back by weightfs_unmap.  The bytes of an empty tensor
 * are NULL.
 */
WEIGHTFS_API int weightfs_map(struct weightfs_set *set, size_t i,
			      void **ret_bytes,
			      struct weightfs_mapping **ret_mapping);
WEIGHTFS_API void
weightfs_unmap(struct weightfs_mapping *mapping); /* NULL is fine */

/*
 * `done` of `total` bytes are loaded.  Called by the thread that loads, a few
 * times a second and at the end; what is not 0 ends the load.
 */
typedef int weightfs_progress(void *ctx, uint64_t done, uint64_t total);

struct weightfs_load {
	size_t size; /* of this struct, as the caller knows it */
	/*
	 * Where to copy each tensor to, one address for each of the set; NULL
	 * among them leaves that one out.  Without the array all are mapped,
	 * and their pages made present, for a weightfs_map that does not wait.
	 */
	void *const *to;
	unsigned threads; /* that copy; 0: one for each core, at most 8 */
	uint64_t ahead;	  /* bytes to bring here ahead; 0: 1 GiB */
	weightfs_progress *progress; /* or NULL */
	void *ctx;
	/*
	 * "cuda:0", as CUDA counts the GPUs that this process sees: all of `to`
	 * are addresses of its memory, which nothing else uses meanwhile, so
	 * what was queued for it before is waited for first.  CUDA is what this
	 * process has loaded, else what the system has.  NULL, "cpu": host
	 * memory.
	 */
	const char *device;
	/*
	 * To a GPU always by pinned buffers.  Else the memory of the files is
	 * registered with it for reading, where it can do that, and the GPU
	 * copies from there; buffers take the rest.
	 */
	int staged;
};

/*
 * Loads all tensors, several at once, while the files after them are on their
 * way.  NULL: as a struct of zeros would say.  -ECANCELED: the progress
 * function said so; of a GPU -EINVAL no such name, or no `to`, -ENODEV no such
 * GPU, -ENXIO no CUDA, -ENOMEM and -EIO what CUDA said; otherwise the errors of
 * weightfs_map.  What was copied before a failure stays where it is; when this
 * returns nothing is under way any more.
 */
WEIGHTFS_API int weightfs_load(struct weightfs_set *set,
			       const struct weightfs_load *load);

#ifdef __cplusplus
}
#endif

#endif
