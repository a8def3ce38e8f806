/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that holds weights and serves them, as an engine does.
 *
 *	engine serve CHECKPOINT NAME THREADS
 *	engine register ROUNDS COUNT
 *
 * The first reads the tensors of a checkpoint's rank 0 into memory of its own,
 * serves them as NAME by THREADS at a time and says where, in a line; it ends
 * with its standard input.  The second makes a model of COUNT tensors of 4 KiB
 * from one mapping, and one line a round: the seconds until it is served, and
 * how many regions it is.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <weightfs/seed.h>

#include "core/base/mem.h"
#include "tools/open_model.h"

#define ALIGNED	    64
#define SMALL_SHAPE 2048 /* of 2 bytes */
#define NAME_BYTES  64

static struct weightfs_seed *seed;

static char *map(size_t size)
{
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		err(1, "cannot map %zu bytes", size);
	return at;
}

static void must(int rc)
{
	if (rc)
		errx(1, "%s", weightfs_last_error());
}

static void start(unsigned threads)
{
	struct weightfs_seed_options options = { .size = sizeof(options),
						 .threads = threads };

	must(weightfs_seed_new(&options, &seed));
}

static struct weightfs_seed_model *make(const char *name)
{
	struct weightfs_seed_model_options options = { .size = sizeof(options),
						       .name = name,
						       .layout = "tp1" };
	struct weightfs_seed_model *model;

	must(weightfs_seed_model_new(seed, &options, &model));
	return model;
}

static size_t aligned(size_t size)
{
	return (size + ALIGNED - 1) / ALIGNED * ALIGNED;
}

static void add(struct weightfs_seed_model *to, struct wfs_model *from,
		const struct wfs_tensor *t, char *at)
{
	struct wfs_region *region = from->entries[t->shard].region;
	struct weightfs_seed_tensor tensor = {
		.size = sizeof(tensor),
		.name = t->name,
		.dtype = wfs_dtype_name(t->dtype),
		.shape = t->shape,
		.ndim = t->ndim,
		.data = at,
	};

	if (wfs_region_read_exactly(region, at, t->size, t->off))
		errx(1, "cannot read '%s'", t->name);
	must(weightfs_seed_add_tensor(to, &tensor));
}

static void serve(const char *checkpoint, const char *name)
{
	char *path wfs_autofree = realpath(checkpoint, NULL);
	struct wfs_model *model;
	struct weightfs_seed_model *live;
	struct wfs_err error = { 0 };
	const struct wfs_rank *rank;
	char *at, byte;

	if (!path || wfs_open_model(path, true, &model, &error))
		errx(1, "cannot open '%s': %s", checkpoint, error.text);
	rank = &model->ranks[0];
	at = map(rank->bytes + (size_t)rank->count * ALIGNED);
	live = make(name);
	for (uint32_t i = 0; i < rank->count; i++) {
		const struct wfs_tensor *t =
			&rank->tensors[rank->file_order[i]];

		add(live, model, t, at);
		at += aligned(t->size);
	}
	wfs_model_put(model);
	must(weightfs_seed_publish(live));
	printf("%s\n", weightfs_seed_url(seed));
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	weightfs_seed_free(seed);
}

static void register_once(char *pool, char (*names)[NAME_BYTES], unsigned count)
{
	static const uint64_t shape = SMALL_SHAPE;
	uint64_t begin = wfs_now_ns();
	struct weightfs_seed_model *model = make("small");

	for (unsigned i = 0; i < count; i++) {
		struct weightfs_seed_tensor tensor = {
			.size = sizeof(tensor),
			.name = names[i],
			.dtype = "F16",
			.shape = &shape,
			.ndim = 1,
			.data = pool + (size_t)i * SMALL_SHAPE * 2,
		};

		must(weightfs_seed_add_tensor(model, &tensor));
	}
	must(weightfs_seed_publish(model));
	printf("%.6f %zu\n", (double)(wfs_now_ns() - begin) / 1e9,
	       weightfs_seed_regions(model));
	weightfs_seed_model_free(model);
}

static void time_registrations(unsigned rounds, unsigned count)
{
	size_t size = (size_t)count * SMALL_SHAPE * 2;
	char(*names)[NAME_BYTES] = wfs_calloc(count, sizeof(*names));
	char *pool = map(size);

	memset(pool, 1, size);
	for (unsigned i = 0; i < count; i++)
		snprintf(names[i], sizeof(names[i]),
			 "model.layers.%u.mlp.experts.%u.weight", i / 256,
			 i % 256);
	for (unsigned i = 0; i < rounds; i++)
		register_once(pool, names, count);
	weightfs_seed_free(seed);
	free(names);
}

static unsigned number(const char *text)
{
	return (unsigned)strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "serve")) {
		start(number(argv[4]));
		serve(argv[2], argv[3]);
	} else if (argc == 4 && !strcmp(argv[1], "register")) {
		start(0);
		time_registrations(number(argv[2]), number(argv[3]));
	} else {
		errx(2, "usage: engine serve CHECKPOINT NAME THREADS | "
			"engine register ROUNDS COUNT");
	}
	return 0;
}
