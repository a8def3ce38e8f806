/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments of a fill: which are refused, and what those that are not put
 * where, beside a copy of each byte by itself.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "fs/copy.h"
#include "fs/ioctl.h"
#include "fs/state.h"
#include "tests/unit/chance.h"
#include "tests/unit/memory_source.h"

#define FILE_BYTES   70001u
#define MEMORY_BYTES 90007u
#define ROOM	     1024u

struct world {
	unsigned char bytes[FILE_BYTES];
	unsigned char want[MEMORY_BYTES];
	struct memory_source *source;
	struct wfs_piece piece;
	struct wfs_recipe recipe;
	struct wfs_model model;
	struct wfs_node node;
	struct wfs_fs fs;
	struct wfs_target target;
};

static struct chance chance;

static int memory(bool sealed)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(posix_fallocate(fd, 0, MEMORY_BYTES), 0);
	if (sealed)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	return fd;
}

static int set_up(void **state)
{
	struct world *w = wfs_calloc(1, sizeof(*w));

	chance = chance_new();
	for (size_t i = 0; i < FILE_BYTES; i++)
		w->bytes[i] = (unsigned char)chance_next(&chance);
	w->source = memory_source_new(w->bytes, FILE_BYTES);
	w->piece = (struct wfs_piece){ .kind = WFS_PIECE_REGION,
				       .region = &w->source->region,
				       .run = FILE_BYTES,
				       .count = 1 };
	w->recipe = (struct wfs_recipe){ .size = FILE_BYTES,
					 .n = 1,
					 .pieces = &w->piece };
	w->node.model = &w->model;
	assert_int_equal(wfs_target_open(memory(true), 0, &w->target), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	wfs_target_close(&w->target);
	wfs_source_put(&w->source->base);
	free(w);
	return 0;
}

static struct wfs_copy copy_of(struct world *w,
			       const struct weightfs_segment *segments,
			       unsigned count)
{
	return (struct wfs_copy){ .fs = &w->fs,
				  .node = &w->node,
				  .recipe = &w->recipe,
				  .target = &w->target,
				  .segments = segments,
				  .count = count,
				  .resident = true };
}

static void paint(struct world *w, const struct weightfs_segment *s)
{
	for (uint64_t i = 0; i < s->count; i++)
		for (uint64_t j = 0; j < s->len; j++)
			w->want[s->dst_off + i * s->dst_stride + j] =
				w->bytes[s->file_off + i * s->file_stride + j];
}

static void is_as_wanted(struct world *w)
{
	unsigned char *got = wfs_malloc(MEMORY_BYTES);

	assert_int_equal(wfs_pread_all(w->target.fd, got, MEMORY_BYTES, 0),
			 MEMORY_BYTES);
	assert_memory_equal(got, w->want, MEMORY_BYTES);
	free(got);
}

static void copy(struct world *w, const struct weightfs_segment *segments,
		 unsigned count)
{
	struct wfs_copy c = copy_of(w, segments, count);
	char room[ROOM];
	int rc;

	assert_int_equal(wfs_copy_check(segments, count, FILE_BYTES,
					MEMORY_BYTES, 0),
			 0);
	do
		rc = wfs_copy_step(&c, room, sizeof(room));
	while (rc > 0);
	assert_int_equal(rc, 0);
	assert_int_equal(c.done, wfs_copy_bytes(segments, count));
	for (unsigned i = 0; i < count; i++)
		paint(w, &segments[i]);
	is_as_wanted(w);
}

static uint64_t up_to(uint64_t most)
{
	return chance_below(&chance, most + 1);
}

static struct weightfs_segment drawn(void)
{
	struct weightfs_segment s = { .len = 1 + up_to(up_to(1) ? 30 : 3000),
				      .count = 1 + up_to(20) };

	s.file_stride = up_to(3) ? up_to(3 * s.len) : s.len;
	s.dst_stride = s.len + (up_to(2) ? up_to(60) : 0);
	while ((s.count - 1) * s.dst_stride + s.len > MEMORY_BYTES ||
	       (s.count - 1) * s.file_stride + s.len > FILE_BYTES)
		s.count = 1;
	s.file_off = up_to(FILE_BYTES - (s.count - 1) * s.file_stride - s.len);
	s.dst_off = up_to(MEMORY_BYTES - (s.count - 1) * s.dst_stride - s.len);
	return s;
}

static void segments_come_to_their_place(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 300; i++) {
		struct weightfs_segment segments[8];
		unsigned count = 1 + (unsigned)up_to(7);

		for (unsigned k = 0; k < count; k++)
			segments[k] = drawn();
		copy(w, segments, count);
	}
}

