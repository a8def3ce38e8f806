/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills of device memory that are fed by way of a ring, over the FAKE
 * libcudart: their bytes, what ends them, and what they leave behind.
 */
#include "tests/unit/t.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/base/text.h"
#include "tests/unit/chance.h"
#include "tests/unit/gpu_world.h"

#define SMALL	  (64u << 10)
#define SLOT	  (4u << 20) /* of a ring, which has four */
#define LARGE	  (18u << 20)
#define CYCLES	  200
#define RINGS	  16
#define SECOND_NS 1000000000ull

/* Gives the file, and does what a test wants before the stretch `when`. */
struct food {
	struct wfs_device_feed feed;
	struct gpu_world *w;
	unsigned stretches, when;
	int (*then)(struct food *food);
	const struct gpu_target *target;
	const struct wfs_device_patience *patience;
	struct wfs_device_room *room;
	pthread_barrier_t *met;
	unsigned calls;
	uint8_t first;
};

static int give(void *ctx, struct wfs_device_room *room, void *to, uint64_t off,
		uint64_t len, const struct wfs_device_patience *patience)
{
	struct food *food = ctx;
	int rc = 0;

	food->patience = patience;
	food->room = room;
	if (food->then && food->stretches == food->when)
		rc = food->then(food);
	food->stretches++;
	if (!rc)
		memcpy(to, food->w->bytes + off, len);
	return rc;
}

static void serve(struct gpu_world *w, struct wfs_device_fill *fill,
		  struct food *ret)
{
	*ret = (struct food){ .w = w };
	ret->feed = (struct wfs_device_feed){ .read = give, .ctx = ret };
	fill->fd = -1;
	fill->feed = &ret->feed;
}

static void fed_bytes_land_in_memory_of_each_kind(void **state)
{
	struct gpu_world *w = *state;

	for (uint32_t kind = WFS_DEVICE_CUDA_IPC; kind <= WFS_DEVICE_POOL_FD;
	     kind++) {
		struct gpu_target t = gpu_target_make(w, kind, LARGE);
		struct wfs_device_segment segment;
		struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
		struct wfs_device_filled filled;
		struct food food;

		serve(w, &fill, &food);
		assert_int_equal(0, wfs_device_fill(w->dev, &fill, &filled,
						    &w->fault, &w->err));
		assert_int_equal(WFS_DEVICE_PATH_RING, filled.path);
		assert_int_equal(LARGE, filled.bytes);
		assert_int_equal(5, food.stretches);
		gpu_expect_file(w, &t);
		gpu_target_free(w, &t);
	}
	assert_int_equal(0, w->fake->pageable);
}

/* What is queued happens when a slot is waited for: not yet. */
static int look_what_happened(struct food *food)
{
	uint8_t *got;

	food->calls = food->w->fake->calls;
	got = gpu_target_read(food->w, food->target);
	food->first = got[0];
	free(got);
	return 0;
}

static void slots_are_filled_while_others_are_copied(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	struct food food;

	segment.file_off = 4;
	segment.len -= 4;
	serve(w, &fill, &food);
	food.then = look_what_happened;
	food.when = 3;
	food.target = &t;
	w->fake->calls = 0;
	assert_int_equal(0, gpu_fill(w, &fill));
	assert_int_equal(3, food.calls);
	assert_int_equal(0, food.first);
	gpu_target_free(w, &t);
}

static void apply(const struct wfs_device_segment *s, const uint8_t *from,
		  uint8_t *to)
{
	for (uint64_t i = 0; i < s->count; i++)
		memcpy(to + s->dst_off + i * s->dst_stride,
		       from + s->file_off + i * s->file_stride, s->len);
}

/* Runs that are close, far from each other, over each other and long. */
static struct wfs_device_segment random_segment(struct chance *c)
{
	static const uint64_t gaps[] = { 1, 5000, 200000 };
	uint64_t len = 1 + chance_below(c, 300);
	struct wfs_device_segment s = {
		.file_off = chance_below(c, 1000000),
		.dst_off = chance_below(c, 20000),
		.file_stride = chance_below(c, gaps[chance_below(c, 3)]),
		.dst_stride = len + chance_below(c, 50),
		.len = len,
		.count = 1 + chance_below(c, 90),
	};

	if (chance_below(c, 4) == 0) {
		s.count = 1 + chance_below(c, 3);
		s.len = s.dst_stride = SLOT - 1000 + chance_below(c, 2000);
		s.file_stride = chance_below(c, s.len);
	}
	return s;
}

