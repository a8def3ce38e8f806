/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stock: keeps step with the registry, and finds models and regions.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/cond.h"
#include "core/base/ids.h"
#include "transport/seed/manifest.h"
#include "transport/seed/stock_inner.h"

static int compare_places(const void *a, const void *b)
{
	return memcmp(((const struct wfs_stock_place *)a)->id,
		      ((const struct wfs_stock_place *)b)->id,
		      WFS_WIRE_ID_BYTES);
}

/* A root digest became known. */
static void note_known(void *ctx, struct wfs_page *page)
{
	struct wfs_stock *stock = ctx;

	(void)page;
	pthread_mutex_lock(&stock->lock);
	stock->generation++;
	pthread_cond_broadcast(&stock->changed);
	pthread_mutex_unlock(&stock->lock);
}

int wfs_stock_new(const struct wfs_stock_config *config,
		  struct wfs_stock **ret_stock)
{
	struct wfs_stock *stock;

	if (!*wfs_node_id())
		return -EIO;
	stock = wfs_calloc(1, sizeof(*stock));
	stock->config = *config;
	if (config->holder)
		stock->holder = *config->holder;
	wfs_boot_id_read(stock->boot_id);
	stock->gone = wfs_calloc(WFS_STOCK_GONE, WFS_WIRE_ID_BYTES);
	pthread_mutex_init(&stock->lock, NULL);
	wfs_cond_init(&stock->changed);
	stock->looked.tv_nsec = -1;
	if (config->book)
		wfs_book_on_known(config->book, note_known, stock);
	wfs_stock_refresh(stock);
	*ret_stock = stock;
	return 0;
}

void wfs_stock_free(struct wfs_stock *stock)
{
	if (!stock)
		return;
	if (stock->config.book)
		wfs_book_on_known(stock->config.book, NULL, NULL);
	for (size_t i = 0; i < stock->count; i++)
		wfs_stock_put(stock->models[i]);
	free(stock->models);
	free(stock->places);
	free(stock->gone);
	free(stock->socket);
	free(stock->list.data);
	pthread_cond_destroy(&stock->changed);
	pthread_mutex_destroy(&stock->lock);
	free(stock);
}

static void note_gone(struct wfs_stock *stock,
		      const struct wfs_stock_model *model)
{
	for (uint32_t i = 0; i < model->count; i++) {
		memcpy(stock->gone[stock->gone_next], model->files[i].id,
		       WFS_WIRE_ID_BYTES);
		stock->gone_next = (stock->gone_next + 1) % WFS_STOCK_GONE;
		if (stock->gone_count < WFS_STOCK_GONE)
			stock->gone_count++;
	}
}

/* The one that is there already for this model, taken out of the old list. */
static struct wfs_stock_model *take_old(struct wfs_stock_model **old, size_t n,
					const struct wfs_model *model)
{
	for (size_t i = 0; i < n; i++) {
		if (old[i] && old[i]->model == model)
			return wfs_steal_ptr(&old[i]);
	}
	return NULL;
}

static bool is_offered(const struct wfs_registry_row *row)
{
	return row->named && row->listed && !row->stale && !row->model->virtual;
}

static void add_model(struct wfs_stock *stock, struct wfs_stock_model *model,
		      bool listed)
{
	model->listed = listed;
	stock->models = wfs_realloc(
		stock->models, (stock->count + 1) * sizeof(*stock->models));
	stock->models[stock->count++] = model;
}

/* Those that the registry has no more: they stay while they are used. */
static void linger(struct wfs_stock *stock, struct wfs_stock_model **old,
		   size_t n)
{
	uint64_t now = wfs_now_ns();

	for (size_t i = 0; i < n; i++) {
		if (!old[i])
			continue;
		if (atomic_load(&old[i]->last_used) + stock->config.linger_ns >
		    now) {
			add_model(stock, old[i], false);
			continue;
		}
		note_gone(stock, old[i]);
		wfs_stock_put(old[i]);
	}
}

