/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a seed has to give: the checkpoints of a registry, their regions and
 * the digests of these.
 *
 * A model goes in stock when its name leads to it and all of its bytes
 * can be sent; layouts do not.  One that was replaced is listed no more, but
 * stays for those who are in the middle of it, until nobody asked for a while.
 *
 * Bytes come from the descriptor of a region, or from whoever holds them: a
 * holder, which may have only some chunks of a region, and in memory.
 */
#ifndef WFS_TRANSPORT_SEED_STOCK_H
#define WFS_TRANSPORT_SEED_STOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/text.h"
#include "core/digest/book.h"
#include "core/digest/digest_tree.h"
#include "core/model/registry.h"
#include "transport/wire/frame.h"

struct wfs_stock;

/* Bytes of a region as they can be sent now. */
struct wfs_stretch {
	size_t len;	   /* at least 1 */
	int fd;		   /* at `off` of this descriptor, borrowed … */
	uint64_t off;	   /* … */
	const void *bytes; /* … or, when fd is -1, here … */
	/*
	 * … or, where this is set, nowhere that one could look: sends from
	 * byte `at` on up to `len` bytes to a socket without waiting, each
	 * once and in order: how many, or a negative errno.  After any but
	 * -EAGAIN the rest must not be sent; -EFAULT: it can be taken at most.
	 */
	ssize_t (*send)(void *own, int socket, size_t at, size_t len);
	/* Gives them back; NULL: nothing to do.  `own` is the holder's. */
	void (*release)(void *own);
	void *own;
};

/*
 * Who holds regions that have no descriptor.  Called by many threads at once,
 * with no lock held; must not block on anybody who reads from this seed.
 */
struct wfs_holder {
	void *ctx;
	/* Bytes of the region that can be sent now. */
	uint64_t (*held)(void *ctx, struct wfs_region *region);
	/* Can all of [off, off + len) be sent? */
	bool (*holds)(void *ctx, struct wfs_region *region, uint64_t off,
		      uint64_t len);
	/*
	 * From `off` on up to `len` bytes.  0, -ENODATA when the first of
	 * them is not held, -ESTALE, -EIO.
	 */
	int (*take)(void *ctx, struct wfs_region *region, uint64_t off,
		    size_t len, struct wfs_stretch *ret_stretch);
	/*
	 * The same as a stretch that sends itself, whole, for who knows the
	 * digest of the bytes.  -ENOTSUP: they must be taken.  May be NULL.
	 */
	int (*direct)(void *ctx, struct wfs_region *region, uint64_t off,
		      size_t len, struct wfs_stretch *ret_stretch);
	/*
	 * A descriptor of a file that equals the region, for whoever borrows
	 * it on this host, or -ENOTSUP.  May be NULL.
	 */
	int (*lend)(void *ctx, struct wfs_region *region);
};

struct wfs_stock_config {
	struct wfs_registry *registry;	 /* outlives the stock, as all here */
	struct wfs_book *book;		 /* may be NULL: no digests are known */
	const struct wfs_holder *holder; /* copied; NULL: descriptors only */
	uint64_t linger_ns;		 /* how long a replaced one stays */
};

#define WFS_SENT_BYTES 17 /* a digest, and whether it is known */

/* A file in stock.  Belongs to its model. */
struct wfs_stock_file {
	uint8_t id[WFS_WIRE_ID_BYTES];
	uint32_t entry; /* in the listing of the source */
	struct wfs_region *region;
	struct wfs_page *page; /* wfs_stock_page */
	bool page_tried;
	uint8_t (*sent)[WFS_SENT_BYTES]; /* wfs_stock_note_chunk, or NULL */
	atomic_bool only_taken;		 /* it cannot be sent directly */
};

struct wfs_stock_model {
	struct wfs_model *model;
	struct wfs_stock *stock;
	char version[17];
	struct wfs_stock_file *files; /* in the order of the listing */
	uint32_t count;
	bool listed;		     /* guarded by the stock's lock */
	atomic_ullong last_used;     /* CLOCK_MONOTONIC, ns */
	pthread_mutex_t lock;	     /* guards the pages */
	struct wfs_digest_tree tree; /* wfs_stock_tree */
	pthread_mutex_t tree_lock;   /* held while it is read */
	bool tree_tried;
	atomic_uint refs;
};

int wfs_stock_new(const struct wfs_stock_config *config,
		  struct wfs_stock **ret_stock);
