/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks that are sent from where they lie: as they are read, or never whole.
 */
#include "tests/unit/live_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "core/base/mem.h"
#include "core/model/model.h"
#include "transport/live/direct.h"

#define BYTES  ((size_t)3 * WFS_CHUNK)
#define ROOM   65536 /* of a socket: a chunk is many pieces */
#define ROUNDS 200

/* A chunk, and the two ends of what it is sent on. */
struct sending {
	struct wfs_live_direct *direct;
	size_t at, len, had;
	char *got;
	int ends[2];
};

static void start(struct sending *s, struct wfs_region *region, uint64_t off,
		  size_t len)
{
	int room = ROOM;

	*s = (struct sending){ .len = len, .got = wfs_malloc(len) };
	s->direct = wfs_live_direct_new(region, off, len);
	assert_non_null(s->direct);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s->ends), 0);
	setsockopt(s->ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
}

static void drain(struct sending *s)
{
	ssize_t n;

	while (s->had < s->len && (n = recv(s->ends[1], s->got + s->had,
					    s->len - s->had, MSG_DONTWAIT)) > 0)
		s->had += (size_t)n;
}

/* Up to `until`, at least: 0, or what it failed with. */
static int push(struct sending *s, size_t until)
{
	while (s->at < until) {
		ssize_t n = wfs_live_direct_send(s->direct, s->ends[0], s->at,
						 s->len - s->at);

		if (n < 0 && n != -EAGAIN)
			return (int)n;
		if (n > 0)
			s->at += (size_t)n;
		else
			drain(s);
	}
	return 0;
}

/* As often as the socket takes some. */
static void fill_up(struct sending *s)
{
	ssize_t n;

	while ((n = wfs_live_direct_send(s->direct, s->ends[0], s->at,
					 s->len - s->at)) > 0)
		s->at += (size_t)n;
	assert_int_equal(n, -EAGAIN);
	assert_in_range(s->at, 1, s->len - 1);
}

static void finish(struct sending *s)
{
	close(s->ends[0]);
	close(s->ends[1]);
	wfs_live_direct_free(s->direct);
	free(s->got);
}

static char *pattern(size_t len)
{
	char *bytes = wfs_malloc(len);

	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)(i * 31 + i / 4099);
	return bytes;
}

static int add_rows(struct wfs_live_image *image, const char *name,
		    const void *data, uint64_t rows, uint64_t columns,
		    int64_t step, const struct wfs_live_reader *reader)
{
	uint64_t shape[] = { rows, columns };
	int64_t strides[] = { step, 1 };
	struct wfs_live_said said = { .name = name,
				      .dtype = "U8",
				      .shape = shape,
				      .strides = strides,
				      .ndim = 2,
				      .data = data,
				      .reader = reader };

	return wfs_live_image_add(image, 0, &said, &live_err);
}

static struct wfs_region *region_of(const struct wfs_model *model)
{
	return model->entries[1].region;
}