static void random_segments(struct gpu_world *w, bool registers)
{
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segments[WFS_DEVICE_SEGMENTS];
	struct wfs_device_fill fill = gpu_fill_of(w, &t, segments);
	struct chance c = chance_new();
	uint8_t *truth = wfs_calloc(1, LARGE);
	struct food food;

	w->fake->no_register = !registers;
	serve(w, &fill, &food);
	for (int i = 0; i < CYCLES / 10; i++) {
		uint8_t *got;

		fill.segment_count = 1 + chance_below(&c, WFS_DEVICE_SEGMENTS);
		for (size_t k = 0; k < fill.segment_count; k++) {
			segments[k] = random_segment(&c);
			apply(&segments[k], w->bytes, truth);
		}
		assert_int_equal(0, gpu_fill(w, &fill));
		got = gpu_target_read(w, &t);
		assert_memory_equal(truth, got, LARGE);
		free(got);
	}
	free(truth);
	gpu_target_free(w, &t);
	w->fake->no_register = false;
}

static void random_segments_are_fed_as_they_are(void **state)
{
	random_segments(*state, true);
}

static void a_ring_that_cannot_be_registered_is_copied_from(void **state)
{
	struct gpu_world *w = *state;

	random_segments(w, false);
	assert_int_equal(0, w->fake->pageable);
}

static unsigned descriptors(pid_t pid)
{
	char *path wfs_autofree = wfs_asprintf("/proc/%d/fd", pid);
	DIR *dir = opendir(path);
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void many_fills_leave_nothing_behind(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	unsigned own = 0, theirs = 0, pins = 0, registers = 0;
	struct food food;

	serve(w, &fill, &food);
	for (int i = 0; i <= CYCLES; i++) {
		assert_int_equal(0, gpu_fill(w, &fill));
		assert_int_equal(0, fake_cu_holds(w->fake));
		if (i)
			continue;
		own = descriptors(getpid());
		theirs = descriptors(gpu_helper());
		pins = w->fake->pins;
		registers = w->fake->registers;
	}
	assert_int_equal(own, descriptors(getpid()));
	assert_int_equal(theirs, descriptors(gpu_helper()));
	assert_int_equal(pins, w->fake->pins);
	assert_int_equal(registers, w->fake->registers);
	gpu_target_free(w, &t);
}

static int fail_stale(struct food *food)
{
	(void)food;
	return -ESTALE;
}

static int kill_helper(struct food *food)
{
	(void)food;
	gpu_kill_helper();
	return 0;
}

static int stick(struct food *food)
{
	fake_cu_inject(food->w->fake, "cudaMemcpyAsync", FAKE_STICKS,
		       WFS_CU_ILLEGAL_ADDRESS, 0, 1);
	return 0;
}

/* As a source that hangs: until whoever waits has enough of it. */
static int hang(struct food *food)
{
	struct pollfd ends[] = { { food->patience->ends[0], POLLIN, 0 },
				 { food->patience->ends[1], POLLIN, 0 } };
	uint64_t now = wfs_now_ns(), until = food->patience->until_ns;

	if (poll(ends, 2, until > now ? (int)((until - now) / 1000000) : 0))
		return -EINTR;
	return -ETIMEDOUT;
}

/* Also by a helper that is being ended. */
static void await_let_go(struct gpu_world *w)
{
	uint64_t until = wfs_now_ns() + 60 * SECOND_NS;

	while (fake_cu_holds(w->fake))
		assert_true(wfs_now_ns() < until);
}

static void what_ends_a_fill_in_the_middle_is_told(void **state)
{
	static const struct {
		int (*then)(struct food *);
		int rc;
		unsigned stage, cuda_err;
	} ways[] = {
		{ fail_stale, -ESTALE, WFS_DEVICE_STAGE_FETCH, 0 },
		{ kill_helper, -EIO, WFS_DEVICE_STAGE_COPY, 0 },
		{ stick, -EIO, WFS_DEVICE_STAGE_COPY, WFS_CU_ILLEGAL_ADDRESS },
		{ hang, -ETIMEDOUT, WFS_DEVICE_STAGE_FETCH, 0 },
	};
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	struct food food;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		serve(w, &fill, &food);
		assert_int_equal(0, gpu_fill(w, &fill));
		food.when = food.stretches + 2;
		food.then = ways[i].then;
		if (food.then == hang)
			fill.deadline_ns = wfs_now_ns() + SECOND_NS;
		assert_int_equal(ways[i].rc, gpu_fill(w, &fill));
		assert_int_equal(ways[i].stage, w->fault.stage);
		assert_int_equal(ways[i].cuda_err, w->fault.cuda_err);
		await_let_go(w);
		fill.deadline_ns = wfs_now_ns() + 60 * SECOND_NS;
	}
	serve(w, &fill, &food);
	assert_int_equal(0, gpu_fill(w, &fill));
	gpu_expect_file(w, &t);
	gpu_target_free(w, &t);
}