/* All models must have been put.  NULL is fine. */
void wfs_stock_free(struct wfs_stock *stock);

/* Looks at the registry.  Cheap when nothing changed; call every second. */
void wfs_stock_refresh(struct wfs_stock *stock);

/* What the list says of a socket for this host; before anybody asks. */
void wfs_stock_set_socket(struct wfs_stock *stock, const char *path);

/* What it says of RDMA; before anybody asks. */
void wfs_stock_set_rdma(struct wfs_stock *stock);

/* The regions of what is listed; *ret_regions is freed by the caller. */
size_t wfs_stock_regions(struct wfs_stock *stock,
			 struct wfs_wire_region **ret_regions);

/* The list of models as JSON, and its tag (17 bytes). */
void wfs_stock_list(struct wfs_stock *stock, struct wfs_text *ret_text,
		    char *ret_etag);
void wfs_stock_etag(struct wfs_stock *stock, char *ret_etag);

/* A listed model, counted, or NULL. */
struct wfs_stock_model *wfs_stock_find(struct wfs_stock *stock,
				       const char *name);
void wfs_stock_put(struct wfs_stock_model *model); /* NULL is fine */

/*
 * The file behind a region's id, and its model, counted.  -ENOENT; -ESTALE
 * when it was there once, or was rewritten.
 */
int wfs_stock_region(struct wfs_stock *stock, const uint8_t *id,
		     struct wfs_stock_model **ret_model,
		     struct wfs_stock_file **ret_file);

/*
 * The digests of a file, or NULL: there is no book, or neither a descriptor
 * nor memory of this process.
 */
struct wfs_page *wfs_stock_page(struct wfs_stock_model *model,
				struct wfs_stock_file *file);

/*
 * What is known of its digests: from those that it came by, or from its page;
 * false: nothing, yet.
 */
bool wfs_stock_digests(struct wfs_stock_model *model,
		       struct wfs_stock_file *file,
		       enum wfs_digest_algorithm algorithm,
		       struct wfs_known_digests *ret);

/* As wfs_seed_descriptor. */
int wfs_stock_lend(const struct wfs_stock_model *model,
		   const struct wfs_stock_file *file);

/*
 * What the digest manifest among the model's files says of them; empty when
 * there is none that can be read.
 */
const struct wfs_digest_tree *wfs_stock_tree(struct wfs_stock_model *model);

/* Bytes that can be sent now, of all; is this range among them? */
uint64_t wfs_stock_held(const struct wfs_stock_model *model,
			const struct wfs_stock_file *file);
bool wfs_stock_holds(const struct wfs_stock_model *model,
		     const struct wfs_stock_file *file, uint64_t off,
		     uint64_t len);
/*
 * As struct wfs_holder's `take`, after a check that the region is what it
 * was.  The range, not empty, lies within the region.
 */
int wfs_stock_take(const struct wfs_stock_model *model,
		   const struct wfs_stock_file *file, uint64_t off, size_t len,
		   struct wfs_stretch *ret_stretch);
/* The same by struct wfs_holder's `direct`; -ENOTSUP where there is none. */
int wfs_stock_direct(const struct wfs_stock_model *model,
		     const struct wfs_stock_file *file, uint64_t off,
		     size_t len, struct wfs_stretch *ret_stretch);

/*
 * The XXH3-128 of a chunk, if it is known: from those that the region came by,
 * from its page, or from when it was sent before.
 */
bool wfs_stock_chunk(struct wfs_stock_model *model, struct wfs_stock_file *file,
		     uint64_t index, uint8_t *ret_digest);
/* What was computed of a chunk that was taken. */
void wfs_stock_note_chunk(struct wfs_stock_model *model,
			  struct wfs_stock_file *file, uint64_t index,
			  const uint8_t *digest);

/* All of it into `buf`: 0 or -errno, -EIO also where the file ends early. */
int wfs_stretch_read(const struct wfs_stretch *stretch, void *buf);
void wfs_stretch_release(struct wfs_stretch *stretch);

/*
 * Grows whenever the list, a version or a root digest changed.  `await`
 * returns it when it is not `seen` any more, or after `timeout_ns`, or once
 * wfs_stock_wake was called.
 */
uint64_t wfs_stock_generation(struct wfs_stock *stock);
uint64_t wfs_stock_await(struct wfs_stock *stock, uint64_t seen,
			 uint64_t timeout_ns);
void wfs_stock_wake(struct wfs_stock *stock); /* for good */

#endif
