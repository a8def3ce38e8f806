/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See report.h.  Both reports are made from one snapshot.
 */
#include "fs/report.h"

#include <string.h>
#include <unistd.h>

#include "core/base/metric.h"
#include "core/live.h"
#include "fs/state.h"

#define PREFIX "weightfs_"

typedef unsigned long long ull;

struct snapshot {
	struct wfs_store_stats store;
	struct wfs_chunks_stats chunks;
	struct wfs_registry_row *rows;
	size_t row_count;
	uint64_t open_cached, open_passthrough;
	uint64_t source_errors, stale;
};

static void snapshot_take(struct wfs_fs *fs, struct snapshot *s)
{
	memset(s, 0, sizeof(*s));
	if (fs->store)
		wfs_store_stats(fs->store, &s->store);
	if (fs->config.chunks)
		wfs_chunks_stats(fs->config.chunks, &s->chunks);
	s->row_count = wfs_registry_rows(fs->registry, &s->rows);
	wfs_modes_count(fs->modes, &s->open_cached, &s->open_passthrough);
	for (size_t i = 0; i < s->row_count; i++) {
		s->source_errors +=
			atomic_load(&s->rows[i].model->source->errors);
		s->stale += s->rows[i].stale;
	}
}

static void snapshot_drop(struct snapshot *s)
{
	wfs_registry_rows_free(s->rows, s->row_count);
}

static const char *state_name(const struct wfs_registry_row *row)
{
	if (!row->named)
		return "old";
	if (row->stale)
		return "stale";
	return row->switching ? "switching" : "serving";
}

static uint64_t row_tensors(const struct wfs_registry_row *row)
{
	uint64_t n = 0;

	for (uint32_t r = 0; r < row->model->rank_count; r++)
		n += row->model->ranks[r].count;
	return n;
}

static uint64_t row_resident(struct wfs_fs *fs,
			     const struct wfs_registry_row *row)
{
	if (!fs->store)
		return 0;
	return wfs_store_resident_bytes(fs->store, WFS_INO_SLOT_MASK,
					wfs_ino_make(row->slot, 0, 0, 0));
}

static void status_model(struct wfs_fs *fs, struct wfs_text *t,
			 const struct wfs_registry_row *row)
{
	const struct wfs_model *m = row->model;

	wfs_text_add(t, "    {\"name\": ");
	wfs_text_add_json(t, row->name);
	wfs_text_add(t, ", \"path\": ");
	wfs_text_add_json(t, m->source->label);
	wfs_text_add(t,
		     ", \"format\": \"%s\", \"state\": \"%s\", "
		     "\"trust\": \"%s\", \"ranks\": %u, "
		     "\"tensors\": %llu, \"files\": %u, "
		     "\"file_bytes\": %llu, \"tensor_bytes\": %llu, "
		     "\"resident_bytes\": %llu, \"source_bytes\": %llu, "
		     "\"opens\": %u, \"live\": ",
		     wfs_model_format_name(m->format), state_name(row),
		     wfs_trust_name(wfs_source_trust(m->source)), m->rank_count,
		     (ull)row_tensors(row), m->entry_count - m->dir_count,
		     (ull)m->file_bytes, (ull)m->tensor_bytes,
		     (ull)row_resident(fs, row),
		     (ull)atomic_load(&m->source->bytes_read), row->opens);
	if (m->source->live)
		wfs_live_add(m->source->live, t);
	else
		wfs_text_add(t, "null");
	wfs_text_add(t, "}");
}

static void status_arena(struct wfs_fs *fs, struct wfs_text *t,
			 const struct wfs_store_stats *st)
{
	wfs_text_add(t, "  \"arena\": {\"in_use\": %s, \"why\": ",
		     fs->store ? "true" : "false");
	wfs_text_add_json(t, fs->store ? "" : fs->store_why);
	wfs_text_add(t,
		     ", \"bytes\": %llu, \"used\": %llu, \"huge\": %s, "
		     "\"resident_bytes\": %llu, \"resident_files\": %llu, "
		     "\"pinned_files\": %llu},\n",
		     (ull)st->arena_bytes, (ull)st->arena_used,
		     st->huge ? "true" : "false", (ull)st->resident_bytes,
		     (ull)st->resident_files, (ull)st->pinned_files);
}

