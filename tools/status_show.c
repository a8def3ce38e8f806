/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See status_show.h.
 */
#include "tools/status_show.h"

#include <stdlib.h>

#include "core/base/text.h"
#include "tools/ask.h"
#include "tools/grid.h"

typedef unsigned long long ull;

/* "2 h 3 min", "14 s" */
static char *uptime(double seconds, char *buf, size_t size)
{
	ull s = (ull)seconds;

	if (s >= 86400)
		snprintf(buf, size, "%llu d %llu h", s / 86400,
			 s % 86400 / 3600);
	else if (s >= 3600)
		snprintf(buf, size, "%llu h %llu min", s / 3600, s % 3600 / 60);
	else if (s >= 60)
		snprintf(buf, size, "%llu min %llu s", s / 60, s % 60);
	else
		snprintf(buf, size, "%llu s", s);
	return buf;
}

static void print_arena(FILE *out, yyjson_val *arena)
{
	char used[32], all[32];

	if (!wfs_json_true(arena, "in_use")) {
		fprintf(out, "  arena        none: %s\n",
			wfs_json_text(arena, "why"));
		return;
	}
	fprintf(out,
		"  arena        %s of %s used, %llu files in it, %llu of them "
		"in use%s\n",
		wfs_size_format(wfs_json_number(arena, "used"), used,
				sizeof(used)),
		wfs_size_format(wfs_json_number(arena, "bytes"), all,
				sizeof(all)),
		(ull)wfs_json_number(arena, "resident_files"),
		(ull)wfs_json_number(arena, "pinned_files"),
		wfs_json_true(arena, "huge") ? "" : ", no huge pages");
}

static void print_served(FILE *out, yyjson_val *root)
{
	yyjson_val *pass = yyjson_obj_get(root, "passthrough");
	yyjson_val *opens = yyjson_obj_get(root, "opens");
	yyjson_val *reads = yyjson_obj_get(root, "reads");
	char bytes[32];

	if (wfs_json_true(pass, "in_use"))
		fprintf(out, "  passthrough  in use\n");
	else
		fprintf(out, "  passthrough  not in use: %s\n",
			wfs_json_text(pass, "why"));
	print_arena(out, yyjson_obj_get(root, "arena"));
	fprintf(out,
		"  opens        %llu passthrough, %llu cached; %llu waited, "
		"%llu refused; %llu files open now\n",
		(ull)wfs_json_number(opens, "passthrough"),
		(ull)wfs_json_number(opens, "cached"),
		(ull)wfs_json_number(opens, "waited"),
		(ull)wfs_json_number(opens, "refused"),
		(ull)wfs_json_number(root, "open_files"));
	fprintf(out,
		"  reads        %llu answered by the daemon (%s), %llu errors\n",
		(ull)wfs_json_number(reads, "count"),
		wfs_size_format(wfs_json_number(reads, "bytes"), bytes,
				sizeof(bytes)),
		(ull)wfs_json_number(reads, "errors"));
}

/* What is under way; `rate` in bytes a second. */
static void print_copying(FILE *out, yyjson_val *root, const uint64_t *rate)
{
	yyjson_val *h = yyjson_obj_get(root, "hydration");
	yyjson_val *arena = yyjson_obj_get(root, "arena");
	char copied[32], speed[32], queued[32], resident[32];

	if (!wfs_json_true(arena, "in_use"))
		return;
	fprintf(out, "  copied       %s",
		wfs_size_format(wfs_json_number(h, "copied_bytes"), copied,
				sizeof(copied)));
	if (rate)
		fprintf(out, ", %s/s now",
			wfs_size_format(*rate, speed, sizeof(speed)));
	fprintf(out, "; %llu files (%s) queued, %s resident\n",
		(ull)wfs_json_number(h, "queued_files"),
		wfs_size_format(wfs_json_number(h, "queued_bytes"), queued,
				sizeof(queued)),
		wfs_size_format(wfs_json_number(arena, "resident_bytes"),
				resident, sizeof(resident)));
}

