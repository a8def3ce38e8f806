/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the list of models and the manifest of one.
 *
 * JSON is UTF-8, and a name that is not cannot be said in it: such a file is
 * left out, rather than offered under a name that it does not have.
 */
#include <string.h>
#include <unistd.h>

#include "core/base/hex.h"
#include "core/base/json.h"
#include "core/live.h"
#include "transport/seed/manifest.h"

static bool is_utf8(const char *text)
{
	size_t len = strlen(text);

	return wfs_utf8_span(text, len) == len;
}

/* As a component of a URL's path. */
static void add_escaped(struct wfs_text *text, const char *name)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-._~@";

	for (const char *p = name; *p; p++) {
		if (strchr(plain, *p))
			wfs_text_add_bytes(text, p, 1);
		else
			wfs_text_add(text, "%%%02X", (unsigned char)*p);
	}
}

static void add_member(struct wfs_text *text, const char *key,
		       const char *value)
{
	wfs_text_add(text, "\"%s\":", key);
	if (value)
		wfs_text_add_json(text, value);
	else
		wfs_text_add(text, "null");
}

/* The nodes that it came by, unless it is our own. */
static void add_via(struct wfs_text *text, const char *via)
{
	const char *before = ",\"via\":[";

	while (via && *via) {
		int len = (int)strcspn(via, " ");

		wfs_text_add(text, "%s\"%.*s\"", before, len, via);
		via += len + (via[len] == ' ');
		before = ",";
	}
	if (*before == ',' && !before[1])
		wfs_text_add(text, "]");
}

void wfs_manifest_models(const struct wfs_manifest_host *host,
			 struct wfs_stock_model *const *models, size_t count,
			 struct wfs_text *text)
{
	bool first = true;

	wfs_text_add(text,
		     "{\"protocol\":%d,\"software\":\"weightfs " WFS_VERSION
		     "\",",
		     WFS_PROTOCOL);
	add_member(text, "node", host->node);
	wfs_text_add(text, ",\"host\":{");
	add_member(text, "boot_id", host->boot_id);
	wfs_text_add(text, ",");
	add_member(text, "socket", host->socket);
	wfs_text_add(text, "},\"rdma\":%s,\"chunk_bytes\":%u,\"models\":[",
		     host->rdma ? "true" : "false", WFS_CHUNK);
	for (size_t i = 0; i < count; i++) {
		const struct wfs_model *model = models[i]->model;

		if (!models[i]->listed || !is_utf8(model->name))
			continue;
		wfs_text_add(text, first ? "\n{" : ",\n{");
		first = false;
		add_member(text, "name", model->name);
		wfs_text_add(text, ",\"version\":\"%s\",\"format\":\"%s\"",
			     models[i]->version,
			     wfs_model_format_name(model->format));
		add_via(text, model->source->via);
		wfs_text_add(text, ",\"bytes\":%llu,\"manifest\":\"/v1/models/",
			     (unsigned long long)model->file_bytes);
		add_escaped(text, model->name);
		wfs_text_add(text, "/manifest\"}");
	}
	wfs_text_add(text, "\n]}\n");
}

/*
 * The root of that kind into `ret_root` if it is known: SHA-256 also from the
 * digest manifest, which whoever relies on it compares with what he trusts.
 */
static bool root_of(struct wfs_stock_model *model, struct wfs_stock_file *file,
		    enum wfs_digest_algorithm algorithm, uint8_t *ret_root)
{
	const struct wfs_digest_file *said;
	struct wfs_known_digests known;

	if (wfs_stock_digests(model, file, algorithm, &known)) {
		memcpy(ret_root, known.root, wfs_digest_size(algorithm));
		return true;
	}
	if (algorithm != WFS_SHA256)
		return false;
	said = wfs_digest_tree_find(wfs_stock_tree(model), file->region->path);
	if (!said || said->size != file->region->size)
		return false;
	memcpy(ret_root, said->root, WFS_ROOT_BYTES);
	return true;
}