static void index_places(struct wfs_stock *stock)
{
	size_t n = 0;

	for (size_t i = 0; i < stock->count; i++)
		n += stock->models[i]->count;
	stock->places =
		wfs_realloc(stock->places, (n + 1) * sizeof(*stock->places));
	stock->place_count = n;
	n = 0;
	for (size_t i = 0; i < stock->count; i++) {
		struct wfs_stock_model *model = stock->models[i];

		for (uint32_t k = 0; k < model->count; k++) {
			struct wfs_stock_place *place = &stock->places[n++];

			memcpy(place->id, model->files[k].id,
			       WFS_WIRE_ID_BYTES);
			place->model = model;
			place->file = k;
		}
	}
	qsort(stock->places, n, sizeof(*stock->places), compare_places);
}

/* Is there one that is only here because it was used? */
static bool has_lingering(const struct wfs_stock *stock)
{
	for (size_t i = 0; i < stock->count; i++) {
		if (!stock->models[i]->listed)
			return true;
	}
	return false;
}

static void write_list(struct wfs_stock *stock)
{
	struct wfs_manifest_host host = {
		.node = wfs_node_id(),
		.boot_id = stock->boot_id,
		.socket = stock->socket,
		.rdma = stock->rdma,
	};
	struct wfs_text text = { 0 };

	wfs_manifest_models(&host, stock->models, stock->count, &text);
	if (!stock->list.data || strcmp(text.data, stock->list.data) != 0) {
		stock->generation++;
		pthread_cond_broadcast(&stock->changed);
	}
	free(stock->list.data);
	stock->list = text;
}

void wfs_stock_set_socket(struct wfs_stock *stock, const char *path)
{
	pthread_mutex_lock(&stock->lock);
	free(stock->socket);
	stock->socket = wfs_strdup(path);
	write_list(stock);
	pthread_mutex_unlock(&stock->lock);
}

void wfs_stock_set_rdma(struct wfs_stock *stock)
{
	pthread_mutex_lock(&stock->lock);
	stock->rdma = true;
	write_list(stock);
	pthread_mutex_unlock(&stock->lock);
}

size_t wfs_stock_regions(struct wfs_stock *stock,
			 struct wfs_wire_region **ret_regions)
{
	struct wfs_wire_region *regions;
	size_t n = 0;

	pthread_mutex_lock(&stock->lock);
	regions = wfs_calloc(stock->place_count + 1, sizeof(*regions));
	for (size_t i = 0; i < stock->place_count; i++) {
		const struct wfs_stock_place *place = &stock->places[i];
		const struct wfs_stock_file *file =
			&place->model->files[place->file];

		if (!place->model->listed)
			continue;
		memcpy(regions[n].id, place->id, sizeof(place->id));
		regions[n++].size = file->region->size;
	}
	pthread_mutex_unlock(&stock->lock);
	*ret_regions = regions;
	return n;
}

static void rebuild(struct wfs_stock *stock)
{
	struct wfs_stock_model **old = wfs_steal_ptr(&stock->models);
	size_t n = stock->count;
	struct wfs_registry_row *rows;
	size_t count = wfs_registry_rows(stock->config.registry, &rows);

	stock->count = 0;
	for (size_t i = 0; i < count; i++) {
		struct wfs_stock_model *model;

		if (!is_offered(&rows[i]))
			continue;
		model = take_old(old, n, rows[i].model);
		if (!model)
			model = wfs_stock_model_new(stock, rows[i].model);
		if (model)
			add_model(stock, model, true);
	}
	wfs_registry_rows_free(rows, count);
	linger(stock, old, n);
	free(old);
	index_places(stock);
	write_list(stock);
}

void wfs_stock_refresh(struct wfs_stock *stock)
{
	struct timespec changed = wfs_registry_changed(stock->config.registry);

	pthread_mutex_lock(&stock->lock);
	if (changed.tv_sec != stock->looked.tv_sec ||
	    changed.tv_nsec != stock->looked.tv_nsec || has_lingering(stock)) {
		stock->looked = changed;
		rebuild(stock);
	}
	pthread_mutex_unlock(&stock->lock);
}