static void memory_without_a_seal_is_written_too(void **state)
{
	struct world *w = *state;

	wfs_target_close(&w->target);
	assert_int_equal(wfs_target_open(memory(false), 0, &w->target), 0);
	assert_null(w->target.map);
	segments_come_to_their_place(state);
}

static void a_local_file_is_read_straight(void **state)
{
	struct world *w = *state;
	int fd = memfd_create("file", MFD_CLOEXEC);

	assert_int_equal(wfs_pwrite_all(fd, w->bytes, FILE_BYTES, 0), 0);
	w->source->fd = fd;
	assert_true(wfs_copy_file(&w->recipe) >= 0);
	segments_come_to_their_place(state);
	w->source->fd = 0;
	close(fd);
}

static void a_copy_goes_on_where_it_was(void **state)
{
	struct world *w = *state;
	const struct weightfs_segment segments[] = {
		{ 5, 7, 999, 1500, 1000, 11 },
		{ 0, 20000, 30000, 0, 0, 1 },
		{ 3, 60000, 1, 2, 3, 5000 },
	};
	uint64_t all = wfs_copy_bytes(segments, 3);
	char room[ROOM];

	for (uint64_t done = 0; done < all; done += 1 + up_to(all / 50)) {
		struct wfs_copy c = copy_of(w, segments, 3);
		int rc;

		c.done = done;
		do
			rc = wfs_copy_step(&c, room, 1 + up_to(ROOM - 1));
		while (rc > 0);
		assert_int_equal(rc, 0);
		assert_int_equal(c.done, all);
	}
	for (int i = 0; i < 3; i++)
		paint(w, &segments[i]);
	is_as_wanted(w);
}

static bool never(struct wfs_copy *c)
{
	(void)c;
	return false;
}

static void what_may_not_begin_writes_nothing(void **state)
{
	struct world *w = *state;
	const struct weightfs_segment s = { 0, 0, 100, 0, 0, 1 };
	struct wfs_copy c = copy_of(w, &s, 1);
	char room[ROOM];

	c.begin = never;
	assert_int_equal(wfs_copy_step(&c, room, ROOM), -ECANCELED);
	assert_int_equal(c.done, 0);
	is_as_wanted(w);
}

static void errors_of_a_source_are_those_of_the_manual(void **state)
{
	static const int told[][2] = { { -EIO, -EIO },
				       { -ESTALE, -ESTALE },
				       { -EBADMSG, -EBADMSG },
				       { -EHOSTUNREACH, -EHOSTUNREACH },
				       { -ETIMEDOUT, -ETIMEDOUT },
				       { -ENOENT, -EIO },
				       { -EPERM, -EIO } };
	struct world *w = *state;
	const struct weightfs_segment s = { 0, 0, 100, 0, 0, 1 };
	char room[ROOM];

	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		struct wfs_copy c = copy_of(w, &s, 1);

		atomic_store(&w->source->region.stale, false);
		atomic_store(&w->source->fail_read, told[i][0]);
		assert_int_equal(wfs_copy_step(&c, room, ROOM), told[i][1]);
		assert_int_equal(c.stage, WEIGHTFS_STAGE_FETCH);
		assert_int_equal(c.done, 0);
	}
}

static void a_file_that_ends_early_is_another(void **state)
{
	struct world *w = *state;
	const struct weightfs_segment s = { 0, 0, 5000, 0, 0, 1 };
	struct wfs_copy c = copy_of(w, &s, 1);
	int fd = memfd_create("file", MFD_CLOEXEC);
	char room[ROOM];

	assert_int_equal(wfs_pwrite_all(fd, w->bytes, 4000, 0), 0);
	w->source->fd = fd;
	assert_int_equal(wfs_copy_step(&c, room, ROOM), -ESTALE);
	assert_true(atomic_load(&w->source->region.stale));
	w->source->fd = 0;
	close(fd);
}

static void memory_that_cannot_be_mapped_is_not_taken(void **state)
{
	struct wfs_target target = { .fd = -1 };
	int fd = memory(true);
	struct rlimit before, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
	assert_int_equal(wfs_target_open(fd, 0, &target), -ENOMEM);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_int_equal(target.fd, -1);
	assert_int_equal(wfs_target_open(fd, 0, &target), 0);
	wfs_target_close(&target);
}