static void print_hydration(FILE *out, yyjson_val *root)
{
	yyjson_val *h = yyjson_obj_get(root, "hydration");
	yyjson_val *errors = yyjson_obj_get(root, "errors");
	char in[32], gone[32];

	fprintf(out,
		"  hydration    %llu files (%s) in, %llu (%s) evicted, %llu "
		"without room, %llu failed\n",
		(ull)wfs_json_number(h, "files"),
		wfs_size_format(wfs_json_number(h, "bytes"), in, sizeof(in)),
		(ull)wfs_json_number(h, "evicted_files"),
		wfs_size_format(wfs_json_number(h, "evicted_bytes"), gone,
				sizeof(gone)),
		(ull)wfs_json_number(h, "no_room"),
		(ull)wfs_json_number(h, "failed"));
	fprintf(out,
		"  errors       %llu reads of sources failed, %llu models "
		"rewritten in place\n",
		(ull)wfs_json_number(errors, "source"),
		(ull)wfs_json_number(errors, "stale"));
}

/* "vllm 0.32, tp4, epoch 3, version 'v1'" */
static void describe_live(struct wfs_text *text, yyjson_val *live)
{
	const char *version = wfs_json_text(live, "engine_version");
	const char *declared = wfs_json_text(live, "declared");
	const char *state = wfs_json_text(live, "state");

	wfs_text_add(text, "%s%s%s, %s, epoch %llu",
		     wfs_json_text(live, "engine"), *version ? " " : "",
		     version, wfs_json_text(live, "layout"),
		     (ull)wfs_json_number(live, "epoch"));
	if (*declared)
		wfs_text_add(text, ", version '%s'", declared);
	if (*state)
		wfs_text_add(text, ", as %s", state);
}

static void print_engines(FILE *out, yyjson_val *models)
{
	yyjson_arr_iter iter;
	yyjson_val *m;

	yyjson_arr_iter_init(models, &iter);
	while ((m = yyjson_arr_iter_next(&iter))) {
		yyjson_val *live = yyjson_obj_get(m, "live");
		struct wfs_text text = { 0 };

		if (!yyjson_is_obj(live))
			continue;
		describe_live(&text, live);
		fprintf(out, "  %s is what an engine has in memory: %s\n",
			wfs_json_text(m, "name"), text.data);
		free(text.data);
	}
}

static void print_models(FILE *out, yyjson_val *models)
{
	static const char *const heads[] = {
		"MODEL", "FORMAT",   "RANKS", "TENSORS", "FILES",
		"BYTES", "RESIDENT", "OPEN",  "TRUST",	 "STATE",
	};
	struct wfs_grid grid = { .columns = "llrrrrrrll" };
	yyjson_arr_iter iter;
	yyjson_val *m;

	if (!yyjson_arr_size(models)) {
		fprintf(out, "\n  no models\n");
		return;
	}
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		wfs_grid_add(&grid, "%s", heads[i]);
	yyjson_arr_iter_init(models, &iter);
	while ((m = yyjson_arr_iter_next(&iter))) {
		wfs_grid_add(&grid, "%s", wfs_json_text(m, "name"));
		wfs_grid_add(&grid, "%s", wfs_json_text(m, "format"));
		wfs_grid_add(&grid, "%llu", (ull)wfs_json_number(m, "ranks"));
		wfs_grid_add(&grid, "%llu", (ull)wfs_json_number(m, "tensors"));
		wfs_grid_add(&grid, "%llu", (ull)wfs_json_number(m, "files"));
		wfs_grid_add_size(&grid, wfs_json_number(m, "file_bytes"));
		wfs_grid_add_size(&grid, wfs_json_number(m, "resident_bytes"));
		wfs_grid_add(&grid, "%llu", (ull)wfs_json_number(m, "opens"));
		wfs_grid_add(&grid, "%s", wfs_json_text(m, "trust"));
		wfs_grid_add(&grid, "%s", wfs_json_text(m, "state"));
	}
	fprintf(out, "\n");
	wfs_grid_finish(&grid, "  ", out);
	print_engines(out, models);
}