/* With the lock held. */
static void make_etag(const struct wfs_stock *stock, char *ret_etag)
{
	uint64_t hash =
		wfs_hash(stock->list.data, stock->list.len, WFS_HASH_SEED);

	hash = wfs_hash(&stock->generation, sizeof(stock->generation), hash);
	snprintf(ret_etag, 17, "%016llx", (unsigned long long)hash);
}

void wfs_stock_list(struct wfs_stock *stock, struct wfs_text *ret_text,
		    char *ret_etag)
{
	pthread_mutex_lock(&stock->lock);
	wfs_text_add_bytes(ret_text, stock->list.data, stock->list.len);
	make_etag(stock, ret_etag);
	pthread_mutex_unlock(&stock->lock);
}

void wfs_stock_etag(struct wfs_stock *stock, char *ret_etag)
{
	pthread_mutex_lock(&stock->lock);
	make_etag(stock, ret_etag);
	pthread_mutex_unlock(&stock->lock);
}

/* With the lock held. */
static struct wfs_stock_model *use(struct wfs_stock_model *model)
{
	atomic_store(&model->last_used, wfs_now_ns());
	atomic_fetch_add(&model->refs, 1);
	return model;
}

struct wfs_stock_model *wfs_stock_find(struct wfs_stock *stock,
				       const char *name)
{
	struct wfs_stock_model *found = NULL;

	pthread_mutex_lock(&stock->lock);
	for (size_t i = 0; i < stock->count && !found; i++) {
		struct wfs_stock_model *model = stock->models[i];

		if (model->listed && strcmp(model->model->name, name) == 0)
			found = use(model);
	}
	pthread_mutex_unlock(&stock->lock);
	return found;
}

static bool was_there(const struct wfs_stock *stock, const uint8_t *id)
{
	for (size_t i = 0; i < stock->gone_count; i++) {
		if (memcmp(stock->gone[i], id, WFS_WIRE_ID_BYTES) == 0)
			return true;
	}
	return false;
}

int wfs_stock_region(struct wfs_stock *stock, const uint8_t *id,
		     struct wfs_stock_model **ret_model,
		     struct wfs_stock_file **ret_file)
{
	struct wfs_stock_place key, *place;
	struct wfs_stock_model *model;
	struct wfs_stock_file *file;
	int rc = 0;

	memcpy(key.id, id, WFS_WIRE_ID_BYTES);
	pthread_mutex_lock(&stock->lock);
	place = bsearch(&key, stock->places, stock->place_count, sizeof(key),
			compare_places);
	if (place) {
		/* The place itself is another's as soon as models change. */
		model = use(place->model);
		file = &model->files[place->file];
	} else {
		rc = was_there(stock, id) ? -ESTALE : -ENOENT;
	}
	pthread_mutex_unlock(&stock->lock);
	if (rc)
		return rc;
	if (wfs_region_check(file->region)) {
		wfs_stock_put(model);
		return -ESTALE;
	}
	*ret_file = file;
	*ret_model = model;
	return 0;
}

uint64_t wfs_stock_generation(struct wfs_stock *stock)
{
	uint64_t generation;

	pthread_mutex_lock(&stock->lock);
	generation = stock->generation;
	pthread_mutex_unlock(&stock->lock);
	return generation;
}

uint64_t wfs_stock_await(struct wfs_stock *stock, uint64_t seen,
			 uint64_t timeout_ns)
{
	uint64_t until = wfs_now_ns() + timeout_ns;

	pthread_mutex_lock(&stock->lock);
	while (!stock->woken && stock->generation == seen &&
	       wfs_cond_wait_until(&stock->changed, &stock->lock, until))
		;
	seen = stock->generation;
	pthread_mutex_unlock(&stock->lock);
	return seen;
}

void wfs_stock_wake(struct wfs_stock *stock)
{
	pthread_mutex_lock(&stock->lock);
	stock->woken = true;
	pthread_cond_broadcast(&stock->changed);
	pthread_mutex_unlock(&stock->lock);
}
