/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs copied out of mapped files: the right bytes, and an error where a file
 * was cut short, before it was mapped or under the copy.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/guard.h"
#include "core/base/text.h"
#include "core/plan/recipe.h"
#include "core/plan/mapped.h"
#include "core/store/arena.h"
#include "core/store/chunks.h"
#include "tests/unit/chance.h"
#include "tests/unit/memory_source.h"

#define BYTES  (6u << 20)
#define ROUNDS 60
#define CUTS   40

static unsigned char bytes[BYTES];

static int fill_bytes(void **state)
{
	struct chance c = { 1 };

	(void)state;
	for (size_t i = 0; i < BYTES; i += 8) {
		uint64_t x = chance_next(&c);

		memcpy(bytes + i, &x, 8);
	}
	return 0;
}

/* A file of all bytes, which lies in memory. */
static int make_file(void)
{
	int fd = memfd_create("mapped", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(wfs_pwrite_all(fd, bytes, BYTES, 0), 0);
	return fd;
}

static struct memory_source *source_of(int fd)
{
	struct memory_source *m = memory_source_new(bytes, BYTES);

	m->fd = fd;
	return m;
}

static uint64_t size_of(const struct wfs_piece *p)
{
	return p->run * p->count;
}

/* Runs and gaps of any length around the bounds of what is mapped. */
static struct wfs_piece any_piece(struct chance *c, struct wfs_region *region)
{
	struct wfs_piece p = { .kind = WFS_PIECE_REGION, .region = region };

	p.run = 1 + chance_below(c, chance_below(c, 2) ? 300 : 20000);
	p.stride = p.run + chance_below(c, 9000);
	p.count = 1 + chance_below(c, BYTES / p.stride);
	p.off = chance_below(c, BYTES - (p.count - 1) * p.stride - p.run + 1);
	p.around = (uint8_t)chance_below(c, 3);
	return p;
}

static void expect_bytes(const struct wfs_piece *p, const char *got,
			 uint64_t lo, uint64_t len)
{
	for (uint64_t i = lo; i < lo + len;) {
		uint64_t at = i % p->run, n = p->run - at;

		if (n > lo + len - i)
			n = lo + len - i;
		assert_memory_equal(
			got + (i - lo),
			bytes + p->off + i / p->run * p->stride + at, n);
		i += n;
	}
}

static void expect_any_runs(struct wfs_chunks *chunks)
{
	struct chance c = chance_new();
	int fd = make_file();
	struct memory_source *m = source_of(fd);
	char *got wfs_autofree = wfs_malloc(BYTES);

	m->base.chunks = chunks;
	for (int i = 0; i < ROUNDS; i++) {
		struct wfs_piece p = any_piece(&c, &m->region);
		struct wfs_recipe r = { .size = size_of(&p),
					.n = 1,
					.pieces = &p };
		uint64_t lo = chance_below(&c, r.size);
		uint64_t len = 1 + chance_below(&c, r.size - lo);

		assert_int_equal(wfs_recipe_read(&r, got, len, lo), len);
		expect_bytes(&p, got, lo, len);
	}
	wfs_chunks_close(chunks);
	assert_int_equal(m->base.refs, 1);
	wfs_source_put(&m->base);
	close(fd);
}

static void runs_are_those_of_the_file(void **state)
{
	(void)state;
	expect_any_runs(NULL);
}

static void runs_out_of_what_stays_mapped_are_those_of_the_file(void **state)
{
	const struct wfs_chunks_config config = { .bytes = 4 << 20 };
	struct wfs_chunks *chunks;
	struct wfs_err err;

	(void)state;
	assert_int_equal(wfs_chunks_open(&config, &chunks, &err), 0);
	expect_any_runs(chunks);
}

/* 512 runs of 2 KiB in every 8. */
static struct wfs_nest rows(uint64_t off)
{
	return (struct wfs_nest){ .off = off,
				  .run = 2048,
				  .n = 1,
				  .loops = { { 512, 8192, 2048 } } };
}

static void what_is_copied_is_counted_and_nothing_is_read(void **state)
{
	struct wfs_nest nest = rows(4096 + 2048);
	char *got wfs_autofree = wfs_malloc(512 * 2048);
	int fd = make_file();
	struct memory_source *m = source_of(fd);

	(void)state;
	assert_int_equal(wfs_gather_mapped(&m->region, &nest, got), 0);
	assert_int_equal(m->reads, 0);
	assert_int_equal(m->base.bytes_read, 512 * 2048);
	wfs_source_put(&m->base);
	close(fd);
}

static void what_a_mapping_does_not_suit_is_left_to_reads(void **state)
{
	struct memory_source *m = source_of(0);
	struct wfs_nest nest = rows(0);
	char to[1];

	(void)state;
	assert_int_equal(wfs_gather_mapped(&m->region, &nest, to), -ENOTSUP);
	m->fd = make_file();
	nest.run = 100000;
	nest.loops[0].stride = 200000;
	assert_int_equal(wfs_gather_mapped(&m->region, &nest, to), -ENOTSUP);
	nest = rows(0);
	nest.loops[0].count = 2;
	assert_int_equal(wfs_gather_mapped(&m->region, &nest, to), -ENOTSUP);
	nest.n = 0;
	assert_int_equal(wfs_gather_mapped(&m->region, &nest, to), -ENOTSUP);
	close(m->fd);
	wfs_source_put(&m->base);
}

/*
 * The test library handles SIGBUS itself, anew for each test; so what faults
 * runs in a child, whose first guard is its own.  No assertions in there.
 */
static void passes_in_a_child(bool (*run)(struct chance *c))
{
	struct chance c = chance_new();
	pid_t child = fork();
	int status;

	if (!child) {
		signal(SIGBUS, SIG_DFL);
		_exit(run(&c) ? 0 : 1);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static bool cut_anywhere(struct chance *c)
{
	char *got wfs_autofree = wfs_malloc(512 * 2048);
	struct wfs_nest nest = rows(0);
	uint64_t end = 511 * 8192 + 2048;
	bool ok = true;

	for (int i = 0; i < CUTS && ok; i++) {
		int fd = make_file();
		struct memory_source *m = source_of(fd);
		/* Half of them within the last page, which does not fault. */
		uint64_t cut = i % 2 ? end - 1 - chance_below(c, 2047) :
				       chance_below(c, end);

		ok = ftruncate(fd, (off_t)cut) == 0 &&
		     wfs_gather_mapped(&m->region, &nest, got) == -EIO &&
		     ftruncate(fd, (off_t)end) == 0 &&
		     wfs_gather_mapped(&m->region, &nest, got) == 0;
		wfs_source_put(&m->base);
		close(fd);
	}
	return ok;
}

static void a_file_cut_short_anywhere_is_an_error(void **state)
{
	(void)state;
	passes_in_a_child(cut_anywhere);
}

/* Cuts and restores a file until it is told to stop. */
struct cutter {
	int fd;
	struct chance *chance;
	atomic_bool stop;
};

static void *cut_and_restore(void *arg)
{
	struct cutter *cutter = arg;

	while (!atomic_load(&cutter->stop)) {
		uint64_t cut = chance_below(cutter->chance, BYTES);

		if (ftruncate(cutter->fd, (off_t)cut) ||
		    wfs_pwrite_all(cutter->fd, bytes + cut,
				   (size_t)(BYTES - cut), cut))
			abort();
	}
	return NULL;
}

/* Reads while the file is cut; NULL: something else came of it. */
static void *read_on(void *arg)
{
	struct wfs_piece p = { .kind = WFS_PIECE_REGION,
			       .region = arg,
			       .run = 2048,
			       .stride = 8192,
			       .count = 512 };
	struct wfs_recipe r = { .size = size_of(&p), .n = 1, .pieces = &p };
	char *got wfs_autofree = wfs_malloc(r.size);

	for (int i = 0; i < CUTS; i++) {
		ssize_t n = wfs_recipe_read(&r, got, r.size, 0);

		if (n != (ssize_t)r.size && n != -EIO)
			return NULL;
	}
	return arg;
}

static bool cut_under_the_copy(struct chance *c)
{
	struct cutter cutter = { .fd = make_file(), .chance = c };
	struct memory_source *m = source_of(cutter.fd);
	pthread_t writer, readers[2];
	bool ok = true;

	m->fail_read = -EIO;
	pthread_create(&writer, NULL, cut_and_restore, &cutter);
	for (int i = 0; i < 2; i++)
		pthread_create(&readers[i], NULL, read_on, &m->region);
	for (int i = 0; i < 2; i++) {
		void *got;

		pthread_join(readers[i], &got);
		ok = ok && got;
	}
	atomic_store(&cutter.stop, true);
	pthread_join(writer, NULL);
	wfs_source_put(&m->base);
	close(cutter.fd);
	return ok;
}

static void a_file_cut_under_the_copy_ends_nobody(void **state)
{
	(void)state;
	passes_in_a_child(cut_under_the_copy);
}

static volatile sig_atomic_t others;
static sigjmp_buf out;

static void not_ours(int number)
{
	(void)number;
	others = others + 1;
	siglongjmp(out, 1);
}

static void touch(void *ctx)
{
	(void)*(const volatile char *)ctx;
}

static bool fault_elsewhere(struct chance *c)
{
	struct sigaction action = { .sa_handler = not_ours };
	int fd = memfd_create("empty", MFD_CLOEXEC);
	char *map = mmap(NULL, 2 * WFS_PAGE, PROT_READ, MAP_SHARED, fd, 0);
	sigset_t all;
	bool ok;

	(void)c;
	sigaction(SIGBUS, &action, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	ok = map != MAP_FAILED && !wfs_guarded(map, WFS_PAGE, touch, map) &&
	     others == 0;
	if (!sigsetjmp(out, 1))
		(void)wfs_guarded(map, WFS_PAGE, touch, map + WFS_PAGE);
	ok = ok && others == 1 && wfs_guarded(&fd, sizeof(fd), touch, &fd);
	if (!sigsetjmp(out, 1))
		touch(map);
	return ok && others == 2;
}

static void a_fault_elsewhere_goes_to_who_handled_it_before(void **state)
{
	(void)state;
	passes_in_a_child(fault_elsewhere);
}

static void a_fault_that_nobody_handles_ends_the_process(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	if (!child) {
		int fd = memfd_create("empty", MFD_CLOEXEC);
		char *map = mmap(NULL, WFS_PAGE, PROT_READ, MAP_SHARED, fd, 0);

		signal(SIGBUS, SIG_DFL);
		(void)wfs_guarded(&fd, sizeof(fd), touch, map);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* Before the first guard of this process. */
		T(a_fault_elsewhere_goes_to_who_handled_it_before),
		T(a_fault_that_nobody_handles_ends_the_process),
		T(a_file_cut_short_anywhere_is_an_error),
		T(a_file_cut_under_the_copy_ends_nobody),
		T(runs_are_those_of_the_file),
		T(runs_out_of_what_stays_mapped_are_those_of_the_file),
		T(what_is_copied_is_counted_and_nothing_is_read),
		T(what_a_mapping_does_not_suit_is_left_to_reads),
	};

	return cmocka_run_group_tests(tests, fill_bytes, NULL);
}
