/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store under many threads that acquire, map, release, evict, cancel,
 * prefetch and read at random, in an arena that holds a quarter of it all,
 * with a source that fails now and then.  Every byte seen is compared.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/store/inner.h"
#include "tests/unit/chance.h"
#include "tests/unit/store_fixture.h"

#define THREADS 6
#define KEYS	48
#define SLOT	(4 * MIB)
#define MAPS	4
/* The thread sanitizer takes twenty times as long. */
#ifdef __SANITIZE_THREAD__
#define OPS 500
#else
#define OPS 3000
#endif

struct held {
	uint8_t *map;
	uint64_t key;
};

struct actor {
	struct bench *b;
	struct chance chance;
	struct held held[MAPS];
	unsigned acquired, refused, failed;
};

static uint64_t size_of(uint64_t key)
{
	static const uint64_t sizes[] = { 4096,	   100,		70000,
					  MIB + 1, 2 * MIB + 9, 3 * MIB };

	return sizes[key % 6];
}

/* cmocka's asserts belong to the main thread. */
static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "store_stress: %s\n", what);
	abort();
}

static void let_go(struct held *held)
{
	if (!held->map)
		return;
	must(pattern_check(held->map, size_of(held->key), held->key * SLOT) ==
		     -1,
	     "wrong bytes in a map");
	munmap(held->map, size_of(held->key));
	held->map = NULL;
}

static void hold(struct actor *a, uint64_t key, int id)
{
	struct held *held = &a->held[chance_below(&a->chance, MAPS)];
	int fd = fake_kernel_open(&a->b->kernel, id);

	must(fd >= 0, "cannot open a backing file that is acquired");
	let_go(held);
	held->key = key;
	held->map = mmap(NULL, size_of(key), PROT_READ, MAP_SHARED, fd, 0);
	must(held->map != MAP_FAILED, "cannot map");
	close(fd);
}

static void use(struct actor *a, uint64_t key, bool wait)
{
	struct sleeper sleeper;
	struct slice slice;
	uint64_t wait_ns;
	int rc;

	slice_init(&slice, a->b->src, key * SLOT, size_of(key));
	rc = bench_start(a->b, key, &slice, &sleeper, &wait_ns);
	if (rc == -EINPROGRESS) {
		if (!wait && wfs_store_cancel(a->b->store, &sleeper.waiter))
			return;
		rc = sleeper_wait(&sleeper);
	}
	must(rc > 0 || rc == -ENOSPC || rc == -EIO, "no such result");
	a->acquired += rc > 0;
	a->refused += rc == -ENOSPC;
	a->failed += rc == -EIO;
	if (rc <= 0)
		return;
	if (chance_below(&a->chance, 2))
		hold(a, key, rc);
	wfs_store_release(a->b->store, key);
}

static void read_some(struct actor *a, uint64_t key)
{
	uint8_t buf[9000];
	uint64_t off = chance_below(&a->chance, size_of(key));
	struct slice slice;
	ssize_t n;

	slice_init(&slice, a->b->src, key * SLOT, size_of(key));
	n = wfs_store_read(a->b->store, key, &slice.recipe, buf, sizeof(buf),
			   off);
	if (n == -EIO)
		return;
	must(n > 0 && (n == sizeof(buf) || off + (uint64_t)n == size_of(key)),
	     "a short read");
	must(pattern_check(buf, (size_t)n, key * SLOT + off) == -1,
	     "wrong bytes in a read");
}

static void act(struct actor *a)
{
	uint64_t key = chance_below(&a->chance, KEYS);
	uint64_t what = chance_below(&a->chance, 100);
	struct wfs_residency res;
	struct slice slice;

	slice_init(&slice, a->b->src, key * SLOT, size_of(key));
	if (what < 60)
		use(a, key, true);
	else if (what < 70)
		use(a, key, false);
	else if (what < 80)
		wfs_store_prefetch(a->b->store, key, &slice.recipe);
	else if (what < 90)
		read_some(a, key);
	else if (what < 93)
		let_go(&a->held[chance_below(&a->chance, MAPS)]);
	else if (what < 95)
		wfs_store_evict(a->b->store, 7, key & 7, false);
	else if (what < 97)
		wfs_store_evict(a->b->store, ~0ull, key, true);
	else if (what < 99)
		wfs_store_residency(a->b->store, key, &res);
	else
		atomic_store(&a->b->src->fail_read,
			     chance_below(&a->chance, 4) ? 0 : -EIO);
}

