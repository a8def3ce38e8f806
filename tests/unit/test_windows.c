/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows: mapped once for all who come, and not for longer than they are
 * wanted.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/plan/mapped.h"
#include "core/store/chunks.h"
#include "core/store/windows.h"
#include "tests/unit/memory_source.h"

#define NAME	   "windows-of-a-test"
#define MANY	   600
#define FOREVER_NS 1000000000000000ull

/* A sparse file of so many windows and a little more. */
static struct memory_source *sparse(unsigned windows)
{
	static const unsigned char none[1];
	struct memory_source *m = memory_source_new(none, 0);

	m->fd = memfd_create(NAME, MFD_CLOEXEC);
	assert_true(m->fd >= 0);
	m->region.size = windows * WFS_WINDOW_BYTES + 5;
	assert_int_equal(ftruncate(m->fd, (off_t)m->region.size), 0);
	return m;
}

static void put_source(struct memory_source *m)
{
	assert_int_equal(m->base.refs, 1);
	close(m->fd);
	wfs_source_put(&m->base);
}

/* Mappings of such files that this process has. */
static unsigned mapped(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char *line = NULL;
	unsigned n = 0;
	size_t room = 0;

	assert_non_null(maps);
	while (getline(&line, &room, maps) >= 0)
		n += strstr(line, NAME) != NULL;
	free(line);
	fclose(maps);
	return n;
}

static void a_window_is_mapped_once(void **state)
{
	struct wfs_windows *windows = wfs_windows_new(FOREVER_NS, NULL, NULL);
	struct memory_source *m = sparse(2);
	struct wfs_window *a, *b, *c;

	(void)state;
	assert_int_equal(wfs_window_get(windows, &m->region, 7, &a), 0);
	assert_int_equal(wfs_window_get(windows, &m->region,
					WFS_WINDOW_BYTES - 1, &b),
			 0);
	assert_int_equal(wfs_window_get(windows, &m->region,
					2 * WFS_WINDOW_BYTES + 4, &c),
			 0);
	assert_ptr_equal(a, b);
	assert_int_equal(a->off, 0);
	assert_int_equal(a->len, WFS_WINDOW_BYTES + WFS_WINDOW_TAIL);
	assert_int_equal(c->len, 5);
	assert_int_equal(mapped(), 2);
	wfs_window_put(windows, a);
	wfs_window_put(windows, c);
	wfs_windows_drop(windows, NULL);
	assert_int_equal(mapped(), 1); /* somebody has it yet */
	wfs_window_put(windows, b);
	wfs_windows_free(windows);
	assert_int_equal(mapped(), 0);
	put_source(m);
}

static void windows_of_a_source_go_with_it(void **state)
{
	struct wfs_windows *windows = wfs_windows_new(FOREVER_NS, NULL, NULL);
	struct memory_source *of[2] = { sparse(1), sparse(1) };
	struct wfs_window *w;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(wfs_window_get(windows, &of[i]->region, 0, &w),
				 0);
		wfs_window_put(windows, w);
	}
	wfs_windows_drop(windows, &of[0]->base);
	assert_int_equal(mapped(), 1);
	put_source(of[0]);
	wfs_windows_free(windows);
	put_source(of[1]);
}

static void there_is_an_end_to_what_stays(void **state)
{
	struct wfs_windows *windows = wfs_windows_new(FOREVER_NS, NULL, NULL);
	struct memory_source *m = sparse(MANY);
	struct wfs_window *w;
	unsigned most;

	(void)state;
	for (uint64_t i = 0; i < MANY; i++) {
		assert_int_equal(wfs_window_get(windows, &m->region,
						i * WFS_WINDOW_BYTES, &w),
				 0);
		assert_int_equal(w->off, i * WFS_WINDOW_BYTES);
		wfs_window_put(windows, w);
	}
	/* Neighbours may be one mapping to the kernel. */
	most = (unsigned)((4ull << 30) / WFS_WINDOW_BYTES);
	assert_in_range(mapped(), 1, most);
	wfs_windows_free(windows);
	assert_int_equal(mapped(), 0);
	put_source(m);
}

static void what_cannot_be_mapped_is_said(void **state)
{
	struct wfs_windows *windows = wfs_windows_new(FOREVER_NS, NULL, NULL);
	struct memory_source *m = sparse(1);
	struct wfs_window *w;
	int fd = m->fd;

	(void)state;
	m->fd = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(wfs_window_get(windows, &m->region, 0, &w), -ENOTSUP);
	close(m->fd);
	m->fd = fd;
	wfs_windows_free(windows);
	put_source(m);
}

/* The chunk cache's keeper, which slept when the first one came. */
static void nobody_comes_and_they_are_unmapped(void **state)
{
	const struct wfs_chunks_config config = { .bytes = 4 << 20,
						  .keep_ns = 1000000 };
	const struct wfs_nest rows = { .run = 2048,
				       .n = 1,
				       .loops = { { 512, 8192, 2048 } } };
	struct memory_source *m = sparse(1);
	char *to wfs_autofree = wfs_malloc(512 * 2048);
	struct wfs_chunks *chunks;
	struct wfs_err err;

	(void)state;
	assert_int_equal(wfs_chunks_open(&config, &chunks, &err), 0);
	m->base.chunks = chunks;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(wfs_gather_mapped(&m->region, &rows, to), 0);
		for (int k = 0; mapped() > 0; k++) {
			assert_true(k < 60000);
			usleep(1000);
		}
	}
	wfs_chunks_close(chunks);
	put_source(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_window_is_mapped_once),
		T(windows_of_a_source_go_with_it),
		T(there_is_an_end_to_what_stays),
		T(what_cannot_be_mapped_is_said),
		T(nobody_comes_and_they_are_unmapped),
	};

	return cmocka_run_group_tests_name("windows", tests, NULL, NULL);
}
