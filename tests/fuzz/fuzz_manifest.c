/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds the parsers of what seeds say of their models.  Whatever they accept
 * must be sorted, without repeats, and lead nowhere else.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "transport/remote/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth)
{
	if (!truth)
		abort();
}

static char *copy(const uint8_t *data, size_t size)
{
	char *text = wfs_malloc(size + WFS_JSON_PADDING);

	memcpy(text, data, size);
	return text;
}

/* Ranks ascend, each has a file, and no other rank has. */
static void check_workers(const struct wfs_manifest *m)
{
	const struct wfs_workers *w = m->workers;
	uint32_t rank;

	must(w->live.rank_count > 0 && w->live.rank_count <= w->world);
	must(w->tp > 0 && w->world % w->tp == 0);
	for (size_t i = 0; i < w->live.rank_count; i++) {
		must(!i || w->ranks[i - 1] < w->ranks[i]);
		must(w->ranks[i] < w->world);
		must(wfs_workers_origin(w, w->ranks[i]) == &w->origins[i]);
	}
	for (size_t i = 0; i < m->count; i++)
		must(wfs_workers_rank_of(w, m->files[i].path, &rank) ||
		     wfs_workers_origin(w, rank));
}

static void check_manifest(const struct wfs_manifest *m)
{
	uint64_t total = 0;

	must(*m->version != 0);
	for (size_t i = 0; i < m->count; i++) {
		const struct wfs_manifest_file *f = &m->files[i];

		must(!i || strcmp(f[-1].path, f->path) < 0);
		must(f->path[0] && f->path[0] != '/');
		must(strcmp(f->path, "..") && strncmp(f->path, "../", 3) &&
		     !strstr(f->path, "/../") && !strstr(f->path, "//"));
		must(wfs_manifest_find(m, f->path) == f);
		total += f->size;
		must(total <= INT64_MAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wfs_manifest *manifest;
	struct wfs_listing list;
	struct wfs_err err = { 0 };
	char *text = copy(data, size);

	if (wfs_manifest_parse(text, size, "m", &manifest, &err)) {
		must(err.code < 0 && *err.text);
	} else {
		check_manifest(manifest);
		if (manifest->workers)
			check_workers(manifest);
		wfs_manifest_put(manifest);
	}
	free(text);
	text = copy(data, size);
	if (!wfs_listing_parse(text, size, "l", &list, &err)) {
		for (size_t i = 1; i < list.count; i++)
			must(strcmp(list.models[i - 1].name,
				    list.models[i].name) < 0);
		wfs_listing_clear(&list);
	}
	free(text);
	return 0;
}