/* Of a seed, or of the faster way to it. */
static void add_way(struct wfs_grid *grid, const char *name, yyjson_val *way)
{
	wfs_grid_add(grid, "%s", name);
	wfs_grid_add(grid, "%s", wfs_json_text(way, "state"));
	wfs_grid_add_size(grid, wfs_json_number(way, "bytes_per_s"));
	wfs_grid_add_size(grid, wfs_json_number(way, "bytes"));
	wfs_grid_add(grid, "%llu", (ull)wfs_json_number(way, "errors"));
	wfs_grid_add(grid, "%llu", (ull)wfs_json_number(way, "wrong"));
	wfs_grid_add(grid, "%llu", (ull)wfs_json_number(way, "hedges"));
	wfs_grid_add(grid, "%llu", (ull)wfs_json_number(way, "hedges_won"));
}

/* How the READs of a rail went, in words. */
static void add_rail(struct wfs_grid *grid, yyjson_val *rail)
{
	yyjson_val *errors = yyjson_obj_get(rail, "errors");
	yyjson_val *below = yyjson_obj_get(rail, "below_us");
	bool paused = yyjson_get_bool(yyjson_obj_get(rail, "paused"));
	struct wfs_text text = { 0 };
	yyjson_obj_iter iter;
	yyjson_val *key;
	ull failed = 0;

	wfs_text_add(&text, "%llu reads, half below %llu us, 99%% %llu us",
		     (ull)wfs_json_number(rail, "reads"),
		     (ull)wfs_json_number(below, "half"),
		     (ull)wfs_json_number(below, "99%"));
	yyjson_obj_iter_init(errors, &iter);
	while ((key = yyjson_obj_iter_next(&iter))) {
		const char *kind = yyjson_get_str(key);
		ull n = (ull)wfs_json_number(errors, kind);

		failed += n;
		if (n)
			wfs_text_add(&text, ", %llu %s", n, kind);
	}
	wfs_grid_add(grid, "    %s", wfs_json_text(rail, "address"));
	wfs_grid_add(grid, "%s", paused ? "paused" : "ready");
	wfs_grid_add(grid, " ");
	wfs_grid_add_size(grid, wfs_json_number(rail, "bytes"));
	wfs_grid_add(grid, "%llu", failed);
	for (int i = 0; i < 5; i++) /* of seeds alone */
		wfs_grid_add(grid, " ");
	wfs_grid_add(grid, "%s", text.data);
	free(text.data);
}

/* A port of this node's that seeds are read by. */
static void add_port(struct wfs_grid *grid, yyjson_val *port)
{
	wfs_grid_add(grid, "    by %s", wfs_json_text(port, "device"));
	wfs_grid_add(grid, "%s",
		     yyjson_get_bool(yyjson_obj_get(port, "up")) ? "ready" :
								   "down");
	wfs_grid_add(grid, " ");
	wfs_grid_add_size(grid, wfs_json_number(port, "bytes"));
	for (int i = 0; i < 6; i++) /* of seeds alone */
		wfs_grid_add(grid, " ");
	wfs_grid_add(grid, "%s, NUMA node %d, %s, %llu connections",
		     wfs_json_text(port, "address"),
		     yyjson_get_int(yyjson_obj_get(port, "numa_node")),
		     yyjson_get_bool(yyjson_obj_get(port, "near")) ?
			     "near to memory" :
			     "far from memory",
		     (ull)wfs_json_number(port, "connections"));
}