static void *actor_thread(void *ctx)
{
	struct actor *a = ctx;

	for (unsigned i = 0; i < OPS; i++)
		act(a);
	for (unsigned i = 0; i < MAPS; i++)
		let_go(&a->held[i]);
	return NULL;
}

/* Hydrations whose waiter was cancelled go on, so wait for them, too. */
static bool empty(void *ctx)
{
	struct bench *b = ctx;
	struct wfs_store_stats stats;
	bool busy;

	wfs_store_evict(b->store, 0, 0, true);
	pthread_mutex_lock(&b->store->lock);
	busy = b->store->running || b->store->table.n;
	pthread_mutex_unlock(&b->store->lock);
	wfs_store_stats(b->store, &stats);
	return !busy && !stats.resident_files && !stats.pinned_files &&
	       !stats.arena_used;
}

static void check_books(struct wfs_store *store)
{
	const struct wfs_crew *near = &store->crews[WFS_CREW_NEAR];

	pthread_mutex_lock(&store->lock);
	assert_int_equal(near->work_queued, near->work_done);
	assert_int_equal(store->reserved, 0);
	assert_int_equal(store->files, 0);
	assert_int_equal(store->used_files, 0);
	assert_int_equal(store->table.n, 0);
	assert_int_equal(near->prefetching, 0);
	assert_int_equal(near->rate.copiers, 0);
	assert_int_equal(store->resident_bytes, 0);
	assert_int_equal(store->hydrated_bytes, store->evicted_bytes);
	assert_int_equal(store->budget.pending, 0);
	pthread_mutex_unlock(&store->lock);
}

static void every_byte_is_right_and_the_books_balance(void **state)
{
	const struct wfs_store_config config = { .arena_size = 24 * MIB,
						 .hydrators = 3,
						 .digests = true };
	struct actor actors[THREADS] = { 0 };
	struct chance chance = chance_new();
	pthread_t threads[THREADS];
	unsigned acquired = 0;
	struct bench b;

	(void)state;
	bench_open_config(&b, &config, KEYS * SLOT);
	for (unsigned i = 0; i < THREADS; i++) {
		actors[i].b = &b;
		actors[i].chance.state = chance_next(&chance);
		assert_int_equal(pthread_create(&threads[i], NULL, actor_thread,
						&actors[i]),
				 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		acquired += actors[i].acquired;
	}
	assert_true(acquired > OPS / 2);
	atomic_store(&b.src->fail_read, 0);
	eventually(empty, &b, "all is gone when nobody uses it");
	check_books(b.store);
	assert_int_equal(fake_kernel_live(&b.kernel), 0);
	bench_close(&b);
}

static void *opener_thread(void *ctx)
{
	struct actor *a = ctx;

	for (unsigned i = 0; i < OPS; i++) {
		uint64_t key = chance_below(&a->chance, KEYS);
		int rc = bench_acquire(a->b, key, key * SLOT, size_of(key));

		if (rc > 0)
			wfs_store_release(a->b->store, key);
		else
			must(rc == -ESHUTDOWN || rc == -ENOSPC,
			     "no such result");
	}
	return NULL;
}

static void detach_amid_opens_calls_everybody_once(void **state)
{
	const struct wfs_store_config config = { .arena_size = 24 * MIB,
						 .hydrators = 3,
						 .digests = true };
	struct actor actors[THREADS] = { 0 };
	struct chance chance = chance_new();
	pthread_t threads[THREADS];
	struct wfs_exposer exposer;
	struct bench b;

	(void)state;
	bench_open_config(&b, &config, KEYS * SLOT);
	exposer = b.store->exposer;
	for (unsigned i = 0; i < THREADS; i++) {
		actors[i].b = &b;
		actors[i].chance.state = chance_next(&chance);
		assert_int_equal(pthread_create(&threads[i], NULL,
						opener_thread, &actors[i]),
				 0);
	}
	for (unsigned i = 0; i < 50; i++) {
		wfs_store_detach(b.store);
		assert_int_equal(fake_kernel_live(&b.kernel), 0);
		wfs_store_attach(b.store, exposer);
	}
	/* A thread that waits in vain hangs here. */
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_byte_is_right_and_the_books_balance),
		T(detach_amid_opens_calls_everybody_once),
	};

	return cmocka_run_group_tests_name("store_stress", tests, NULL, NULL);
}