static void it_is_what_is_read(void **state)
{
	struct wfs_live_image *image = live_image(NULL, false);
	char *want wfs_autofree = wfs_malloc(WFS_CHUNK);
	char *a wfs_autofree = pattern(BYTES);
	struct wfs_region *region;
	struct wfs_model *model;
	struct sending s;

	(void)state;
	assert_int_equal(live_add(image, 0, "a", a, 300001), 0);
	assert_int_equal(live_add(image, 0, "b", a + 5, 0), 0);
	assert_int_equal(live_add(image, 0, "c", a + 5, 7), 0);
	/* From its end to its beginning. */
	assert_int_equal(add_rows(image, "d", a + 299 * 9000, 300, 5000, -9000,
				  NULL),
			 0);
	assert_int_equal(live_add(image, 0, "e", a + 77, 700000), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	region = region_of(model);
	assert_true(region->size > 2 * WFS_CHUNK);
	for (uint64_t i = 0; i < wfs_chunk_count(region->size); i++) {
		size_t len = wfs_chunk_len(region->size, i);

		start(&s, region, i * WFS_CHUNK, len);
		assert_int_equal(push(&s, len), 0);
		drain(&s);
		assert_int_equal(s.had, len);
		assert_int_equal(wfs_region_read_exactly(region, want, len,
							 i * WFS_CHUNK),
				 0);
		assert_memory_equal(s.got, want, len);
		finish(&s);
	}
	wfs_model_put(model);
	wfs_live_image_put(image);
}

static int read_nothing(void *ctx, const struct iovec *pieces, int n, int fd,
			uint64_t off)
{
	(void)ctx;
	(void)pieces;
	(void)n;
	(void)fd;
	(void)off;
	return 0;
}

static void what_is_scattered_or_a_devices_is_copied(void **state)
{
	static const struct wfs_live_reader reader = { .read = read_nothing };
	struct wfs_live_image *image = live_image(NULL, false);
	char *a wfs_autofree = pattern(BYTES);
	struct wfs_region *region;
	struct wfs_model *model;
	struct wfs_live_direct *direct;

	(void)state;
	assert_int_equal(live_add(image, 0, "a", a, WFS_CHUNK), 0);
	assert_int_equal(add_rows(image, "b", a, 30000, 50, 100, NULL), 0);
	assert_int_equal(
		add_rows(image, "c", a, 1, WFS_CHUNK, WFS_CHUNK, &reader), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	region = region_of(model);
	direct = wfs_live_direct_new(region, 0, WFS_CHUNK);
	assert_non_null(direct);
	wfs_live_direct_free(direct);
	for (uint64_t i = 1; i < wfs_chunk_count(region->size); i++)
		assert_null(wfs_live_direct_new(
			region, i * WFS_CHUNK, wfs_chunk_len(region->size, i)));
	wfs_model_put(model);
	wfs_live_image_put(image);
}

static void memory_that_is_freed_midway_is_an_error(void **state)
{
	struct wfs_live_image *image = live_image(NULL, false);
	char *was wfs_autofree = pattern(BYTES);
	struct wfs_model *model;
	struct sending s;
	char *at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(at, MAP_FAILED);
	memcpy(at, was, BYTES);
	assert_int_equal(live_add(image, 0, "a", at, BYTES), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	start(&s, region_of(model), WFS_CHUNK, WFS_CHUNK);
	fill_up(&s);
	munmap(at, BYTES);
	assert_int_equal(push(&s, s.len), -EFAULT);
	drain(&s);
	/* What came is right, and it is not all. */
	assert_int_equal(s.had, s.at);
	assert_true(s.had < s.len);
	assert_memory_equal(s.got,
			    was + WFS_CHUNK - (region_of(model)->size - BYTES),
			    s.had);
	finish(&s);
	wfs_model_put(model);
	wfs_live_image_put(image);
}

/* Sent up to `until`, then comes an update. */
static void change_after(size_t until)
{
	struct wfs_live_image *image = live_image(NULL, false);
	char *bytes wfs_autofree = pattern(BYTES);
	struct wfs_model *model;
	struct sending s;

	assert_int_equal(live_add(image, 0, "a", bytes, BYTES), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	start(&s, region_of(model), WFS_CHUNK, WFS_CHUNK);
	assert_int_equal(push(&s, until), 0);
	assert_in_range(s.at, until, s.len - 1);
	assert_int_equal(wfs_live_cell_begin(&image->cell), 0);
	assert_int_equal(push(&s, s.len), -EBUSY);
	assert_int_equal(wfs_live_cell_end(&image->cell), 0);
	assert_int_equal(push(&s, s.len), -ESTALE);
	drain(&s);
	assert_int_equal(s.had, s.at);
	assert_true(s.had < s.len);
	finish(&s);
	wfs_model_put(model);
	wfs_live_image_put(image);
}

static void an_update_midway_ends_it(void **state)
{
	(void)state;
	change_after(0);
	change_after(1);
	change_after(WFS_CHUNK / 2);
	/* All but what is held back is out. */
	change_after(WFS_CHUNK - 64);
}

/* A writer that changes all of it, again and again. */
struct world {
	struct wfs_live_image *image;
	uint64_t *words;
	size_t count;
	atomic_uint whole; /* chunks that were sent */
	atomic_bool done;
};

/* Every other round stands until a chunk of it went out. */
static void *change(void *arg)
{
	struct world *w = arg;
	unsigned before;

	for (uint64_t round = 1; round <= ROUNDS; round++) {
		assert_int_equal(wfs_live_cell_begin(&w->image->cell), 0);
		for (size_t i = 0; i < w->count; i++)
			w->words[i] = round;
		before = atomic_load(&w->whole);
		assert_int_equal(wfs_live_cell_end(&w->image->cell), 0);
		while (round % 2 && atomic_load(&w->whole) == before)
			sched_yield();
	}
	atomic_store(&w->done, true);
	return NULL;
}

static void send_once(struct world *w)
{
	struct wfs_source *source;
	struct wfs_region *region;
	struct sending s;
	size_t n;
	int rc = wfs_live_open(w->image, &source, &live_err);

	if (rc) {
		assert_int_equal(rc, -EBUSY);
		return;
	}
	region = wfs_source_list(source, &n)->region;
	start(&s, region, WFS_CHUNK, WFS_CHUNK);
	rc = push(&s, s.len);
	drain(&s);
	if (rc) {
		assert_true(rc == -ESTALE || rc == -EBUSY);
		assert_true(s.had < s.len);
	} else {
		const uint64_t *words = (void *)(s.got + region->size % 8);
		size_t count = WFS_CHUNK / sizeof(*words) - 1;

		for (size_t i = 1; i < count; i++)
			assert_int_equal(words[i], words[0]);
		atomic_fetch_add(&w->whole, 1);
	}
	finish(&s);
	wfs_source_put(source);
}

static void what_becomes_whole_is_of_one_epoch(void **state)
{
	struct world w = { .count = BYTES / sizeof(uint64_t) };
	pthread_t thread;

	(void)state;
	w.words = wfs_calloc(w.count, sizeof(*w.words));
	w.image = live_image(NULL, false);
	assert_int_equal(live_add(w.image, 0, "t", w.words, BYTES), 0);
	assert_int_equal(wfs_live_image_seal(w.image, &live_err), 0);
	assert_int_equal(pthread_create(&thread, NULL, change, &w), 0);
	while (!atomic_load(&w.done))
		send_once(&w);
	pthread_join(thread, NULL);
	assert_true(atomic_load(&w.whole) >= ROUNDS / 2);
	wfs_live_image_put(w.image);
	free(w.words);
}

/* Who takes the memory away waits for no client that is slow. */
static void a_full_socket_keeps_nobody_from_the_memory(void **state)
{
	struct wfs_live_image *image = live_image(NULL, false);
	char *bytes wfs_autofree = pattern(BYTES);
	struct wfs_model *model;
	struct sending s;

	(void)state;
	assert_int_equal(live_add(image, 0, "a", bytes, BYTES), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	start(&s, region_of(model), WFS_CHUNK, WFS_CHUNK);
	fill_up(&s);
	wfs_live_cell_revoke(&image->cell);
	assert_int_equal(push(&s, s.len), -ESTALE);
	finish(&s);
	wfs_model_put(model);
	wfs_live_image_put(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(it_is_what_is_read),
		T(what_is_scattered_or_a_devices_is_copied),
		T(memory_that_is_freed_midway_is_an_error),
		T(an_update_midway_ends_it),
		T(what_becomes_whole_is_of_one_epoch),
		T(a_full_socket_keeps_nobody_from_the_memory),
	};

	return cmocka_run_group_tests_name("live_direct", tests, live_setup,
					   live_teardown);
}
