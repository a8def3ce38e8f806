/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors in memory as files: strides, names, spans and epochs.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/text.h"
#include "core/model/model.h"
#include "tests/unit/chance.h"
#include "transport/live/live.h"

#define DIMS   4
#define PAGE   4096
#define ROUNDS 200

static struct wfs_bounces *bounces;
static struct wfs_err err;

static int setup(void **state)
{
	(void)state;
	return wfs_bounces_new(&bounces, &err);
}

static int teardown(void **state)
{
	(void)state;
	wfs_bounces_free(bounces);
	return 0;
}

static struct wfs_live_image *image_of(const char *layout, bool one_name)
{
	struct wfs_live_model model = { .name = "m",
					.layout = layout,
					.one_name = one_name };
	struct wfs_live_image *image;

	assert_int_equal(wfs_live_image_new(&model, bounces, &image, &err), 0);
	return image;
}

static int add(struct wfs_live_image *image, uint32_t rank, const char *name,
	       const void *data, uint64_t count)
{
	struct wfs_live_said said = { .name = name,
				      .dtype = "U8",
				      .shape = &count,
				      .ndim = 1,
				      .data = data };

	return wfs_live_image_add(image, rank, &said, &err);
}

/* What the model of the image's epoch has, and its source. */
static struct wfs_model *load(struct wfs_live_image *image)
{
	struct wfs_source *source;
	struct wfs_model *model;

	assert_int_equal(wfs_live_open(image, &source, &err), 0);
	assert_int_equal(wfs_model_load(source, "m", 1, &model, &err), 0);
	wfs_source_put(source);
	return model;
}

/* The bytes of a tensor, as a reader gets them; the caller's. */
static char *read_tensor(const struct wfs_model *model, const char *rank,
			 const char *name, uint64_t *ret_size)
{
	int64_t r = wfs_model_find_rank(model, rank);
	const struct wfs_tensor *t;
	int64_t at;
	char *bytes;

	assert_true(r >= 0);
	at = wfs_rank_find_tensor(&model->ranks[r], name);
	assert_true(at >= 0);
	t = &model->ranks[r].tensors[at];
	bytes = wfs_malloc(t->size + 1);
	assert_int_equal(
		wfs_region_read_exactly(model->entries[t->shard].region, bytes,
					t->size, t->off),
		0);
	*ret_size = t->size;
	return bytes;
}

/* A view of an array of random steps, and what it has in order. */
struct view {
	uint64_t shape[DIMS];
	int64_t strides[DIMS];
	unsigned ndim;
	const uint16_t *data;
	uint16_t *want;
	size_t count;
};

static void make_view(struct chance *chance, const uint16_t *memory,
		      struct view *v)
{
	/* A dense array, whose dimensions are then swapped, cut and turned. */
	uint64_t dense = 1;
	uint64_t index[DIMS] = { 0 };

	*v = (struct view){ .ndim = (unsigned)chance_below(chance, DIMS + 1),
			    .data = memory,
			    .count = 1 };
	for (unsigned i = v->ndim; i-- > 0;) {
		uint64_t whole = 1 + chance_below(chance, 9);

		v->strides[i] = (int64_t)dense;
		dense *= whole;
		v->shape[i] = 1 + chance_below(chance, whole);
		switch (chance_below(chance, 4)) {
		case 0: /* backwards */
			v->data += v->strides[i] * (int64_t)(v->shape[i] - 1);
			v->strides[i] = -v->strides[i];
			break;
		case 1: /* the same again */
			v->strides[i] = 0;
			break;
		default:
			v->shape[i] = whole;
		}
		v->count *= v->shape[i];
	}
	for (unsigned i = 1; i < v->ndim; i++) {
		unsigned k = (unsigned)chance_below(chance, i + 1);
		uint64_t shape = v->shape[i];
		int64_t stride = v->strides[i];

		v->shape[i] = v->shape[k];
		v->strides[i] = v->strides[k];
		v->shape[k] = shape;
		v->strides[k] = stride;
	}
	v->want = wfs_calloc(v->count, sizeof(*v->want));
	for (size_t n = 0; n < v->count; n++) {
		int64_t at = 0;

		for (unsigned i = 0; i < v->ndim; i++)
			at += v->strides[i] * (int64_t)index[i];
		v->want[n] = v->data[at];
		for (unsigned i = v->ndim; i-- > 0;) {
			if (++index[i] < v->shape[i])
				break;
			index[i] = 0;
		}
	}
}

