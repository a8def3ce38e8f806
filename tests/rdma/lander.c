/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lander URL FILE OUT: lands bytes of a file of model "m", which a seed has, in
 * a ring over real verbs, with fake_dmabuf.so preloaded: a memfd stands for a
 * GPU's memory.  It answers each line with a negative errno or 0, and then has
 * written to OUT what it got:
 *
 *	read LEN OFF	to memory, as any reader
 *	land AT LEN OFF	at AT of the ring
 *	end		the ring's owner is gone
 *	stats		of its rails, a line of JSON, in place of a number
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/base/text.h"
#include "tools/fabric.h"

#define RING_BYTES (2ull << 20)
#define ADDRESS	   0x7f0000000000ull
#define FIRST_NS   60000000000ull

static void must(int rc, const struct wfs_err *err)
{
	if (!rc)
		return;
	fprintf(stderr, "lander: %d: %s\n", rc, err->text);
	exit(1);
}

static void tell(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "lander: %s\n", text);
}

struct world {
	struct wfs_remote *remote;
	struct wfs_region *region;
	struct wfs_landing_ring *ring;
	uint8_t *bytes; /* the ring's */
	const char *out;
};

static void write_out(const struct world *w, const void *bytes, size_t len)
{
	FILE *file = fopen(w->out, "wb");

	if (!file || fwrite(bytes, 1, len, file) != len || fclose(file))
		abort();
}

/* The numbers behind its first word; how many of them there are to be. */
static void take_numbers(const char *line, uint64_t *ret, unsigned n)
{
	char *at = strchr(line, ' ');

	for (unsigned i = 0; i < n; i++)
		ret[i] = at ? strtoull(at, &at, 10) : 0;
}

static int read_some(const struct world *w, size_t len, uint64_t off)
{
	void *buf wfs_autofree = wfs_malloc(len + 1);
	int rc = wfs_region_read_exactly(w->region, buf, len, off);

	if (!rc)
		write_out(w, buf, len);
	return rc;
}

static int land_some(const struct world *w, uint64_t at, size_t len,
		     uint64_t off)
{
	struct wfs_landing landing = { .ring = w->ring, .at = at };
	int rc;

	memset(w->bytes, 0x5a, RING_BYTES);
	rc = wfs_region_land(w->region, &landing, len, off);
	write_out(w, w->bytes, RING_BYTES);
	return rc;
}

static void obey(struct world *w, const char *line)
{
	struct wfs_text text = { 0 };
	uint64_t n[3];
	int rc = -EINVAL;

	if (!strncmp(line, "read ", 5)) {
		take_numbers(line, n, 2);
		rc = read_some(w, n[0], n[1]);
	} else if (!strncmp(line, "land ", 5)) {
		take_numbers(line, n, 3);
		rc = land_some(w, n[0], n[1], n[2]);
	} else if (!strcmp(line, "end\n")) {
		wfs_landing_ring_end(w->ring);
		wfs_landing_ring_put(wfs_steal_ptr(&w->ring));
		rc = 0;
	} else if (!strcmp(line, "stats\n")) {
		wfs_remote_report(w->remote, &text);
		for (char *c = text.data; *c; c++)
			if (*c == '\n')
				*c = ' ';
		printf("%s\n", text.data);
		free(text.data);
		return;
	}
	printf("%d\n", rc);
}

/* What its files are comes a little later than that it is there. */
static struct wfs_source *find_model(struct wfs_remote *remote,
				     struct wfs_err *err)
{
	uint64_t until = wfs_now_ns() + FIRST_NS;
	struct wfs_remote_model *models;
	struct wfs_source *source = NULL;
	size_t n;

	do {
		usleep(10000);
		n = wfs_remote_models(remote, &models);
		wfs_remote_models_free(models, n);
	} while (wfs_remote_source(remote, "m", &source, err) &&
		 wfs_now_ns() < until);
	return source;
}

int main(int argc, char **argv)
{
	const char *seeds[] = { argc == 4 ? argv[1] : "" };
	const struct wfs_remote_config config = { .seeds = seeds,
						  .seed_count = 1,
						  .fabric = &wfs_rdma_fabric,
						  .lanes = 2 };
	const struct wfs_source_entry *entry;
	struct wfs_source *source;
	struct wfs_err err = { 0 };
	struct world w = { .out = argv[argc - 1] };
	char line[256];
	int fd;

	if (argc != 4)
		return 2;
	must(wfs_remote_open(&config, &w.remote, &err), &err);
	wfs_remote_first(w.remote, FIRST_NS, false, tell, NULL);
	source = find_model(w.remote, &err);
	must(source ? 0 : -ENOENT, &err);
	entry = wfs_source_entry_of(source, argv[2]);
	fd = memfd_create("FAKE device memory", MFD_CLOEXEC);
	if (!entry || fd < 0 || ftruncate(fd, RING_BYTES))
		return 1;
	w.region = entry->region;
	w.bytes = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       0);
	if (w.bytes == MAP_FAILED)
		return 1;
	w.ring = wfs_landing_ring_new(fd, ADDRESS, RING_BYTES);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%" PRIu64 "\n", w.region->size);
	while (fgets(line, sizeof(line), stdin))
		obey(&w, line);
	wfs_remote_stop(w.remote);
	wfs_landing_ring_put(w.ring);
	wfs_source_put(source);
	wfs_remote_close(w.remote);
	return 0;
}
