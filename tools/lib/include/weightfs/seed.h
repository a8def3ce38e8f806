/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libweightfs, the seed: a process serves the weights that it holds.
 *
 *	weightfs_seed_new(&options, &seed);
 *	weightfs_seed_model_new(seed, &model_options, &model);
 *	weightfs_seed_add_file(model, "config.json", text, len);
 *	weightfs_seed_add_tensor(model, &tensor);	… and all others
 *	weightfs_seed_publish(model);
 *	…
 *	weightfs_seed_update_begin(model);
 *	… change weights in place …
 *	weightfs_seed_update_end(model);
 *	…
 *	weightfs_seed_model_free(model);	the memory may be freed now
 *	weightfs_seed_free(seed);
 *
 * Other nodes mount it (`weightfs … --seed URL`) as a checkpoint that
 * sharded_state saved: config.json, and a safetensors file for each rank that
 * is here.  Nothing is copied until somebody asks; then chunk by chunk, by
 * threads of low priority.  The weights must stay where they are, and as they
 * are but for updates, until weightfs_seed_model_free returns.
 *
 * After a fork the child's copies of the handles do nothing: functions say
 * -ECHILD, and those that free return.  A child may make seeds of its own, not
 * over RDMA; what its parent registered stays so until both have ended, or the
 * child has executed another program.
 */
#ifndef WEIGHTFS_SEED_H
#define WEIGHTFS_SEED_H

#include <stddef.h>
#include <stdint.h>

#include <weightfs/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weightfs_seed;
struct weightfs_seed_model;

/*
 * May nodes read the weights where they are, by RDMA, with no CPU of this
 * process?  Their memory is locked from when the first one asks for it, and of
 * small tensors whatever else lies in the same pages may be read as well.  What
 * is not contiguous is sent over TCP, as are small files.
 */
enum weightfs_seed_rdma {
	WEIGHTFS_SEED_RDMA_AUTO = 0, /* where this machine can */
	WEIGHTFS_SEED_RDMA_OFF,
	WEIGHTFS_SEED_RDMA_ON, /* or there is no seed: -ENODEV, -ENOENT, … */
};

/* All zero is fine, but for `size`. */
struct weightfs_seed_options {
	size_t size;	    /* of this struct: what of it the caller knows */
	const char *listen; /* "ADDR:PORT"; NULL: 127.0.0.1 and a free port */
	const char *token_file; /* who asks must know what is in it */
	const char *tls_cert;	/* PEM; with tls_key: TLS */
	const char *tls_key;
	const char *tls_client_ca; /* clients bring a certificate of these */
	uint64_t rate;	      /* bytes a second for all together; 0: no cap */
	unsigned threads;     /* that send at a time; 0: 1 */
	unsigned connections; /* at most; 0: 64 */
	int nice;	      /* of the threads, 1 … 19; 0: 10 */
	int insecure;	      /* not 0: beyond loopback also without a token */
	int rdma;	      /* enum weightfs_seed_rdma */
	/*
	 * Not 0: digests of all bytes of an epoch, for who asks for them, by
	 * one more thread that goes behind all others.  Seeds of the same
	 * declared version are then compared byte for byte.
	 */
	int digests;
};

/* All zero is fine, but for `size` and `name`.  Strings are UTF-8. */
struct weightfs_seed_model_options {
	size_t size;
	const char *name;	    /* the directory in a mount */
	const char *engine;	    /* "vllm" */
	const char *engine_version; /* "0.32" */
	const char *layout;	    /* "tp4", "tp4pp2" */
	/*
	 * "loaded": the tensors are as they were loaded, plans apply to them.
	 * "processed": the engine packed or transposed them since; only an
	 * engine of the same version and layout can use them.  NULL: unknown.
	 */
	const char *state;
	/*
	 * Processes that say the same have the same weights.  It is said of
	 * these, and not of what an update makes of them.
	 */
	const char *declared;
	/*
	 * Not 0: as sharded_state saves.  Of tensors that are the same bytes
	 * (tied ones) only the one with the least name is served, and none
	 * that is empty or lies within another.
	 */
	int one_name;
};