static void any_steps_give_the_elements_in_order(void **state)
{
	struct chance chance = chance_new();
	uint16_t *memory = wfs_calloc(10000, sizeof(*memory));

	(void)state;
	for (size_t i = 0; i < 10000; i++)
		memory[i] = (uint16_t)(i * 40503);
	for (int round = 0; round < ROUNDS; round++) {
		struct wfs_live_image *image = image_of(NULL, false);
		struct wfs_live_said said = { .name = "t", .dtype = "U16" };
		struct wfs_bounce *bounce = wfs_bounce_get(bounces);
		struct wfs_live_file *file;
		struct view v;
		size_t size, off, len;

		make_view(&chance, memory, &v);
		said.shape = v.shape;
		said.strides = v.strides;
		said.ndim = v.ndim;
		said.data = v.data;
		assert_int_equal(wfs_live_image_add(image, 0, &said, &err), 0);
		assert_int_equal(wfs_live_image_seal(image, &err), 0);
		file = &image->files[0];
		size = v.count * sizeof(uint16_t);
		assert_int_equal(file->size, file->len + size);
		off = chance_below(&chance, size);
		len = 1 + chance_below(&chance, size - off);
		assert_int_equal(wfs_live_image_copy(file, file->len + off, len,
						     bounce),
				 0);
		assert_memory_equal(bounce->bytes, (char *)v.want + off, len);
		wfs_bounce_put(bounce);
		wfs_live_image_put(image);
		free(v.want);
	}
	free(memory);
}

static void a_contiguous_tensor_is_one_run(void **state)
{
	uint64_t shape[] = { 2, 1, 3, 4 };
	int64_t strides[] = { 12, 99, 4, 1 };
	struct wfs_live_said said = { .name = "t",
				      .dtype = "F32",
				      .shape = shape,
				      .strides = strides,
				      .ndim = 4,
				      .data = shape };
	struct wfs_live_tensor t;

	(void)state;
	assert_int_equal(wfs_live_tensor_init(&said, &t, &err), 0);
	assert_int_equal(t.dims, 0);
	assert_int_equal(t.run, 96);
	assert_int_equal(t.high - t.low, 96);
	wfs_live_tensor_clear(&t);
}

static void refuses(const struct wfs_live_said *said, int code, const char *why)
{
	struct wfs_live_tensor t;

	assert_int_equal(wfs_live_tensor_init(said, &t, &err), code);
	if (!strstr(err.text, why))
		fail_msg("'%s' does not say '%s'", err.text, why);
}

static void wrong_descriptions_are_refused_by_name(void **state)
{
	uint64_t big[] = { 1ull << 40, 1ull << 40 }, two[] = { 2, 2 };
	int64_t far[] = { INT64_MAX / 2, 1 }, low[] = { INT64_MIN / 4, 1 };
	int64_t ones[] = { 1, 1 };
	struct wfs_live_said said = { .name = "w",
				      .dtype = "F32",
				      .shape = two,
				      .ndim = 2,
				      .data = two };
	struct wfs_live_said bad;

	(void)state;
	bad = said, bad.name = "";
	refuses(&bad, -EINVAL, "no name");
	bad = said, bad.name = "\xff";
	refuses(&bad, -EINVAL, "UTF-8");
	bad = said, bad.dtype = "F33";
	refuses(&bad, -EINVAL, "tensor 'w' has dtype 'F33'");
	bad = said, bad.dtype = NULL;
	refuses(&bad, -EINVAL, "dtype");
	bad = said, bad.shape = big;
	refuses(&bad, -EOVERFLOW, "too large");
	bad = said, bad.shape = NULL;
	refuses(&bad, -EINVAL, "no shape");
	bad = said, bad.ndim = 65;
	refuses(&bad, -EINVAL, "65 dimensions");
	bad = said, bad.data = NULL;
	refuses(&bad, -EINVAL, "no data");
	bad = said, bad.strides = far;
	refuses(&bad, -EOVERFLOW, "addresses");
	bad = said, bad.strides = low;
	refuses(&bad, -EOVERFLOW, "addresses");
	bad = said, bad.dtype = "F4", bad.strides = ones;
	refuses(&bad, -ENOTSUP, "less than a byte");
}

static void memory_that_is_not_there_is_refused(void **state)
{
	struct wfs_live_image *image = image_of(NULL, false);
	char *gone =
		mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	munmap(gone, PAGE);
	assert_int_equal(add(image, 0, "a", "here", 4), 0);
	assert_int_equal(add(image, 0, "t", gone, 5), 0);
	assert_int_equal(add(image, 0, "u", "here", 4), 0);
	assert_int_equal(wfs_live_image_seal(image, &err), -EFAULT);
	assert_non_null(strstr(err.text, "tensor 't'"));
	wfs_live_image_put(image);
}