static void bounds_hold_without_overflow(void **state)
{
	const uint64_t most = UINT64_MAX;
	const struct {
		struct weightfs_segment s;
		uint64_t done;
		int rc;
	} rows[] = {
		{ { 0, 0, 100, 0, 0, 1 }, 0, 0 },
		{ { 0, 0, 100, 0, 0, 1 }, 100, 0 },
		{ { 0, 0, 100, 0, 0, 1 }, 101, -EINVAL },
		{ { 0, 0, 100, most, most, 1 }, 0, 0 },
		{ { 0, 0, 10, 0, 10, 20 }, 0, 0 },
		{ { 0, 0, 10, 0, 10, 21 }, 0, -ERANGE },
		{ { 0, 0, 10, 0, 9, 2 }, 0, -EINVAL },
		{ { 0, 0, 0, 0, 0, 1 }, 0, -EINVAL },
		{ { 0, 0, 1, 0, 0, 0 }, 0, -EINVAL },
		{ { 1, 0, 100, 0, 0, 1 }, 0, -ERANGE },
		{ { 0, 101, 100, 0, 0, 1 }, 0, -ERANGE },
		{ { most, 0, 2, 0, 0, 1 }, 0, -ERANGE },
		{ { 0, most, 2, 0, 0, 1 }, 0, -ERANGE },
		{ { 0, 0, most, 0, 0, 1 }, 0, -ERANGE },
		{ { 0, 0, 1, most, 1, 2 }, 0, -ERANGE },
		{ { 0, 0, 1, 1ull << 63, 1, 3 }, 0, -ERANGE },
		{ { 0, 0, 1, 0, 1ull << 63, 3 }, 0, -ERANGE },
		{ { 0, 0, 1, 0, 1, most }, 0, -ERANGE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(wfs_copy_check(&rows[i].s, 1, 100, 200,
						rows[i].done),
				 rows[i].rc);
	assert_int_equal(wfs_copy_check(&rows[0].s, 0, 100, 200, 0), -EINVAL);
	assert_int_equal(wfs_copy_check(&rows[0].s, 65, 100, 200, 0), -EINVAL);
	assert_int_equal(wfs_copy_check(&rows[0].s, UINT32_MAX, 100, 200, 0),
			 -EINVAL);
}

static void a_head_says_what_it_is_the_head_of(void **state)
{
	struct weightfs_head head = {
		.size = 40, .abi = 1, .stage = 7, .status = -5
	};

	(void)state;
	assert_int_equal(wfs_ioctl_head(&head, 40, 0), 0);
	assert_int_equal(head.stage | (uint32_t)head.status, 0);
	head.flags = 2;
	assert_int_equal(wfs_ioctl_head(&head, 40, 1), -EINVAL);
	assert_int_equal(head.status, -EINVAL);
	assert_int_equal(head.stage, WEIGHTFS_STAGE_AUTH);
	head.flags = 1;
	assert_int_equal(wfs_ioctl_head(&head, 40, 1), 0);
	assert_int_equal(wfs_ioctl_head(&head, 41, 1), -EINVAL);
	head.abi = 0;
	assert_int_equal(wfs_ioctl_head(&head, 40, 1), -EINVAL);
}

/* What is compiled into programs of others. */
static void the_interface_keeps_its_sizes(void **state)
{
	(void)state;
	assert_int_equal(sizeof(struct weightfs_head), 32);
	assert_int_equal(sizeof(struct weightfs_device), 24);
	assert_int_equal(sizeof(struct weightfs_segment), 48);
	assert_int_equal(sizeof(struct weightfs_info), 392);
	assert_int_equal(sizeof(struct weightfs_fill), 3344);
	assert_int_equal(sizeof(struct weightfs_lend), 176);
	assert_int_equal(sizeof(struct weightfs_drop), 88);
	assert_int_equal(sizeof(struct weightfs_pass), 48);
	assert_int_equal(sizeof(struct weightfs_passed), 32);
	assert_int_equal(offsetof(struct weightfs_fill, segment), 272);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define IN_WORLD(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		IN_WORLD(segments_come_to_their_place),
		IN_WORLD(memory_without_a_seal_is_written_too),
		IN_WORLD(a_local_file_is_read_straight),
		IN_WORLD(a_copy_goes_on_where_it_was),
		IN_WORLD(what_may_not_begin_writes_nothing),
		IN_WORLD(errors_of_a_source_are_those_of_the_manual),
		IN_WORLD(a_file_that_ends_early_is_another),
		T(memory_that_cannot_be_mapped_is_not_taken),
		T(bounds_hold_without_overflow),
		T(a_head_says_what_it_is_the_head_of),
		T(the_interface_keeps_its_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