static void status_chunks(struct wfs_text *t, const struct wfs_chunks_stats *st)
{
	wfs_text_add(t,
		     "  \"chunk_cache\": {\"bytes\": %llu, "
		     "\"memory\": %llu, \"chunks\": %llu, "
		     "\"fetched_bytes\": %llu, \"held_bytes\": %llu, "
		     "\"served_bytes\": %llu, "
		     "\"waited\": %llu, \"evicted\": %llu},\n",
		     (ull)st->bytes, (ull)st->memory, (ull)st->kept,
		     (ull)st->fetched, (ull)st->held, (ull)st->served,
		     (ull)st->waited, (ull)st->evicted);
}

static void status_fills(struct wfs_fs *fs, struct wfs_text *t)
{
	struct wfs_counters *c = &fs->counters;

	wfs_text_add(t,
		     "  \"fills\": {\"count\": %llu, \"bytes\": %llu, "
		     "\"errors\": %llu, \"slots\": %u},\n",
		     (ull)atomic_load(&c->fills),
		     (ull)atomic_load(&c->fill_bytes),
		     (ull)atomic_load(&c->fill_errors),
		     wfs_slots_count(fs->slots));
}

static void status_numbers(struct wfs_fs *fs, struct wfs_text *t,
			   const struct snapshot *s)
{
	struct wfs_counters *c = &fs->counters;
	const struct wfs_store_stats *st = &s->store;
	ull open = s->open_cached + s->open_passthrough;

	wfs_text_add(t, "  \"open_files\": %llu,\n", open);
	wfs_text_add(t,
		     "  \"opens\": {\"passthrough\": %llu, \"cached\": %llu, "
		     "\"waited\": %llu, \"refused\": %llu},\n",
		     (ull)atomic_load(&c->opens_passthrough),
		     (ull)atomic_load(&c->opens_cached),
		     (ull)atomic_load(&c->opens_waited),
		     (ull)atomic_load(&c->opens_refused));
	wfs_text_add(t,
		     "  \"reads\": {\"count\": %llu, \"bytes\": %llu, "
		     "\"errors\": %llu},\n",
		     (ull)atomic_load(&c->reads),
		     (ull)atomic_load(&c->read_bytes),
		     (ull)atomic_load(&c->read_errors));
	status_fills(fs, t);
	wfs_text_add(t,
		     "  \"hydration\": {\"files\": %llu, \"bytes\": %llu, "
		     "\"failed\": %llu, \"evicted_files\": %llu, "
		     "\"evicted_bytes\": %llu, \"no_room\": %llu, "
		     "\"copy_bytes_per_s\": %llu, \"copied_bytes\": %llu, "
		     "\"queued_files\": %llu, \"queued_bytes\": %llu},\n",
		     (ull)st->hydrated_files, (ull)st->hydrated_bytes,
		     (ull)st->failed, (ull)st->evicted_files,
		     (ull)st->evicted_bytes, (ull)st->refused,
		     (ull)st->copy_rate, (ull)st->copied_bytes,
		     (ull)st->queued_files, (ull)st->queued_bytes);
	wfs_text_add(t,
		     "  \"prefetch\": {\"window\": %llu, \"files\": %llu, "
		     "\"bytes\": %llu, \"queued\": %llu},\n",
		     (ull)fs->config.prefetch, (ull)st->prefetched_files,
		     (ull)st->prefetched_bytes, (ull)st->prefetch_queued);
	wfs_text_add(t, "  \"errors\": {\"source\": %llu, \"stale\": %llu}\n",
		     (ull)s->source_errors, (ull)s->stale);
}

