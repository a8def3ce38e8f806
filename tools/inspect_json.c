/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same as JSON: one object, written while the tensors are walked.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/inspect.h"

void wfs_inspect_add_name(struct wfs_text *t, const char *name)
{
	const char *nul = strstr(name, "\xc0\x80");

	if (!nul) {
		wfs_text_add_json(t, name);
		return;
	}
	wfs_text_add_bytes(t, "\"", 1);
	for (;; nul = strstr(name, "\xc0\x80")) {
		size_t len = nul ? (size_t)(nul - name) : strlen(name);
		char *part wfs_autofree = wfs_asprintf("%.*s", (int)len, name);
		struct wfs_text quoted = { 0 };

		wfs_text_add_json(&quoted, part);
		wfs_text_add_bytes(t, quoted.data + 1, quoted.len - 2);
		free(quoted.data);
		if (!nul)
			break;
		wfs_text_add(t, "\\u0000");
		name = nul + 2;
	}
	wfs_text_add_bytes(t, "\"", 1);
}

static void add_field(struct wfs_text *t, const char *key, const char *value)
{
	wfs_text_add(t, "\"%s\":", key);
	wfs_text_add_json(t, value);
}

static void add_sum(struct wfs_text *t, const struct wfs_inspect_sum *sum)
{
	wfs_text_add(t,
		     "\"tensors\":%" PRIu64 ",\"elements\":%" PRIu64
		     ",\"bytes\":%" PRIu64,
		     sum->tensors, sum->elements, sum->bytes);
}

static void add_tensor(struct wfs_text *t, const struct wfs_inspect *in,
		       const struct wfs_rank *rank,
		       const struct wfs_tensor *tensor)
{
	wfs_text_add(t, "{\"name\":");
	wfs_inspect_add_name(t, tensor->name);
	wfs_text_add(t, ",");
	add_field(t, "file_name", tensor->file_name);
	wfs_text_add(t, ",");
	add_field(t, "rank", rank->name);
	wfs_text_add(t, ",\"dtype\":\"%s\",\"shape\":[",
		     wfs_dtype_name((enum wfs_dtype)tensor->dtype));
	for (unsigned i = 0; i < tensor->ndim; i++)
		wfs_text_add(t, "%s%" PRIu64, i ? "," : "", tensor->shape[i]);
	wfs_text_add(t, "],\"bytes\":%" PRIu64 ",\"offset\":%" PRIu64 ",",
		     tensor->size, tensor->off);
	add_field(t, "file", wfs_inspect_file(in, tensor->shard));
	wfs_text_add(t, "}");
}

static void add_tensors(struct wfs_text *t, const struct wfs_inspect *in)
{
	const char *comma = "";

	wfs_text_add(t, ",\"tensors\":[");
	for (uint32_t r = 0; r < in->model->rank_count; r++) {
		const struct wfs_rank *rank = &in->model->ranks[r];

		for (uint32_t i = 0; i < rank->count; i++) {
			wfs_text_add(t, "%s", comma);
			add_tensor(t, in, rank, &rank->tensors[i]);
			comma = ",";
		}
	}
	wfs_text_add(t, "]");
}

static void add_ranks(struct wfs_text *t, const struct wfs_inspect *in)
{
	wfs_text_add(t, ",\"ranks\":[");
	for (uint32_t r = 0; r < in->model->rank_count; r++) {
		const struct wfs_rank *rank = &in->model->ranks[r];

		wfs_text_add(t, "%s{", r ? "," : "");
		add_field(t, "name", rank->name);
		wfs_text_add(t, ",\"tensors\":%" PRIu32 ",\"bytes\":%" PRIu64,
			     rank->count, rank->bytes);
		wfs_text_add(t, "}");
	}
	wfs_text_add(t, "]");
}

static void add_files(struct wfs_text *t, const struct wfs_inspect *in)
{
	const char *comma = "";

	wfs_text_add(t, ",\"files\":[");
	for (uint32_t i = 0; i < in->model->entry_count; i++) {
		const struct wfs_model_entry *e = &in->model->entries[i];

		if (e->is_dir)
			continue;
		wfs_text_add(t, "%s{", comma);
		add_field(t, "path", e->region->path);
		wfs_text_add(t, ",\"bytes\":%" PRIu64 ",\"tensors\":%" PRIu64,
			     e->region->size, in->file[i].tensors);
		wfs_text_add(t, "}");
		comma = ",";
	}
	wfs_text_add(t, "]");
}

static void add_dtypes(struct wfs_text *t, const struct wfs_inspect *in)
{
	const char *comma = "";

	wfs_text_add(t, ",\"dtypes\":{");
	for (int d = 0; d < WFS_DTYPE_COUNT; d++) {
		if (!in->dtype[d].tensors)
			continue;
		wfs_text_add(t, "%s\"%s\":{", comma,
			     wfs_dtype_name((enum wfs_dtype)d));
		add_sum(t, &in->dtype[d]);
		wfs_text_add(t, "}");
		comma = ",";
	}
	wfs_text_add(t, "}");
}

void wfs_inspect_print_json(const struct wfs_inspect *in, bool tensors)
{
	const struct wfs_model *m = in->model;
	struct wfs_text t = { 0 };

	wfs_text_add(&t, "{");
	add_field(&t, "path", in->path);
	wfs_text_add(&t, ",");
	add_field(&t, "format", wfs_model_format_name(m->format));
	wfs_text_add(&t, ",\"file_bytes\":%" PRIu64, m->file_bytes);
	wfs_text_add(&t, ",\"total\":{");
	add_sum(&t, &in->all);
	wfs_text_add(&t, "}");
	add_dtypes(&t, in);
	add_ranks(&t, in);
	add_files(&t, in);
	if (tensors)
		add_tensors(&t, in);
	wfs_text_add(&t, "}\n");
	fwrite(t.data, 1, t.len, stdout);
	free(t.data);
}
