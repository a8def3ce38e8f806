/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's fixture: see the header.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tests/unit/store_fixture.h"

#define BLOCK 4096u

/*
 * The block of bytes with this number.  Not for the thread sanitizer, which
 * sees them in the one copy below.
 */
__attribute__((no_sanitize_thread)) static void
block_fill(uint64_t words[BLOCK / 8], uint64_t number)
{
	for (uint64_t i = 0; i < BLOCK / 8; i++) {
		uint64_t w = (number * (BLOCK / 8) + i) * 0x9e3779b97f4a7c15ull;

		words[i] = w ^ w >> 29;
	}
}

void pattern_fill(void *buf, size_t len, uint64_t off)
{
	uint64_t words[BLOCK / 8];
	uint8_t *to = buf;

	while (len) {
		size_t skip = off % BLOCK;
		size_t n = len < BLOCK - skip ? len : BLOCK - skip;

		block_fill(words, off / BLOCK);
		memcpy(to, (uint8_t *)words + skip, n);
		to += n;
		off += n;
		len -= n;
	}
}

int64_t pattern_check(const void *buf, size_t len, uint64_t off)
{
	const uint8_t *bytes = buf;
	uint8_t want[BLOCK];
	size_t done = 0;

	while (done < len) {
		size_t n = len - done < BLOCK ? len - done : BLOCK;

		pattern_fill(want, n, off + done);
		for (size_t i = 0; memcmp(bytes + done, want, n) && i < n; i++)
			if (bytes[done + i] != want[i])
				return (int64_t)(done + i);
		done += n;
	}
	return -1;
}

static struct gated_source *of(struct wfs_source *src)
{
	return (struct gated_source *)src;
}

static const struct wfs_source_entry *gated_list(struct wfs_source *src,
						 size_t *ret_count)
{
	*ret_count = 1;
	return &of(src)->entry;
}

static int gated_read(struct wfs_region *region, void *buf, size_t len,
		      uint64_t off)
{
	struct gated_source *src = of(region->source);
	int rc;

	atomic_fetch_add(&src->reads, 1);
	pthread_mutex_lock(&src->lock);
	if (off + len > src->gate) {
		src->hanging++;
		pthread_cond_broadcast(&src->changed);
		while (off + len > src->gate)
			pthread_cond_wait(&src->changed, &src->lock);
		src->hanging--;
	}
	pthread_mutex_unlock(&src->lock);
	rc = atomic_load(&src->fail_read);
	if (!rc)
		pattern_fill(buf, len, off);
	return rc;
}

static int gated_descriptor(struct wfs_region *region)
{
	return of(region->source)->near ? STDIN_FILENO : -ENOTSUP;
}

static int gated_check(struct wfs_region *region)
{
	return atomic_load(&of(region->source)->fail_check);
}

static void gated_close(struct wfs_source *src)
{
	pthread_mutex_destroy(&of(src)->lock);
	pthread_cond_destroy(&of(src)->changed);
	free(src);
}

static const struct wfs_source_ops gated_ops = {
	.name = "gated",
	.list = gated_list,
	.read = gated_read,
	.descriptor = gated_descriptor,
	.check = gated_check,
	.close = gated_close,
};

struct gated_source *gated_source_new(uint64_t size)
{
	struct gated_source *src = wfs_calloc(1, sizeof(*src));

	wfs_source_init(&src->base, &gated_ops, "gated");
	src->region.source = &src->base;
	src->region.path = "bytes";
	src->region.size = size;
	src->entry.path = "bytes";
	src->entry.region = &src->region;
	src->entry.st.st_mode = S_IFREG | 0444;
	src->entry.st.st_size = (off_t)size;
	src->gate = GATE_OPEN;
	pthread_mutex_init(&src->lock, NULL);
	pthread_cond_init(&src->changed, NULL);
	return src;
}

void gated_source_gate(struct gated_source *src, uint64_t off)
{
	pthread_mutex_lock(&src->lock);
	src->gate = off;
	pthread_cond_broadcast(&src->changed);
	pthread_mutex_unlock(&src->lock);
}

static struct timespec deadline(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += DEADLINE_S;
	return ts;
}

void gated_source_await(struct gated_source *src, unsigned n)
{
	struct timespec ts = deadline();

	pthread_mutex_lock(&src->lock);
	while (src->hanging < n)
		assert_int_equal(pthread_cond_timedwait(&src->changed,
							&src->lock, &ts),
				 0);
	pthread_mutex_unlock(&src->lock);
}

void slice_init(struct slice *slice, struct gated_source *src, uint64_t off,
		uint64_t size)
{
	slice->piece = (struct wfs_piece){ .kind = WFS_PIECE_REGION,
					   .region = &src->region,
					   .off = off,
					   .run = size,
					   .count = 1 };
	slice->recipe = (struct wfs_recipe){ .size = size,
					     .n = size ? 1 : 0,
					     .pieces = &slice->piece };
}

static int fake_expose(void *ctx, int fd)
{
	struct fake_kernel *kernel = ctx;
	int id = kernel->fail;

	pthread_mutex_lock(&kernel->lock);
	if (!id) {
		id = ++kernel->n;
		kernel->fds = wfs_realloc(kernel->fds,
					  ((size_t)id + 1) * sizeof(int));
		/* The same open file, as a backing id has it. */
		kernel->fds[id] = kernel->bare ? -1 : dup(fd);
		kernel->exposed++;
	}
	pthread_mutex_unlock(&kernel->lock);
	return id;
}