static void tied_tensors_have_one_name_or_all(void **state)
{
	static const char memory[100] = "the same";

	(void)state;
	for (int one = 0; one < 2; one++) {
		struct wfs_live_image *image = image_of("tp1", one);
		struct wfs_model *model;
		uint64_t size;
		char *bytes;

		assert_int_equal(add(image, 0, "z", memory, 100), 0);
		assert_int_equal(add(image, 0, "b", memory, 100), 0);
		assert_int_equal(add(image, 0, "part", memory, 50), 0);
		assert_int_equal(add(image, 0, "empty", memory, 0), 0);
		assert_int_equal(wfs_live_image_seal(image, &err), 0);
		assert_int_equal(wfs_live_image_spans(image, NULL), 1);
		model = load(image);
		assert_int_equal(model->ranks[0].count, one ? 1 : 4);
		bytes = read_tensor(model, "0", "b", &size);
		assert_int_equal(size, 100);
		assert_memory_equal(bytes, memory, 100);
		free(bytes);
		wfs_model_put(model);
		wfs_live_image_put(image);
	}
}

static void one_rank_of_many_is_enough(void **state)
{
	static const struct {
		const char *layout, *file, *rank;
	} rows[] = {
		{ "tp4", "model-rank-3-part-0.safetensors", "3" },
		{ "tp2pp2", "model-pp-1-tp-1-part-0.safetensors", "pp-1-tp-1" },
		{ NULL, "model-rank-3-part-0.safetensors", "3" },
	};
	static const char bytes[3] = "abc";

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct wfs_live_image *image = image_of(rows[i].layout, false);
		struct wfs_model *model;

		assert_int_equal(add(image, 3, "t", bytes, 3), 0);
		if (rows[i].layout)
			assert_int_equal(add(image, 4, "t", bytes, 3), -EINVAL);
		assert_int_equal(wfs_live_image_seal(image, &err), 0);
		assert_string_equal(image->files[0].path, rows[i].file);
		model = load(image);
		assert_string_equal(model->ranks[0].name, rows[i].rank);
		assert_int_equal(model->source->live->ranks[0], 3);
		wfs_model_put(model);
		wfs_live_image_put(image);
	}
}

static void names_that_meet_are_refused(void **state)
{
	struct wfs_live_image *image = image_of(NULL, false);

	(void)state;
	assert_int_equal(add(image, 0, "t", "abc", 1), 0);
	assert_int_equal(add(image, 0, "t", "abc", 2), 0);
	assert_int_equal(wfs_live_image_seal(image, &err), -EEXIST);
	wfs_live_image_put(image);
	image = image_of(NULL, false);
	assert_int_equal(add(image, 0, "t", "abc", 1), 0);
	assert_int_equal(wfs_live_image_add_file(image, "config.json", "{}", 2,
						 &err),
			 0);
	assert_int_equal(wfs_live_image_add_file(image, "config.json", "{}", 2,
						 &err),
			 0);
	assert_int_equal(wfs_live_image_seal(image, &err), -EEXIST);
	assert_int_equal(wfs_live_image_add_file(image, "../x", "{}", 2, &err),
			 -EBUSY);
	wfs_live_image_put(image);
}

static void what_touches_is_one_span(void **state)
{
	struct wfs_live_image *image = image_of(NULL, false);
	char *pool = mmap(NULL, 100 * PAGE, PROT_READ,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct wfs_live_span *spans;
	char name[16];

	(void)state;
	/* 64 bytes apart, as an allocator has them; then two far away. */
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "t%u", i);
		assert_int_equal(
			add(image, 0, name, pool + (size_t)i * 1064, 1000), 0);
	}
	assert_int_equal(add(image, 0, "far", pool + (size_t)50 * PAGE, PAGE),
			 0);
	assert_int_equal(add(image, 0, "in", pool + (size_t)50 * PAGE + 9, 9),
			 0);
	assert_int_equal(wfs_live_image_seal(image, &err), 0);
	assert_int_equal(wfs_live_image_spans(image, &spans), 2);
	assert_int_equal(spans[0].low, (uintptr_t)pool);
	assert_int_equal(spans[1].high - spans[1].low, PAGE);
	free(spans);
	wfs_live_image_put(image);
	munmap(pool, (size_t)100 * PAGE);
}

