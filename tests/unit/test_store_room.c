/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: room while others are allocating theirs.  The allocation of a
 * file can be made to hang halfway, as it takes its time on a machine whose
 * memory was never touched.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/store_fixture.h"

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool hangs;	  /* the next that is large does */
	unsigned hanging; /* halfway */
} halfway = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0 };

static void hang(void)
{
	pthread_mutex_lock(&halfway.lock);
	halfway.hanging++;
	pthread_cond_broadcast(&halfway.changed);
	while (halfway.hangs)
		pthread_cond_wait(&halfway.changed, &halfway.lock);
	halfway.hanging--;
	pthread_mutex_unlock(&halfway.lock);
}

static bool shall_hang(off_t len)
{
	bool shall;

	pthread_mutex_lock(&halfway.lock);
	shall = halfway.hangs && len >= (off_t)(8 * MIB);
	pthread_mutex_unlock(&halfway.lock);
	return shall;
}

/* In the place of the C library's: all but the last MiB, then that. */
int fallocate(int fd, int mode, off_t offset, off_t len)
{
	off_t most = len - (off_t)MIB;

	if (shall_hang(len)) {
		if (syscall(SYS_fallocate, fd, mode, offset, most))
			return -1;
		hang();
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

static void *go_on(void *ctx)
{
	struct bench *b = ctx;
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct wfs_store_stats stats;

	/* Whoever has no room by now has been refused, or waits. */
	for (int i = 0; i < 200; i++) {
		wfs_store_stats(b->store, &stats);
		if (stats.refused)
			break;
		nanosleep(&pause, NULL);
	}
	pthread_mutex_lock(&halfway.lock);
	halfway.hangs = false;
	pthread_cond_broadcast(&halfway.changed);
	pthread_mutex_unlock(&halfway.lock);
	return NULL;
}

static void what_others_allocate_is_not_counted_twice(void **state)
{
	struct sleeper sleeper;
	struct slice slice;
	uint64_t wait_ns;
	pthread_t thread;
	struct bench b;

	(void)state;
	bench_open(&b, 24 * MIB, 64 * MIB);
	halfway.hangs = true;
	slice_init(&slice, b.src, 0, 12 * MIB);
	assert_int_equal(bench_start(&b, 1, &slice, &sleeper, &wait_ns),
			 -EINPROGRESS);
	pthread_mutex_lock(&halfway.lock);
	while (!halfway.hanging)
		pthread_cond_wait(&halfway.changed, &halfway.lock);
	pthread_mutex_unlock(&halfway.lock);
	assert_int_equal(pthread_create(&thread, NULL, go_on, &b), 0);
	bench_acquire_right(&b, 2, 16 * MIB, 6 * MIB);
	pthread_join(thread, NULL);
	assert_true(sleeper_wait(&sleeper) > 0);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_others_allocate_is_not_counted_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