static void fake_unexpose(void *ctx, int id)
{
	struct fake_kernel *kernel = ctx;

	pthread_mutex_lock(&kernel->lock);
	if (kernel->fds[id] >= 0)
		close(kernel->fds[id]);
	kernel->fds[id] = -1;
	kernel->unexposed++;
	pthread_mutex_unlock(&kernel->lock);
}

struct wfs_exposer fake_kernel_init(struct fake_kernel *kernel)
{
	*kernel = (struct fake_kernel){ 0 };
	pthread_mutex_init(&kernel->lock, NULL);
	return (struct wfs_exposer){ kernel, fake_expose, fake_unexpose };
}

void fake_kernel_free(struct fake_kernel *kernel)
{
	free(kernel->fds);
	pthread_mutex_destroy(&kernel->lock);
}

unsigned fake_kernel_live(struct fake_kernel *kernel)
{
	unsigned live;

	pthread_mutex_lock(&kernel->lock);
	live = kernel->exposed - kernel->unexposed;
	pthread_mutex_unlock(&kernel->lock);
	return live;
}

int fake_kernel_open(struct fake_kernel *kernel, int id)
{
	char path[64];
	int fd;

	pthread_mutex_lock(&kernel->lock);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", kernel->fds[id]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	pthread_mutex_unlock(&kernel->lock);
	return fd;
}

/* One pair for all sleepers: there are few. */
static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t sleep_over = PTHREAD_COND_INITIALIZER;

static void sleeper_done(struct wfs_waiter *waiter, int result)
{
	struct sleeper *sleeper = (struct sleeper *)waiter;
	void (*then)(struct sleeper *) = sleeper->then;

	pthread_mutex_lock(&sleep_lock);
	sleeper->result = result;
	sleeper->calls++;
	pthread_cond_broadcast(&sleep_over);
	pthread_mutex_unlock(&sleep_lock);
	if (then)
		then(sleeper);
}

void sleeper_init(struct sleeper *sleeper)
{
	*sleeper = (struct sleeper){ .waiter.done = sleeper_done };
}

int sleeper_wait(struct sleeper *sleeper)
{
	struct timespec ts = deadline();
	int rc = 0, result;

	pthread_mutex_lock(&sleep_lock);
	while (!sleeper->calls && !rc)
		rc = pthread_cond_timedwait(&sleep_over, &sleep_lock, &ts);
	result = sleeper->result;
	pthread_mutex_unlock(&sleep_lock);
	assert_int_equal(rc, 0);
	return result;
}

int sleeper_calls(struct sleeper *sleeper)
{
	int calls;

	pthread_mutex_lock(&sleep_lock);
	calls = sleeper->calls;
	pthread_mutex_unlock(&sleep_lock);
	return calls;
}

void eventually(bool (*test)(void *ctx), void *ctx, const char *what)
{
	uint64_t end = wfs_now_ns() + DEADLINE_S * 1000000000ull;
	struct timespec nap = { .tv_nsec = 2000000 };

	while (!test(ctx)) {
		if (wfs_now_ns() > end)
			fail_msg("never: %s", what);
		nanosleep(&nap, NULL);
	}
}

void bench_open_config(struct bench *b, const struct wfs_store_config *config,
		       uint64_t source)
{
	struct wfs_err err = { 0 };
	int rc = wfs_store_open(config, &b->store, &err);

	if (rc == -EPERM || rc == -ENOSYS) {
		print_message("skipped: %s\n", err.text);
		skip();
	}
	if (rc)
		fail_msg("%s", err.text);
	wfs_store_attach(b->store, fake_kernel_init(&b->kernel));
	b->src = gated_source_new(source);
}

void bench_open(struct bench *b, uint64_t arena, uint64_t source)
{
	const struct wfs_store_config config = { .arena_size = arena,
						 .hydrators = 2 };

	bench_open_config(b, &config, source);
}

void bench_close(struct bench *b)
{
	wfs_store_close(b->store);
	assert_int_equal(fake_kernel_live(&b->kernel), 0);
	fake_kernel_free(&b->kernel);
	assert_int_equal(atomic_load(&b->src->base.refs), 1);
	wfs_source_put(&b->src->base);
}

int bench_start(struct bench *b, uint64_t key, const struct slice *slice,
		struct sleeper *sleeper, uint64_t *ret_wait_ns)
{
	sleeper_init(sleeper);
	return wfs_store_acquire(b->store, key, &slice->recipe,
				 &sleeper->waiter, ret_wait_ns);
}

int bench_acquire(struct bench *b, uint64_t key, uint64_t off, uint64_t size)
{
	struct sleeper sleeper;
	struct slice slice;
	uint64_t wait_ns;
	int rc;

	slice_init(&slice, b->src, off, size);
	rc = bench_start(b, key, &slice, &sleeper, &wait_ns);
	return rc == -EINPROGRESS ? sleeper_wait(&sleeper) : rc;
}

int bench_acquire_right(struct bench *b, uint64_t key, uint64_t off,
			uint64_t size)
{
	int id = bench_acquire(b, key, off, size);
	struct stat st;
	void *map;
	int fd;

	if (id <= 0)
		fail_msg("cannot acquire %llu: %s", (unsigned long long)key,
			 strerror(-id));
	fd = fake_kernel_open(&b->kernel, id);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, size);
	assert_int_equal(st.st_blocks * 512, (size + 4095) / 4096 * 4096);
	if (size) {
		map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
		assert_true(map != MAP_FAILED);
		assert_int_equal(pattern_check(map, size, off), -1);
		munmap(map, size);
	}
	close(fd);
	return id;
}

uint64_t bench_used(struct bench *b)
{
	struct wfs_store_stats stats;

	wfs_store_stats(b->store, &stats);
	return stats.arena_used;
}
