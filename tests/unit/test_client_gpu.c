/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's loads to memory of GPUs, over the FAKE libcudart and files of no
 * mount.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weightfs/client.h>

#include "core/base/mem.h"
#include "core/base/text.h"
#include "tests/unit/chance.h"
#include "tests/unit/fake_gpus.h"
#include "tests/unit/scratch.h"
#include "transport/cuda/cuda.h"

#define TENSORS 5

/* Of two files; the first tensor is registered in two pieces. */
static const uint32_t sizes[TENSORS] = { (33u << 20) + 3, 1001, (5u << 20) + 3,
					 (9u << 20) + 1, 77 };

struct world {
	struct scratch *scratch;
	struct fake_control *fake;
	const struct wfs_cuda *cuda;
	cu_stream stream;
	struct weightfs_set *set;
	uint8_t *truth[TENSORS];
	void *to[TENSORS];
	struct weightfs_load load;
};

/* A file of the tensors [first, end), of random bytes. */
static void write_file(struct world *w, const char *path, unsigned first,
		       unsigned end)
{
	struct wfs_text file = { 0 }, header = { 0 };
	struct chance chance = chance_new();
	unsigned long at = 0;
	uint64_t len;

	for (unsigned i = first; i < end; i++) {
		wfs_text_add(&header,
			     "%c\"t%u\":{\"dtype\":\"U8\",\"shape\":[%u],"
			     "\"data_offsets\":[%lu,%lu]}",
			     i > first ? ',' : '{', i, sizes[i], at,
			     at + sizes[i]);
		at += sizes[i];
	}
	wfs_text_add(&header, "}");
	len = header.len;
	wfs_text_add_bytes(&file, &len, sizeof(len));
	wfs_text_add_bytes(&file, header.data, header.len);
	for (unsigned i = first; i < end; i++) {
		w->truth[i] = wfs_malloc(sizes[i] + 8);
		for (uint64_t b = 0; b < sizes[i]; b += 8) {
			uint64_t next = chance_next(&chance);

			memcpy(w->truth[i] + b, &next, sizeof(next));
		}
		wfs_text_add_bytes(&file, w->truth[i], sizes[i]);
	}
	scratch_write(w->scratch, path, file.data, file.len);
	free(file.data);
	free(header.data);
}

static int setup(void **state)
{
	struct world *w = wfs_calloc(1, sizeof(*w));
	struct wfs_err err = { 0 };
	void *scratch;

	assert_int_equal(0, scratch_setup(&scratch));
	w->scratch = scratch;
	w->fake = fake_gpus_control();
	assert_int_equal(0, wfs_cuda_load(&w->cuda, &err));
	assert_int_equal(0, w->cuda->cudaSetDevice(1));
	assert_int_equal(0, w->cuda->cudaStreamCreateWithFlags(
				    &w->stream, WFS_CU_STREAM_NON_BLOCKING));
	write_file(w, "model-1.safetensors", 0, 3);
	write_file(w, "model-2.safetensors", 3, TENSORS);
	assert_int_equal(0, weightfs_open(w->scratch->path, NULL, &w->set));
	for (unsigned i = 0; i < TENSORS; i++)
		assert_int_equal(0, w->cuda->cudaMalloc(&w->to[i], sizes[i]));
	w->load = (struct weightfs_load){ .size = sizeof(w->load),
					  .to = w->to,
					  .threads = 3,
					  .device = "cuda:1" };
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	void *scratch = w->scratch;

	weightfs_close(w->set);
	fake_cu_inject(w->fake, "", FAKE_FAILS, 0, 0, 0);
	w->fake->no_register = false;
	w->fake->pageable = 0;
	for (unsigned i = 0; i < TENSORS; i++) {
		w->cuda->cudaFree(w->to[i]);
		free(w->truth[i]);
	}
	w->cuda->cudaStreamDestroy(w->stream);
	free(w);
	return scratch_teardown(&scratch);
}