static void add_root(struct wfs_text *text, const char *key,
		     struct wfs_stock_model *model, struct wfs_stock_file *file,
		     enum wfs_digest_algorithm algorithm)
{
	uint8_t root[WFS_DIGEST_MAX];
	char hex[2 * WFS_DIGEST_MAX + 1];

	if (!root_of(model, file, algorithm, root)) {
		wfs_text_add(text, ",\"%s\":null", key);
		return;
	}
	wfs_hex_format(root, wfs_digest_size(algorithm), hex);
	wfs_text_add(text, ",\"%s\":\"%s\"", key, hex);
}

static void add_held(struct wfs_text *text, uint64_t held, uint64_t size)
{
	/* Rounded down: 1.0 means all of it. */
	unsigned parts =
		held >= size ? 1000 :
			       (unsigned)((double)held / (double)size * 999.0);

	wfs_text_add(text, ",\"held\":%u.%03u", parts / 1000, parts % 1000);
}

static void add_file(struct wfs_text *text, struct wfs_stock_model *model,
		     struct wfs_stock_file *file)
{
	char id[2 * WFS_WIRE_ID_BYTES + 1];

	wfs_hex_format(file->id, WFS_WIRE_ID_BYTES, id);
	wfs_text_add(text, ",\"size\":%llu,\"region\":\"%s\"",
		     (unsigned long long)file->region->size, id);
	add_root(text, "xxh3", model, file, WFS_XXH3_128);
	add_root(text, "sha256", model, file, WFS_SHA256);
	add_held(text, wfs_stock_held(model, file), file->region->size);
}

static void add_files(struct wfs_text *text, struct wfs_stock_model *model)
{
	size_t n;
	const struct wfs_source_entry *list =
		wfs_source_list(model->model->source, &n);
	struct wfs_stock_file *file = model->files;
	bool first = true;

	for (size_t i = 0; i < n; i++) {
		const struct stat *st = &list[i].st;
		struct wfs_stock_file *mine = list[i].region ? file++ : NULL;

		if (!is_utf8(list[i].path) || !list[i].path[0])
			continue;
		wfs_text_add(text, first ? "\n{" : ",\n{");
		first = false;
		add_member(text, "path", list[i].path);
		if (mine)
			add_file(text, model, mine);
		else
			wfs_text_add(text, ",\"directory\":true");
		wfs_text_add(text, ",\"mode\":%u,\"mtime\":[%lld,%ld]}",
			     (unsigned)st->st_mode & 07777,
			     (long long)st->st_mtim.tv_sec,
			     st->st_mtim.tv_nsec);
	}
}

static void add_ranks(struct wfs_text *text, const struct wfs_model *model)
{
	for (uint32_t i = 0; i < model->rank_count; i++) {
		const struct wfs_rank *rank = &model->ranks[i];

		wfs_text_add(text, i ? ",\n{" : "\n{");
		add_member(text, "name", rank->name);
		wfs_text_add(text, ",\"tensors\":%u,\"bytes\":%llu}",
			     rank->count, (unsigned long long)rank->bytes);
	}
}

/* The file whose region this is. */
static const struct wfs_stock_file *file_of(const struct wfs_stock_model *model,
					    const struct wfs_region *region)
{
	for (uint32_t i = 0; i < model->count; i++) {
		if (model->files[i].region == region)
			return &model->files[i];
	}
	return NULL;
}

static void add_tensor(struct wfs_text *text, const struct wfs_stock_file *file,
		       const char *rank, const struct wfs_tensor *tensor)
{
	char id[2 * WFS_WIRE_ID_BYTES + 1] = "";

	if (file)
		wfs_hex_format(file->id, WFS_WIRE_ID_BYTES, id);
	add_member(text, "rank", rank);
	wfs_text_add(text, ",");
	add_member(text, "name", tensor->name);
	wfs_text_add(text, ",");
	add_member(text, "dtype", wfs_dtype_name(tensor->dtype));
	wfs_text_add(text, ",\"shape\":[");
	for (unsigned i = 0; i < tensor->ndim; i++)
		wfs_text_add(text, i ? ",%llu" : "%llu",
			     (unsigned long long)tensor->shape[i]);
	wfs_text_add(text, "],\"region\":\"%s\",\"offset\":%llu,\"size\":%llu",
		     id, (unsigned long long)tensor->off,
		     (unsigned long long)tensor->size);
}