void wfs_report_status(struct wfs_fs *fs, struct wfs_text *t)
{
	struct snapshot s;

	snapshot_take(fs, &s);
	wfs_text_add(t, "{\n  \"version\": \"%s\", \"pid\": %d,\n", WFS_VERSION,
		     (int)getpid());
	wfs_text_add(t, "  \"mountpoint\": ");
	wfs_text_add_json(t, fs->mountpoint);
	wfs_text_add(t, ", \"uptime_s\": %.1f,\n",
		     (double)(wfs_now_ns() - fs->started_ns) / 1e9);
	wfs_text_add(t, "  \"passthrough\": {\"in_use\": %s, \"why\": ",
		     wfs_fs_passthrough(fs) ? "true" : "false");
	wfs_text_add_json(t, wfs_backing_why(fs->backing));
	wfs_text_add(t, "},\n");
	status_arena(fs, t, &s.store);
	status_chunks(t, &s.chunks);
	wfs_text_add(t, "  \"models\": [\n");
	for (size_t i = 0; i < s.row_count; i++) {
		status_model(fs, t, &s.rows[i]);
		wfs_text_add(t, i + 1 < s.row_count ? ",\n" : "\n");
	}
	wfs_text_add(t, "  ],\n");
	if (fs->config.report_seeds) {
		wfs_text_add(t, "  \"seeds\": ");
		fs->config.report_seeds(fs->config.report_ctx, t);
		wfs_text_add(t, ",\n");
	}
	status_numbers(fs, t, &s);
	wfs_text_add(t, "}\n");
	snapshot_drop(&s);
}

static void metric(struct wfs_text *t, const char *name, const char *type,
		   const char *help, uint64_t value)
{
	wfs_metric_family(t, PREFIX, name, type, help);
	wfs_text_add(t, PREFIX "%s %llu\n", name, (ull)value);
}

static void per_model(struct wfs_fs *fs, struct wfs_text *t,
		      const struct snapshot *s)
{
	wfs_metric_family(t, PREFIX, "model_bytes", "gauge",
			  "Bytes of the checkpoint's files.");
	for (size_t i = 0; i < s->row_count; i++) {
		if (!s->rows[i].named)
			continue;
		wfs_text_add(t, "weightfs_model_bytes{model=\"");
		wfs_metric_label(t, s->rows[i].name);
		wfs_text_add(t, "\"} %llu\n",
			     (ull)s->rows[i].model->file_bytes);
	}
	wfs_metric_family(t, PREFIX, "model_resident_bytes", "gauge",
			  "Bytes of the model in the arena.");
	for (size_t i = 0; i < s->row_count; i++) {
		if (!s->rows[i].named)
			continue;
		wfs_text_add(t, "weightfs_model_resident_bytes{model=\"");
		wfs_metric_label(t, s->rows[i].name);
		wfs_text_add(t, "\"} %llu\n",
			     (ull)row_resident(fs, &s->rows[i]));
	}
	wfs_metric_family(t, PREFIX, "source_read_bytes", "counter",
			  "Bytes read of the checkpoint's files, also for its "
			  "layouts.");
	for (size_t i = 0; i < s->row_count; i++) {
		const struct wfs_model *m = s->rows[i].model;

		if (!s->rows[i].named || m->virtual)
			continue;
		wfs_text_add(t, "weightfs_source_read_bytes{model=\"");
		wfs_metric_label(t, s->rows[i].name);
		wfs_text_add(t, "\"} %llu\n",
			     (ull)atomic_load(&m->source->bytes_read));
	}
}

static void store_metrics(struct wfs_text *t, const struct wfs_store_stats *st)
{
	metric(t, "arena_bytes", "gauge", "Bound of the arena.",
	       st->arena_bytes);
	metric(t, "arena_used_bytes", "gauge", "Bytes used in the arena.",
	       st->arena_used);
	metric(t, "resident_files", "gauge", "Files whole in the arena.",
	       st->resident_files);
	metric(t, "pinned_files", "gauge", "Files in the arena and in use.",
	       st->pinned_files);
	metric(t, "hydrated_bytes_total", "counter", "Bytes hydrated.",
	       st->hydrated_bytes);
	metric(t, "hydrated_files_total", "counter", "Files hydrated.",
	       st->hydrated_files);
	metric(t, "hydration_copied_bytes_total", "counter",
	       "Bytes copied, also of files that are not whole yet.",
	       st->copied_bytes);
	metric(t, "hydration_queued_files", "gauge",
	       "Hydrations that wait for a thread.", st->queued_files);
	metric(t, "hydration_queued_bytes", "gauge",
	       "Bytes that these have left to copy.", st->queued_bytes);
	metric(t, "hydration_failures_total", "counter",
	       "Hydrations that failed.", st->failed);
	metric(t, "prefetched_bytes_total", "counter",
	       "Bytes hydrated before anybody wanted them.",
	       st->prefetched_bytes);
	metric(t, "prefetch_queued_files", "gauge",
	       "Files that are to be hydrated when nothing is wanted.",
	       st->prefetch_queued);
	metric(t, "evicted_bytes_total", "counter", "Bytes evicted.",
	       st->evicted_bytes);
	metric(t, "no_room_total", "counter",
	       "Hydrations refused for want of room.", st->refused);
}