/* All lies there, and nothing of this process is pinned any more. */
static void assert_loaded(struct world *w)
{
	uint8_t *got = wfs_malloc(sizes[0]);

	for (unsigned i = 0; i < TENSORS; i++) {
		assert_int_equal(0, w->cuda->cudaMemcpyAsync(
					    got, w->to[i], sizes[i],
					    WFS_CU_DEVICE_TO_HOST, w->stream));
		assert_int_equal(0, w->cuda->cudaStreamSynchronize(w->stream));
		assert_memory_equal(w->truth[i], got, sizes[i]);
	}
	free(got);
	assert_int_equal(0, w->fake->pins);
}

static void assert_fails(struct world *w, int code, const char *words)
{
	assert_int_equal(code, weightfs_load(w->set, &w->load));
	if (!strstr(weightfs_last_error(), words))
		fail_msg("no '%s' in: %s", words, weightfs_last_error());
	assert_int_equal(0, w->fake->pins);
}

static int note_done(void *ctx, uint64_t done, uint64_t total)
{
	*(uint64_t *)ctx = done;
	assert_true(done <= total);
	return 0;
}

static void tensors_land_on_the_gpu_that_was_named(void **state)
{
	struct world *w = *state;
	uint64_t done = 0, all = 0;

	for (unsigned i = 0; i < TENSORS; i++)
		all += sizes[i];
	w->load.progress = note_done;
	w->load.ctx = &done;
	w->fake->calls = 0;
	assert_int_equal(0, weightfs_load(w->set, &w->load));
	assert_int_equal(all, done);
	/* From registered memory one each, but for the first. */
	assert_int_equal(TENSORS + 1, w->fake->calls);
	assert_loaded(w);
	/* The copies; what reads them is not pinned. */
	assert_int_equal(TENSORS, w->fake->pageable);
	/* A second time all of it is there again. */
	assert_int_equal(0, weightfs_load(w->set, &w->load));
	assert_loaded(w);
}

static void what_has_no_place_is_left_out(void **state)
{
	struct world *w = *state;
	void *place = w->to[1];

	w->to[1] = NULL;
	assert_int_equal(0, weightfs_load(w->set, &w->load));
	w->to[1] = place;
	w->load.to = (void *[TENSORS]){ [1] = place };
	assert_int_equal(0, weightfs_load(w->set, &w->load));
	assert_loaded(w);
}

static void memory_that_cannot_be_registered_goes_by_buffers(void **state)
{
	struct world *w = *state;

	w->fake->no_register = true;
	assert_int_equal(0, weightfs_load(w->set, &w->load));
	assert_loaded(w);
	w->fake->no_register = false;
	for (unsigned skip = 0; skip < 3; skip++) {
		fake_cu_inject(w->fake, "cudaHostRegister", FAKE_FAILS,
			       WFS_CU_NOT_PERMITTED, skip, 100);
		assert_int_equal(0, weightfs_load(w->set, &w->load));
		assert_loaded(w);
	}
}

static void a_staged_load_registers_nothing(void **state)
{
	struct world *w = *state;

	/* It would be the end of the process. */
	fake_cu_inject(w->fake, "cudaHostRegister", FAKE_CRASHES, 0, 0, 1);
	w->load.staged = 1;
	w->fake->calls = 0;
	assert_int_equal(0, weightfs_load(w->set, &w->load));
	assert_int_equal(TENSORS + 5, w->fake->calls);
	assert_loaded(w);
}