/* Ranks of a model in an engine's memory. */
static void add_live(struct wfs_grid *grid, yyjson_val *live)
{
	yyjson_val *engine = yyjson_obj_get(live, "engine"), *rank;
	const char *why = wfs_json_text(live, "why");
	struct wfs_text text = { 0 };
	yyjson_arr_iter iter;

	describe_live(&text, engine);
	wfs_text_add(&text, ", of rank");
	yyjson_arr_iter_init(yyjson_obj_get(engine, "ranks"), &iter);
	while ((rank = yyjson_arr_iter_next(&iter)))
		wfs_text_add(&text, " %llu", (ull)yyjson_get_uint(rank));
	wfs_grid_add(grid, "    %s", wfs_json_text(live, "model"));
	wfs_grid_add(grid, "%s", *why ? "waiting" : "ready");
	for (int i = 0; i < 8; i++) /* of seeds alone */
		wfs_grid_add(grid, " ");
	wfs_grid_add(grid, "%s%s%s", text.data, *why ? "; " : "", why);
	free(text.data);
}

static void add_seed(struct wfs_grid *grid, yyjson_val *seed)
{
	yyjson_val *rdma = yyjson_obj_get(seed, "rdma"), *rail, *live, *port;
	yyjson_arr_iter iter;

	add_way(grid, wfs_json_text(seed, "url"), seed);
	wfs_grid_add(grid, "%.0f s", wfs_json_real(seed, "quarantine_s"));
	wfs_grid_add_size(grid, wfs_json_number(seed, "lent_bytes"));
	wfs_grid_add(grid, "%s", wfs_json_text(seed, "why"));
	yyjson_arr_iter_init(yyjson_obj_get(seed, "live"), &iter);
	while ((live = yyjson_arr_iter_next(&iter)))
		add_live(grid, live);
	if (!yyjson_is_obj(rdma))
		return;
	add_way(grid, "  by RDMA", rdma);
	wfs_grid_add(grid, " ");
	wfs_grid_add(grid, " ");
	wfs_grid_add(grid, "%s", wfs_json_text(rdma, "why"));
	yyjson_arr_iter_init(yyjson_obj_get(rdma, "rails"), &iter);
	while ((rail = yyjson_arr_iter_next(&iter)))
		add_rail(grid, rail);
	yyjson_arr_iter_init(yyjson_obj_get(rdma, "ports"), &iter);
	while ((port = yyjson_arr_iter_next(&iter)))
		add_port(grid, port);
}

static void print_seeds(FILE *out, yyjson_val *seeds)
{
	static const char *const heads[] = {
		"SEED",	  "STATE", "RATE/S",	 "BYTES", "ERRORS", "WRONG",
		"HEDGES", "WON",   "QUARANTINE", "LENT",  "WHY",
	};
	struct wfs_grid grid = { .columns = "llrrrrrrrrl" };
	yyjson_arr_iter iter;
	yyjson_val *s;

	if (!yyjson_arr_size(seeds))
		return;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		wfs_grid_add(&grid, "%s", heads[i]);
	yyjson_arr_iter_init(seeds, &iter);
	while ((s = yyjson_arr_iter_next(&iter)))
		add_seed(&grid, s);
	fprintf(out, "\n");
	wfs_grid_finish(&grid, "  ", out);
}

void wfs_status_head(FILE *out, yyjson_val *root)
{
	char up[48];

	fprintf(out, "%s: weightfs %s, pid %llu, up %s\n",
		wfs_json_text(root, "mountpoint"),
		wfs_json_text(root, "version"),
		(ull)wfs_json_number(root, "pid"),
		uptime(wfs_json_real(root, "uptime_s"), up, sizeof(up)));
}

void wfs_status_body(FILE *out, yyjson_val *root, const uint64_t *rate)
{
	print_served(out, root);
	print_copying(out, root, rate);
	print_hydration(out, root);
	print_models(out, yyjson_obj_get(root, "models"));
	print_seeds(out, yyjson_obj_get(root, "seeds"));
}
