/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures of seeds as metrics: a sample for each seed, or each way to it,
 * and those of a family together; a copy is one of these ways, of its own.
 */
#include "core/base/metric.h"
#include "transport/remote/inner.h"

#define PREFIX "weightfs_remote_"

typedef unsigned long long ull;

enum figure {
	UP,
	QUARANTINE,
	LENT_FILES,
	LENT_BYTES,
	OF_WAYS, /* from here on each way to a seed has its own */
	CONNECTIONS = OF_WAYS,
	RATE,
	COUNTERS, /* from here on */
	BYTES = COUNTERS,
	CHUNKS,
	ERRORS,
	WRONG,
	HEDGES,
	HEDGES_WON,
	FIGURES,
};

static const struct {
	const char *name, *help;
} figures[FIGURES] = {
	[UP] = { "up", "1 if the seed answers." },
	[QUARANTINE] = { "quarantine_seconds",
			 "Left of the time that the seed is not asked." },
	[LENT_FILES] = { "lent_files", "Files that the seed lends." },
	[LENT_BYTES] = { "lent_bytes", "Bytes of the files that it lends." },
	[CONNECTIONS] = { "connections", "Connections to the seed." },
	[RATE] = { "bytes_per_second", "What the seed gave lately." },
	[BYTES] = { "bytes", "Bytes of chunks that the seed sent." },
	[CHUNKS] = { "chunks", "Chunks that the seed sent." },
	[ERRORS] = { "errors", "Connections and answers that failed." },
	[WRONG] = { "wrong_chunks", "Chunks that had another digest." },
	[HEDGES] = { "hedges",
		     "Late chunks that the seed was asked for, too." },
	[HEDGES_WON] = { "hedges_won", "Of these, what it sent first." },
};

/* A way to a seed; the first of a seed has the figures of both, too. */
struct row {
	const char *seed; /* its label */
	const char *way;
	bool first;
	uint64_t values[FIGURES];
};

struct rows {
	struct row *row;
	size_t count;
};

static struct row *add_row(struct rows *rows, const char *seed, const char *way,
			   bool first)
{
	struct row *row;

	rows->row = wfs_realloc(rows->row, (rows->count + 1) * sizeof(*row));
	row = &rows->row[rows->count++];
	*row = (struct row){ .seed = seed, .way = way, .first = first };
	return row;
}

static void take_peer(struct row *row, const struct wfs_peer_stats *stats)
{
	row->values[CONNECTIONS] = stats->lanes;
	row->values[RATE] = stats->rate;
	row->values[BYTES] = stats->bytes;
	row->values[CHUNKS] = stats->chunks;
	row->values[ERRORS] = stats->errors;
	row->values[WRONG] = stats->wrong;
	row->values[HEDGES] = stats->hedges;
	row->values[HEDGES_WON] = stats->won;
}

static void take_seed(struct rows *rows, const struct remote_seed *seed)
{
	const char *label = seed->link->label;
	struct row *row = add_row(rows, label, "tcp", true);
	struct wfs_peer_stats stats;

	wfs_peer_stats(seed->peer, &stats);
	take_peer(row, &stats);
	row->values[UP] = seed->up && !stats.down;
	/* Rounded up: 0 is none. */
	row->values[QUARANTINE] =
		(uint64_t)stats.quarantine_s + (stats.quarantine_s > 0);
	row->values[LENT_FILES] = seed->lent_files;
	row->values[LENT_BYTES] = seed->lent_bytes;
	if (!seed->fast)
		return;
	wfs_peer_stats(seed->fast, &stats);
	take_peer(add_row(rows, label, "rdma", false), &stats);
}

static void take_copy(struct rows *rows, const struct wfs_remote_copy *copy)
{
	struct wfs_peer_stats stats;

	if (!copy->peer)
		return;
	wfs_peer_stats(copy->peer, &stats);
	take_peer(add_row(rows, copy->label, copy->kind, false), &stats);
}

static void add_family(struct wfs_text *text, enum wfs_metric_form form,
		       enum figure figure, const struct rows *rows)
{
	bool counter = figure >= COUNTERS;
	const char *name = figures[figure].name;
	char *sample wfs_autofree =
		wfs_asprintf("%s%s", name, counter ? "_total" : "");

	wfs_metric_family(text, PREFIX, form == WFS_METRIC_OPEN ? name : sample,
			  counter ? "counter" : "gauge", figures[figure].help);
	for (size_t i = 0; i < rows->count; i++) {
		const struct row *row = &rows->row[i];

		if (figure < OF_WAYS && !row->first)
			continue;
		wfs_text_add(text, PREFIX "%s{seed=\"", sample);
		wfs_metric_label(text, row->seed);
		if (figure >= OF_WAYS)
			wfs_text_add(text, "\",way=\"%s", row->way);
		wfs_text_add(text, "\"} %llu\n", (ull)row->values[figure]);
	}
}

static void measure_fast(struct wfs_remote *remote, enum wfs_metric_form form,
			 struct wfs_text *text)
{
	const char **labels wfs_autofree =
		wfs_calloc(remote->seed_count + 1, sizeof(*labels));
	void **peers wfs_autofree =
		wfs_calloc(remote->seed_count + 1, sizeof(*peers));
	size_t n = 0;

	for (size_t i = 0; i < remote->seed_count; i++) {
		const struct remote_seed *seed = remote->seeds[i];

		if (!seed->fast)
			continue;
		peers[n] = seed->fast_ctx;
		labels[n++] = seed->link->label;
	}
	if (n)
		remote->fabric.measure(peers, labels, n, form, text);
}

void wfs_remote_measure(struct wfs_remote *remote, enum wfs_metric_form form,
			struct wfs_text *text)
{
	struct rows rows = { 0 };

	pthread_mutex_lock(&remote->lock);
	for (size_t i = 0; i < remote->seed_count; i++)
		take_seed(&rows, remote->seeds[i]);
	for (const struct wfs_remote_copy *c = remote->copies; c; c = c->next)
		take_copy(&rows, c);
	for (int f = 0; f < FIGURES; f++)
		add_family(text, form, (enum figure)f, &rows);
	measure_fast(remote, form, text);
	pthread_mutex_unlock(&remote->lock);
	free(rows.row);
}
