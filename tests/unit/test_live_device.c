/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine's tensors on GPUs, served from where they are.  Over the FAKE
 * libcudart, whose memory the CPU cannot touch.
 */
#include "tests/unit/live_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <weightfs/seed.h>

#include "core/base/mem.h"
#include "core/digest/digests.h"
#include "tests/unit/chance.h"
#include "tests/unit/fake_gpus.h"
#include "transport/cuda/cuda.h"
#include "transport/cuda/reader.h"

#define BYTES	(3 * WFS_CHUNK + 1234) /* several chunks */
#define THREADS 8		       /* more than copies under way */

static const struct wfs_cuda *cuda;
static struct wfs_gpu_reader *gpus;
static struct wfs_live_reader reader;
static unsigned char bytes[BYTES];

static int read_gpu(void *ctx, const struct iovec *pieces, int n, int fd,
		    uint64_t off)
{
	return wfs_gpu_reader_read(ctx, pieces, n, fd, off);
}

static int set_up(void **state)
{
	struct chance chance = chance_new();

	for (size_t i = 0; i < BYTES; i++)
		bytes[i] = (unsigned char)chance_next(&chance);
	assert_int_equal(wfs_cuda_load(&cuda, &live_err), 0);
	assert_int_equal(wfs_gpu_reader_open(WFS_CHUNK, &gpus, &live_err), 0);
	reader = (struct wfs_live_reader){ read_gpu, gpus };
	return live_setup(state);
}

static int tear_down(void **state)
{
	wfs_gpu_reader_close(gpus);
	live_teardown(state);
	return fake_gpus_leave(state);
}

/* The bytes, on a GPU; freed by cudaFree. */
static void *on_gpu(int device)
{
	cu_stream stream;
	void *at;

	assert_int_equal(cuda->cudaSetDevice(device), 0);
	assert_int_equal(cuda->cudaMalloc(&at, BYTES), 0);
	assert_int_equal(cuda->cudaStreamCreateWithFlags(
				 &stream, WFS_CU_STREAM_NON_BLOCKING),
			 0);
	assert_int_equal(cuda->cudaMemcpyAsync(at, bytes, BYTES,
					       WFS_CU_HOST_TO_DEVICE, stream),
			 0);
	assert_int_equal(cuda->cudaStreamSynchronize(stream), 0);
	cuda->cudaStreamDestroy(stream);
	cuda->cudaSetDevice(0);
	return at;
}

static int add(struct wfs_live_image *image, const char *name,
	       const struct wfs_live_said *as)
{
	struct wfs_live_said said = *as;

	said.name = name;
	said.dtype = "U8";
	said.reader = &reader;
	return wfs_live_image_add(image, 0, &said, &live_err);
}

static int add_whole(struct wfs_live_image *image, const char *name,
		     const void *at)
{
	const uint64_t shape = BYTES;

	return add(image, name,
		   &(struct wfs_live_said){
			   .shape = &shape, .ndim = 1, .data = at });
}

static void expect(const struct wfs_model *model, const char *name,
		   const void *want, uint64_t len)
{
	uint64_t size = 0;
	char *got wfs_autofree = live_read_tensor(model, "0", name, &size);

	assert_int_equal(size, len);
	assert_memory_equal(got, want, len);
}

/* The only file that has tensors. */
static struct wfs_region *file_of(const struct wfs_model *model)
{
	return model->entries[model->ranks[0].tensors[0].shard].region;
}

static void tensors_of_gpus_and_of_the_host_are_one_model(void **state)
{
	struct wfs_live_image *image = live_image("tp1", false);
	void *first = on_gpu(0), *second = on_gpu(1);
	struct wfs_model *model;
	struct wfs_live_memory memory;
	struct wfs_live_span *spans;
	int device = -1;

	(void)state;
	assert_int_equal(add_whole(image, "a", first), 0);
	assert_int_equal(live_add(image, 0, "b", bytes, 5000), 0);
	assert_int_equal(add_whole(image, "c", second), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	for (int i = 0; i < 2; i++) {
		expect(model, "a", bytes, BYTES);
		expect(model, "b", bytes, 5000);
		expect(model, "c", bytes, BYTES);
	}
	wfs_live_map(file_of(model), &memory);
	assert_int_equal(memory.count, 2); /* the header, and "b" */
	assert_ptr_equal(memory.pieces[1].at, bytes);
	free(memory.pieces);
	assert_int_equal(wfs_live_image_lent(image, &spans), 2);
	free(spans);
	assert_true(fake_gpus_control()->modest > 0);
	assert_int_equal(fake_gpus_control()->pageable, 2); /* our own */
	assert_int_equal(cuda->cudaGetDevice(&device), 0);
	assert_int_equal(device, 0);
	wfs_model_put(model);
	wfs_live_image_put(image);
	cuda->cudaFree(first);
	cuda->cudaFree(second);
}

static void what_is_not_contiguous_is_put_together(void **state)
{
	const uint64_t shape[] = { 50, 30, 7 };
	const int64_t strides[] = { 1, 2000, -60 }, rows[] = { 3000, 90, 1 };
	struct wfs_live_image *image = live_image("tp1", false);
	const char *at = on_gpu(0);
	struct wfs_model *model;
	unsigned char want[2][50 * 30 * 7], *to = want[0];

	(void)state;
	for (unsigned i = 0; i < 50; i++)
		for (unsigned j = 0; j < 30; j++)
			for (unsigned k = 0; k < 7; k++, to++) {
				to[0] = bytes[1000 + i + j * 2000 - k * 60];
				to[sizeof(want[0])] =
					bytes[i * 3000 + j * 90 + k];
			}
	assert_int_equal(add(image, "a",
			     &(struct wfs_live_said){ .shape = shape,
						      .ndim = 3,
						      .strides = strides,
						      .data = at + 1000 }),
			 0);
	assert_int_equal(add(image, "b",
			     &(struct wfs_live_said){ .shape = shape,
						      .ndim = 3,
						      .strides = rows,
						      .data = at }),
			 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	expect(model, "a", want[0], sizeof(want[0]));
	expect(model, "b", want[1], sizeof(want[1]));
	wfs_model_put(model);
	wfs_live_image_put(image);
	cuda->cudaFree((void *)(uintptr_t)at);
}

static void memory_of_another_kind_is_not_published(void **state)
{
	struct wfs_live_image *image = live_image("tp1", false);
	void *at = on_gpu(0);

	(void)state;
	assert_int_equal(add_whole(image, "t", bytes), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), -EFAULT);
	assert_non_null(strstr(live_err.text, "memory on a GPU"));
	wfs_live_image_put(image);

	image = live_image("tp1", false);
	assert_int_equal(live_add(image, 0, "t", at, BYTES), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), -EFAULT);
	assert_non_null(strstr(live_err.text, "say so"));
	wfs_live_image_put(image);
	cuda->cudaFree(at);
}