static void chunk_metrics(struct wfs_text *t, const struct wfs_chunks_stats *st)
{
	metric(t, "chunk_cache_bytes", "gauge", "Bound of the chunk cache.",
	       st->bytes);
	metric(t, "chunk_cache_used_bytes", "gauge",
	       "Memory that the chunk cache has.", st->memory);
	metric(t, "chunk_cache_fetched_bytes_total", "counter",
	       "Bytes that the chunk cache asked of sources.", st->fetched);
	metric(t, "chunk_cache_held_bytes_total", "counter",
	       "Bytes that were copied from the arena instead.", st->held);
	metric(t, "chunk_cache_served_bytes_total", "counter",
	       "Bytes that the chunk cache gave to readers.", st->served);
	metric(t, "chunk_cache_evicted_total", "counter",
	       "Chunks that went before all ranks had had them.", st->evicted);
}

void wfs_report_stats(struct wfs_fs *fs, struct wfs_text *t)
{
	struct wfs_counters *c = &fs->counters;
	struct snapshot s;

	snapshot_take(fs, &s);
	metric(t, "passthrough", "gauge", "1 if passthrough is in use.",
	       wfs_fs_passthrough(fs));
	metric(t, "models", "gauge", "Models served.", s.row_count);
	metric(t, "open_files", "gauge", "Files open now.",
	       s.open_cached + s.open_passthrough);
	metric(t, "opens_passthrough_total", "counter",
	       "Opens answered with passthrough.",
	       atomic_load(&c->opens_passthrough));
	metric(t, "opens_cached_total", "counter",
	       "Opens answered in cached mode.", atomic_load(&c->opens_cached));
	metric(t, "opens_waited_total", "counter",
	       "Opens that waited for a hydration.",
	       atomic_load(&c->opens_waited));
	metric(t, "opens_refused_total", "counter",
	       "Opens answered with an error.", atomic_load(&c->opens_refused));
	metric(t, "reads_total", "counter",
	       "Reads that the daemon answered itself.",
	       atomic_load(&c->reads));
	metric(t, "read_bytes_total", "counter",
	       "Bytes that the daemon answered itself.",
	       atomic_load(&c->read_bytes));
	metric(t, "read_errors_total", "counter",
	       "Reads answered with an error.", atomic_load(&c->read_errors));
	metric(t, "fills_total", "counter", "Calls to fill memory of readers.",
	       atomic_load(&c->fills));
	metric(t, "fill_bytes_total", "counter",
	       "Bytes that were put into memory of readers.",
	       atomic_load(&c->fill_bytes));
	metric(t, "fill_errors_total", "counter",
	       "Calls to fill memory that failed.",
	       atomic_load(&c->fill_errors));
	metric(t, "source_errors", "gauge",
	       "Failed reads of the sources of the models served.",
	       s.source_errors);
	store_metrics(t, &s.store);
	chunk_metrics(t, &s.chunks);
	per_model(fs, t, &s);
	if (fs->config.measure_seeds)
		fs->config.measure_seeds(fs->config.report_ctx, t);
	snapshot_drop(&s);
}

void wfs_report_version(struct wfs_text *t)
{
	wfs_text_add(t, "weightfs %s\n", WFS_VERSION);
}
