/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store's tests share: a source whose bytes are computed and that
 * can be made to hang or fail, somebody who waits, and an exposer that does
 * what the kernel does with a backing file, short of FUSE.
 */
#ifndef WFS_TESTS_UNIT_STORE_FIXTURE_H
#define WFS_TESTS_UNIT_STORE_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/store/store.h"

#define DEADLINE_S 120
#define MIB	   (1024ull * 1024)

/* Bytes are a function of the offset: `len` of them from `off` on. */
void pattern_fill(void *buf, size_t len, uint64_t off);
/* -1 if all are right, else the first offset that is not. */
int64_t pattern_check(const void *buf, size_t len, uint64_t off);

struct gated_source {
	struct wfs_source base;
	struct wfs_region region;
	struct wfs_source_entry entry;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t gate;	  /* reads that reach this offset hang */
	unsigned hanging; /* reads that do */
	atomic_int fail_read, fail_check; /* negative errno, or 0 */
	atomic_ulong reads;
	bool near; /* its region says that it has a descriptor */
};

#define GATE_OPEN UINT64_MAX

struct gated_source *gated_source_new(uint64_t size);
/* Reads that touch bytes at or after `off` hang until it is moved. */
void gated_source_gate(struct gated_source *src, uint64_t off);
/* Returns once `n` reads hang. */
void gated_source_await(struct gated_source *src, unsigned n);

/* A recipe of one slice, on the stack of a test. */
struct slice {
	struct wfs_piece piece;
	struct wfs_recipe recipe;
};

void slice_init(struct slice *slice, struct gated_source *src, uint64_t off,
		uint64_t size);

/* Backing ids as the kernel's; an id's file stays open until it is closed. */
struct fake_kernel {
	pthread_mutex_t lock;
	int *fds; /* by id; -1 */
	int n;
	unsigned exposed, unexposed;
	int fail;  /* what expose returns, if not 0 */
	bool bare; /* keeps no descriptors of its own */
};

struct wfs_exposer fake_kernel_init(struct fake_kernel *kernel);
void fake_kernel_free(struct fake_kernel *kernel);
unsigned fake_kernel_live(struct fake_kernel *kernel);
/* As a passthrough open: a new read-only descriptor of the backing file. */
int fake_kernel_open(struct fake_kernel *kernel, int id);

struct sleeper {
	struct wfs_waiter waiter; /* first */
	int result, calls;
	void (*then)(struct sleeper *sleeper); /* called by done, or NULL */
};

void sleeper_init(struct sleeper *sleeper);
/* Waits until done was called; its result. */
int sleeper_wait(struct sleeper *sleeper);
int sleeper_calls(struct sleeper *sleeper);

/* Polls until it is true; fails the test after DEADLINE_S. */
void eventually(bool (*test)(void *ctx), void *ctx, const char *what);

struct bench {
	struct wfs_store *store;
	struct fake_kernel kernel;
	struct gated_source *src;
};

/*
 * A store with an arena of `arena` bytes, attached, and a source of
 * `source` bytes.  Skips the test, saying why, where there can be no arena.
 */
void bench_open(struct bench *b, uint64_t arena, uint64_t source);
void bench_open_config(struct bench *b, const struct wfs_store_config *config,
		       uint64_t source);
void bench_close(struct bench *b);

/* wfs_store_acquire with a sleeper that is made ready first. */
int bench_start(struct bench *b, uint64_t key, const struct slice *slice,
		struct sleeper *sleeper, uint64_t *ret_wait_ns);
/*
 * Acquires the object, waiting if need be.  Its bytes are those of the source
 * from `off` on.
 */
int bench_acquire(struct bench *b, uint64_t key, uint64_t off, uint64_t size);
/* bench_acquire, compared byte by byte; returns the id (> 0). */
int bench_acquire_right(struct bench *b, uint64_t key, uint64_t off,
			uint64_t size);
uint64_t bench_used(struct bench *b);

#endif