static int keep_room(struct food *food)
{
	wfs_device_room_get(food->room);
	return -EINTR;
}

static void a_ring_that_is_written_yet_is_nobody_elses(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, LARGE);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &t, &segment);
	struct wfs_device_room *kept;
	struct food food;

	serve(w, &fill, &food);
	food.when = 1;
	food.then = keep_room;
	assert_int_equal(-EINTR, gpu_fill(w, &fill));
	kept = food.room;
	serve(w, &fill, &food);
	assert_int_equal(0, gpu_fill(w, &fill));
	assert_ptr_not_equal(kept, food.room);
	gpu_expect_file(w, &t);
	assert_int_equal(1, atomic_load(&kept->users));
	wfs_device_room_put(kept);
	gpu_target_free(w, &t);
}

/* A fill by a thread of its own, held up in its first stretch. */
struct aside {
	pthread_t thread;
	struct wfs_device_segment segment;
	struct wfs_device_fill fill;
	struct food food;
	int rc;
};

static void *fill_aside(void *arg)
{
	struct aside *a = arg;
	struct wfs_device_filled filled;
	struct wfs_device_fault fault;

	a->rc = wfs_device_fill(a->food.w->dev, &a->fill, &filled, &fault,
				NULL);
	return NULL;
}

static int meet_twice(struct food *food)
{
	pthread_barrier_wait(food->met);
	pthread_barrier_wait(food->met);
	return 0;
}

static void begin_aside(struct aside *a, struct gpu_world *w,
			const struct gpu_target *t, pthread_barrier_t *met)
{
	a->fill = gpu_fill_of(w, t, &a->segment);
	serve(w, &a->fill, &a->food);
	a->food.then = meet_twice;
	a->food.met = met;
	assert_int_equal(0, pthread_create(&a->thread, NULL, fill_aside, a));
}

static void fills_at_a_time_share_a_helper_and_an_allocation(void **state)
{
	struct gpu_world *w = *state;
	struct gpu_target t = gpu_target_make(w, WFS_DEVICE_CUDA_IPC, SMALL);
	struct gpu_target other = gpu_target_make(w, WFS_DEVICE_POOL_FD, SMALL);
	struct wfs_device_segment segment;
	struct wfs_device_fill fill = gpu_fill_of(w, &other, &segment);
	struct aside asides[RINGS] = { 0 };
	pthread_barrier_t met;
	struct food food;

	pthread_barrier_init(&met, NULL, RINGS + 1);
	for (int i = 0; i < RINGS; i++)
		begin_aside(&asides[i], w, &t, &met);
	pthread_barrier_wait(&met);
	/* Their sources hang: who needs none goes on, for a ring there is no
	   more room. */
	assert_int_equal(0, gpu_fill(w, &fill));
	gpu_expect_file(w, &other);
	serve(w, &fill, &food);
	assert_int_equal(-EBUSY, gpu_fill(w, &fill));
	assert_int_equal(WFS_DEVICE_STAGE_DEVICE, w->fault.stage);
	pthread_barrier_wait(&met);
	for (int i = 0; i < RINGS; i++) {
		pthread_join(asides[i].thread, NULL);
		assert_int_equal(0, asides[i].rc);
	}
	gpu_expect_file(w, &t);
	/* Of another helper's idle ones one goes for it. */
	fill.device =
		(struct wfs_device_id){ .by = WFS_DEVICE_PCI, .bus = 0xf0 };
	assert_int_equal(0, gpu_fill(w, &fill));
	assert_int_equal(2, gpu_helpers());
	pthread_barrier_destroy(&met);
	gpu_target_free(w, &other);
	gpu_target_free(w, &t);
}

int main(int argc, char **argv)
{
#define G(name)                                                                \
	cmocka_unit_test_setup_teardown(name, gpu_world_open, gpu_world_close)
	const struct CMUnitTest tests[] = {
		G(fed_bytes_land_in_memory_of_each_kind),
		G(slots_are_filled_while_others_are_copied),
		G(random_segments_are_fed_as_they_are),
		G(a_ring_that_cannot_be_registered_is_copied_from),
		G(many_fills_leave_nothing_behind),
		G(what_ends_a_fill_in_the_middle_is_told),
		G(a_ring_that_is_written_yet_is_nobody_elses),
		G(fills_at_a_time_share_a_helper_and_an_allocation),
	};

	gpu_world_enter(argc, argv);
	return cmocka_run_group_tests_name("gpu ring", tests, NULL,
					   fake_gpus_leave);
}