/* A writer that changes all of it, again and again. */
struct world {
	struct wfs_live_image *image;
	uint64_t *words;
	size_t count;
	atomic_uint whole; /* chunks that were read */
	atomic_bool done;
};

/* Every other round stands until somebody has read of it. */
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

/* A chunk that is read is of one round, or it is not read. */
static void read_once(struct world *w)
{
	struct wfs_source *source;
	struct wfs_bounce *bounce;
	const struct wfs_source_entry *list;
	size_t n;
	int rc = wfs_live_open(w->image, &source, &err);

	if (rc) {
		assert_int_equal(rc, -EBUSY);
		return;
	}
	list = wfs_source_list(source, &n);
	rc = wfs_live_take(list[0].region, WFS_CHUNK, WFS_CHUNK, &bounce);
	if (rc) {
		assert_true(rc == -ESTALE || rc == -EBUSY);
	} else {
		const uint64_t *words =
			(const void *)(bounce->bytes +
				       list[0].region->size % 8);
		size_t count = WFS_CHUNK / sizeof(*words) - 1;

		for (size_t i = 1; i < count; i++)
			assert_int_equal(words[i], words[0]);
		wfs_bounce_put(bounce);
		atomic_fetch_add(&w->whole, 1);
	}
	wfs_source_put(source);
}

static void no_reader_has_two_epochs_in_a_chunk(void **state)
{
	struct world w = { .count = 3 * WFS_CHUNK / sizeof(uint64_t) };
	pthread_t thread;

	(void)state;
	w.words = wfs_calloc(w.count, sizeof(*w.words));
	w.image = image_of(NULL, false);
	assert_int_equal(add(w.image, 0, "t", w.words, w.count * 8), 0);
	assert_int_equal(wfs_live_image_seal(w.image, &err), 0);
	assert_int_equal(pthread_create(&thread, NULL, change, &w), 0);
	while (!atomic_load(&w.done))
		read_once(&w);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&w.image->cell.epoch), 2 * ROUNDS);
	assert_true(atomic_load(&w.whole) >= ROUNDS / 2);
	wfs_live_image_put(w.image);
	free(w.words);
}

static void an_old_epoch_is_stale_and_one_under_way_is_busy(void **state)
{
	struct wfs_live_image *image = image_of(NULL, false);
	struct wfs_bounce *bounce;
	struct wfs_region *region;
	struct wfs_model *old;
	struct wfs_source *source;

	(void)state;
	assert_int_equal(add(image, 0, "t", "abc", 3), 0);
	assert_int_equal(wfs_live_image_seal(image, &err), 0);
	old = load(image);
	region = old->entries[1].region;
	assert_int_equal(wfs_live_take(region, 0, 8, &bounce), 0);
	wfs_bounce_put(bounce);
	assert_int_equal(wfs_live_cell_end(&image->cell), -EINVAL);
	assert_int_equal(wfs_live_cell_begin(&image->cell), 0);
	assert_int_equal(wfs_live_cell_begin(&image->cell), -EALREADY);
	assert_int_equal(wfs_live_take(region, 0, 8, &bounce), -EBUSY);
	assert_int_equal(wfs_live_open(image, &source, &err), -EBUSY);
	assert_int_equal(wfs_region_check(region), 0);
	assert_int_equal(wfs_live_cell_end(&image->cell), 0);
	assert_int_equal(wfs_live_take(region, 0, 8, &bounce), -ESTALE);
	assert_int_equal(wfs_region_check(region), -ESTALE);
	wfs_model_put(old);
	old = load(image);
	wfs_live_cell_revoke(&image->cell);
	assert_int_equal(wfs_live_take(old->entries[1].region, 0, 8, &bounce),
			 -ESTALE);
	assert_int_equal(wfs_live_open(image, &source, &err), -ESTALE);
	wfs_model_put(old);
	wfs_live_image_put(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(any_steps_give_the_elements_in_order),
		T(a_contiguous_tensor_is_one_run),
		T(wrong_descriptions_are_refused_by_name),
		T(memory_that_is_not_there_is_refused),
		T(tied_tensors_have_one_name_or_all),
		T(one_rank_of_many_is_enough),
		T(names_that_meet_are_refused),
		T(what_touches_is_one_span),
		T(no_reader_has_two_epochs_in_a_chunk),
		T(an_old_epoch_is_stale_and_one_under_way_is_busy),
	};

	return cmocka_run_group_tests_name("live", tests, setup, teardown);
}