static void a_copy_that_fails_names_its_tensor(void **state)
{
	struct world *w = *state;

	w->load.threads = 1;
	for (int staged = 0; staged < 2; staged++) {
		w->load.staged = staged;
		/* Those of the first tensor are before it. */
		fake_cu_inject(w->fake, "cudaMemcpyAsync", FAKE_FAILS, 999,
			       staged ? 5 : 2, 1);
		assert_fails(w, -EIO, "cannot copy tensor 't1' of '");
		assert_non_null(strstr(weightfs_last_error(),
				       "' to 'cuda:1': CUDA error 999, FAKE"));
		fake_cu_inject(w->fake, "cudaEventSynchronize", FAKE_FAILS, 999,
			       0, 1);
		assert_fails(w, -EIO, "cannot copy tensor 't0' of '");
		assert_int_equal(0, weightfs_load(w->set, &w->load));
		assert_loaded(w);
	}
}

static void memory_that_is_not_there_is_enomem(void **state)
{
	struct world *w = *state;

	fake_cu_inject(w->fake, "cudaHostAlloc", FAKE_FAILS, WFS_CU_NO_MEMORY,
		       0, 1);
	w->load.staged = 1;
	assert_fails(w, -ENOMEM, "CUDA error 2");
	fake_cu_inject(w->fake, "cudaStreamCreateWithFlags", FAKE_FAILS,
		       WFS_CU_NO_MEMORY, 1, 1);
	assert_fails(w, -ENOMEM, "cannot use 'cuda:1': CUDA error 2");
	assert_int_equal(0, weightfs_load(w->set, &w->load));
	assert_loaded(w);
}

static void a_file_that_was_cut_short_is_an_error_and_no_signal(void **state)
{
	struct world *w = *state;
	char *path wfs_autofree =
		scratch_path(w->scratch, "model-1.safetensors");

	assert_int_equal(0, truncate(path, 1 << 20));
	assert_fails(w, -EIO, "its file is shorter than it was");
}

static void devices_that_are_not_there_are_refused(void **state)
{
	struct world *w = *state;
	static const char *const no_names[] = { "gpu:0",    "cuda:", "cuda:-1",
						"cuda:0x1", "cuda0", "" };

	for (size_t i = 0; i < sizeof(no_names) / sizeof(no_names[0]); i++) {
		w->load.device = no_names[i];
		assert_fails(w, -EINVAL, "is no device");
	}
	w->load.device = "cuda:2";
	assert_fails(w, -ENODEV, "CUDA shows 2 of them to this process");
	w->load.device = "cuda:99999999999999999999";
	assert_fails(w, -EINVAL, "is no device");
	w->load.device = "cuda";
	w->load.to = NULL;
	assert_fails(w, -EINVAL, "needs places there");
	w->fake->devices = 0;
	w->load.to = w->to;
	assert_fails(w, -ENXIO, "finds no device");
	w->fake->devices = FAKE_DEVICES;
}

/* Last, since the process cannot use CUDA any more. */
static void an_error_that_sticks_ends_the_load_and_says_so(void **state)
{
	struct world *w = *state;

	fake_cu_inject(w->fake, "cudaMemcpyAsync", FAKE_STICKS,
		       WFS_CU_ILLEGAL_ADDRESS, 4, 1);
	assert_int_equal(-EIO, weightfs_load(w->set, &w->load));
	assert_non_null(strstr(weightfs_last_error(),
			       "; this process cannot use CUDA any more"));
	assert_true(weightfs_load(w->set, &w->load) < 0);
}

int main(int argc, char **argv)
{
#define S(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		S(tensors_land_on_the_gpu_that_was_named),
		S(what_has_no_place_is_left_out),
		S(memory_that_cannot_be_registered_goes_by_buffers),
		S(a_staged_load_registers_nothing),
		S(a_copy_that_fails_names_its_tensor),
		S(memory_that_is_not_there_is_enomem),
		S(a_file_that_was_cut_short_is_an_error_and_no_signal),
		S(devices_that_are_not_there_are_refused),
		S(an_error_that_sticks_ends_the_load_and_says_so),
	};

	(void)argc;
	fake_gpus_enter(argv);
	return cmocka_run_group_tests_name("client_gpu", tests, NULL,
					   fake_gpus_leave);
}