static void add_tensors(struct wfs_text *text,
			const struct wfs_stock_model *stocked)
{
	const struct wfs_model *model = stocked->model;
	const struct wfs_stock_file *file = NULL;
	bool first = true;

	for (uint32_t i = 0; i < model->rank_count; i++) {
		const struct wfs_rank *rank = &model->ranks[i];

		for (uint32_t k = 0; k < rank->count; k++) {
			const struct wfs_tensor *tensor =
				&rank->tensors[rank->file_order[k]];
			const struct wfs_region *region =
				model->entries[tensor->shard].region;

			if (!file || file->region != region)
				file = file_of(stocked, region);
			wfs_text_add(text, first ? "\n{" : ",\n{");
			first = false;
			add_tensor(text, file, rank->name, tensor);
			wfs_text_add(text, "}");
		}
	}
}

/*
 * The digest of the whole version; false when not all of its files' are known,
 * or when one has a name that its lines cannot tell.
 */
static bool tree_of(struct wfs_stock_model *model, uint8_t *ret_digest)
{
	struct wfs_digest_tree tree = { 0 };
	bool known = true;

	for (uint32_t i = 0; known && i < model->count; i++) {
		struct wfs_stock_file *file = &model->files[i];
		const char *path = file->region->path;
		uint8_t root[WFS_ROOT_BYTES];

		if (wfs_digest_tree_leaves_out(path))
			continue;
		known = root_of(model, file, WFS_SHA256, root) &&
			!wfs_digest_tree_add(&tree, path, file->region->size,
					     root, NULL);
	}
	if (known)
		wfs_digest_tree_root(&tree, ret_digest);
	wfs_digest_tree_clear(&tree);
	return known;
}

void wfs_manifest_write(struct wfs_stock_model *model, bool tensors,
			struct wfs_text *text)
{
	uint8_t tree[WFS_DIGEST_MAX];
	char hex[2 * WFS_DIGEST_MAX + 1];

	wfs_text_add(text, "{\"protocol\":%d,", WFS_PROTOCOL);
	add_member(text, "model", model->model->name);
	wfs_text_add(text, ",\"version\":\"%s\",\"format\":\"%s\"",
		     model->version,
		     wfs_model_format_name(model->model->format));
	wfs_text_add(text, ",\"chunk_bytes\":%u,", WFS_CHUNK);
	if (tree_of(model, tree)) {
		wfs_hex_format(tree, wfs_digest_size(WFS_SHA256), hex);
		add_member(text, "tree_sha256", hex);
	} else {
		add_member(text, "tree_sha256", NULL);
	}
	if (model->model->source->live) {
		wfs_text_add(text, ",\"live\":");
		wfs_live_add(model->model->source->live, text);
	}
	wfs_text_add(text, ",\"files\":[");
	add_files(text, model);
	wfs_text_add(text, "\n],\"ranks\":[");
	add_ranks(text, model->model);
	if (tensors) {
		wfs_text_add(text, "\n],\"tensors\":[");
		add_tensors(text, model);
	}
	wfs_text_add(text, "\n]}\n");
}

bool wfs_manifest_known(struct wfs_stock_model *model,
			enum wfs_digest_algorithm algorithm, bool want)
{
	bool known = true;

	for (uint32_t i = 0; i < model->count; i++) {
		struct wfs_known_digests from_elsewhere;
		struct wfs_page *page;

		if (wfs_region_digests(model->files[i].region, algorithm,
				       &from_elsewhere))
			continue;
		page = wfs_stock_page(model, &model->files[i]);
		/* One that will never be known is not waited for. */
		if (page && !wfs_page_list(page, algorithm, want))
			known = false;
	}
	return known;
}