enum weightfs_seed_device {
	WEIGHTFS_SEED_HOST = 0, /* any memory that this process can read */
	WEIGHTFS_SEED_CUDA = 1, /* of a GPU that this process uses, by CUDA */
};

struct weightfs_seed_tensor {
	size_t size; /* of this struct */
	const char *name;
	const char *dtype; /* as in safetensors: "BF16", "F8_E4M3", … */
	const uint64_t *shape;
	/*
	 * Elements from one to the next in each dimension; may be 0 or
	 * negative.  NULL: contiguous, the last dimension is the fastest.
	 */
	const int64_t *strides;
	unsigned ndim;
	const void *data; /* the element at [0, 0, …] */
	uint32_t rank;	  /* of all: stage × tp + tensor-parallel rank */
	int device;	  /* enum weightfs_seed_device */
};

/*
 * Listens, and serves what is published from then on.  -EINVAL, -EADDRINUSE,
 * -EPERM (an address beyond loopback, and no token), -ENOENT, …
 */
WEIGHTFS_API int weightfs_seed_new(const struct weightfs_seed_options *options,
				   struct weightfs_seed **ret_seed);
/* "http://127.0.0.1:41233"; good until the seed is freed. */
WEIGHTFS_API const char *weightfs_seed_url(const struct weightfs_seed *seed);
/* Cuts off everybody.  Frees its models, too. */
WEIGHTFS_API void weightfs_seed_free(struct weightfs_seed *seed);

/* -EEXIST: the seed has one of that name. */
WEIGHTFS_API int
weightfs_seed_model_new(struct weightfs_seed *seed,
			const struct weightfs_seed_model_options *options,
			struct weightfs_seed_model **ret_model);
/*
 * What the model is made of; not after weightfs_seed_publish (-EBUSY).  The
 * description is copied, the bytes of a tensor are not; those of a file are.
 * -EINVAL, -EOVERFLOW; -ENOTSUP: a device of no kind that is served; -ENXIO:
 * this process has no CUDA.
 */
WEIGHTFS_API int
weightfs_seed_add_tensor(struct weightfs_seed_model *model,
			 const struct weightfs_seed_tensor *tensor);
WEIGHTFS_API int weightfs_seed_add_file(struct weightfs_seed_model *model,
					const char *name, const void *bytes,
					size_t len);
/*
 * Offers it.  -EEXIST: a name is there twice; -ENOENT: there is no tensor;
 * -EFAULT: one of them is no memory of this process.
 */
WEIGHTFS_API int weightfs_seed_publish(struct weightfs_seed_model *model);

/* How many spans of memory hold all of it, apart by a page at least. */
WEIGHTFS_API size_t
weightfs_seed_regions(const struct weightfs_seed_model *model);

/*
 * Around changes of the weights in place, from any thread.  Neither waits for
 * readers: what they read meanwhile is thrown away.  What a GPU is to change
 * it must have changed by the end: synchronise before it, and before the
 * model is published.  Afterwards the model is a
 * new version, and the old one is stale.  -EALREADY, -EINVAL: there is an
 * update, there is none.
 */
WEIGHTFS_API int weightfs_seed_update_begin(struct weightfs_seed_model *model);
WEIGHTFS_API int weightfs_seed_update_end(struct weightfs_seed_model *model);
/*
 * During an update, what the new version is declared as (NULL: nothing); else
 * it is declared as nothing, whatever the one before it was.  -EINVAL: there is
 * no update, or that is no word.
 */
WEIGHTFS_API int weightfs_seed_update_declare(struct weightfs_seed_model *model,
					      const char *declared);
/* Even; odd during an update. */
WEIGHTFS_API uint64_t
weightfs_seed_epoch(const struct weightfs_seed_model *model);

/*
 * Takes the model off; from the return on its memory is not touched.  Who is
 * in the middle of it gets an error, and never wrong bytes.
 */
WEIGHTFS_API void weightfs_seed_model_free(struct weightfs_seed_model *model);

#ifdef __cplusplus
}
#endif

#endif