static void memory_that_went_away_is_an_error(void **state)
{
	struct wfs_live_image *image = live_image("tp1", false);
	void *at = on_gpu(0);
	struct wfs_bounce *bounce;
	struct wfs_model *model;
	struct wfs_region *region;

	(void)state;
	assert_int_equal(add_whole(image, "t", at), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	region = file_of(model);
	fake_cu_inject(fake_gpus_control(), "cudaMemcpyAsync", FAKE_FAILS,
		       WFS_CU_INVALID_VALUE, 0, 1);
	assert_int_equal(wfs_live_take(region, BYTES / 2, 1, &bounce), -EIO);
	expect(model, "t", bytes, BYTES);
	cuda->cudaFree(at);
	assert_int_equal(wfs_live_take(region, BYTES / 2, 1, &bounce), -EIO);
	wfs_model_put(model);
	wfs_live_image_put(image);
}

static void what_changes_under_a_reader_is_thrown_away(void **state)
{
	struct wfs_live_image *image = live_image("tp1", false);
	void *at = on_gpu(0);
	struct wfs_bounce *bounce;
	struct wfs_model *model;

	(void)state;
	assert_int_equal(add_whole(image, "t", at), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	assert_int_equal(wfs_live_cell_begin(&image->cell), 0);
	assert_int_equal(wfs_live_take(file_of(model), BYTES / 2, 1, &bounce),
			 -EBUSY);
	assert_int_equal(wfs_live_cell_end(&image->cell), 0);
	assert_int_equal(wfs_live_take(file_of(model), BYTES / 2, 1, &bounce),
			 -ESTALE);
	wfs_model_put(model);
	model = live_load(image);
	expect(model, "t", bytes, BYTES);
	wfs_model_put(model);
	wfs_live_image_put(image);
	cuda->cudaFree(at);
}

static void *read_all(void *arg)
{
	expect(arg, "a", bytes, BYTES);
	expect(arg, "b", bytes, BYTES);
	return NULL;
}

static void many_read_both_gpus_at_once(void **state)
{
	struct wfs_live_image *image = live_image("tp1", false);
	void *first = on_gpu(0), *second = on_gpu(1);
	struct wfs_model *model;
	pthread_t threads[THREADS];

	(void)state;
	assert_int_equal(add_whole(image, "a", first), 0);
	assert_int_equal(add_whole(image, "b", second), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, read_all, model);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	wfs_model_put(model);
	wfs_live_image_put(image);
	cuda->cudaFree(first);
	cuda->cudaFree(second);
}

static void a_program_says_that_a_tensor_is_on_a_gpu(void **state)
{
	struct weightfs_seed_model_options options = { .size = sizeof(options),
						       .name = "m",
						       .layout = "tp1" };
	const uint64_t shape = BYTES;
	struct weightfs_seed_tensor tensor = { .size = sizeof(tensor),
					       .name = "t",
					       .dtype = "U8",
					       .shape = &shape,
					       .ndim = 1,
					       .device = 2 };
	struct weightfs_seed_model *model;
	struct weightfs_seed *seed;
	void *at = on_gpu(0);

	(void)state;
	tensor.data = at;
	assert_int_equal(weightfs_seed_new(NULL, &seed), 0);
	assert_int_equal(weightfs_seed_model_new(seed, &options, &model), 0);
	assert_int_equal(weightfs_seed_add_tensor(model, &tensor), -ENOTSUP);
	tensor.device = WEIGHTFS_SEED_CUDA;
	assert_int_equal(weightfs_seed_add_tensor(model, &tensor), 0);
	assert_int_equal(weightfs_seed_publish(model), 0);
	weightfs_seed_free(seed);
	cuda->cudaFree(at);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(tensors_of_gpus_and_of_the_host_are_one_model),
		T(what_is_not_contiguous_is_put_together),
		T(memory_of_another_kind_is_not_published),
		T(memory_that_went_away_is_an_error),
		T(what_changes_under_a_reader_is_thrown_away),
		T(many_read_both_gpus_at_once),
		T(a_program_says_that_a_tensor_is_on_a_gpu),
	};

	(void)argc;
	fake_gpus_enter(argv);
	return cmocka_run_group_tests_name("live device", tests, set_up,
					   tear_down);
}
