/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One model in stock: the ids of its regions, their pages, their bytes.
 *
 * An id is a hash over all that makes a file this file, so it changes when
 * the file does, and is the same after the seed was started again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/live.h"
#include "transport/seed/stock_inner.h"

/* What an id is the hash of, after the names. */
struct identity {
	uint64_t dev, ino, size;
	int64_t mtime_s, mtime_ns, ctime_s, ctime_ns;
};

static void make_id(const struct wfs_stock_model *model,
		    const struct wfs_source_entry *entry, uint8_t *ret_id)
{
	struct identity it = {
		.dev = entry->st.st_dev,
		.ino = entry->st.st_ino,
		.size = entry->region->size,
		.mtime_s = entry->st.st_mtim.tv_sec,
		.mtime_ns = entry->st.st_mtim.tv_nsec,
		.ctime_s = entry->st.st_ctim.tv_sec,
		.ctime_ns = entry->st.st_ctim.tv_nsec,
	};
	struct wfs_text text = { 0 };

	/* With the NULs, so that no two pairs of names are one. */
	wfs_text_add_bytes(&text, model->model->name,
			   strlen(model->model->name) + 1);
	wfs_text_add_bytes(&text, model->version, sizeof(model->version));
	wfs_text_add_bytes(&text, entry->path, strlen(entry->path) + 1);
	wfs_text_add_bytes(&text, &it, sizeof(it));
	wfs_digest_bytes(WFS_XXH3_128, text.data, text.len, ret_id);
	free(text.data);
}

static bool can_send(const struct wfs_stock *stock, struct wfs_region *region)
{
	return stock->holder.take || region->size == 0 ||
	       wfs_region_descriptor(region) >= 0;
}

struct wfs_stock_model *wfs_stock_model_new(struct wfs_stock *stock,
					    struct wfs_model *model)
{
	struct wfs_stock_model *made;
	size_t n;
	const struct wfs_source_entry *list =
		wfs_source_list(model->source, &n);

	for (size_t i = 0; i < n; i++) {
		if (list[i].region && !can_send(stock, list[i].region))
			return NULL;
	}
	made = wfs_calloc(1, sizeof(*made));
	made->model = wfs_model_get(model);
	made->stock = stock;
	made->files = wfs_calloc(n + 1, sizeof(*made->files));
	snprintf(made->version, sizeof(made->version), "%016llx",
		 (unsigned long long)model->fingerprint);
	pthread_mutex_init(&made->lock, NULL);
	pthread_mutex_init(&made->tree_lock, NULL);
	atomic_init(&made->refs, 1);
	atomic_init(&made->last_used, wfs_now_ns());
	for (size_t i = 0; i < n; i++) {
		struct wfs_stock_file *file = &made->files[made->count];

		if (!list[i].region)
			continue;
		file->entry = (uint32_t)i;
		file->region = list[i].region;
		make_id(made, &list[i], file->id);
		made->count++;
	}
	return made;
}

void wfs_stock_put(struct wfs_stock_model *model)
{
	if (!model || atomic_fetch_sub(&model->refs, 1) != 1)
		return;
	for (uint32_t i = 0; i < model->count; i++) {
		wfs_page_close(model->files[i].page);
		free(model->files[i].sent);
	}
	free(model->files);
	wfs_model_put(model->model);
	wfs_digest_tree_clear(&model->tree);
	pthread_mutex_destroy(&model->tree_lock);
	pthread_mutex_destroy(&model->lock);
	free(model);
}

/* Past the wrapper: an update is no failure. */
static int read_live(void *ctx, void *buf, size_t len, uint64_t off)
{
	struct wfs_region *region = ctx;

	return region->source->ops->read(region, buf, len, off);
}

static void put_source(void *ctx)
{
	wfs_source_put(((struct wfs_region *)ctx)->source);
}

/* The memory of this process: what comes from elsewhere is not computed. */
static struct wfs_page *open_live(struct wfs_book *book,
				  struct wfs_region *region)
{
	const struct wfs_live *live = region->source->live;
	struct wfs_page_bytes bytes = {
		.ctx = region,
		.size = region->size,
		.read = read_live,
		.release = put_source,
	};

	if (!live || live->origins)
		return NULL;
	wfs_source_get(region->source);
	return wfs_page_open_bytes(book, region->path, &bytes);
}

struct wfs_page *wfs_stock_page(struct wfs_stock_model *model,
				struct wfs_stock_file *file)
{
	struct wfs_book *book = model->stock->config.book;
	struct wfs_err err = { 0 };
	struct wfs_page *page;

	pthread_mutex_lock(&model->lock);
	if (!file->page_tried && book) {
		int fd = wfs_region_descriptor(file->region);

		file->page_tried = true;
		if (fd < 0)
			file->page = open_live(book, file->region);
		else if (wfs_page_open(book, fd, file->region->path,
				       &file->page, &err)) {
			wfs_warn("no digests of '%s' of model '%s': %s",
				 file->region->path, model->model->name,
				 err.text);
			file->page = NULL;
		}
	}
	page = file->page;
	pthread_mutex_unlock(&model->lock);
	return page;
}

bool wfs_stock_digests(struct wfs_stock_model *model,
		       struct wfs_stock_file *file,
		       enum wfs_digest_algorithm algorithm,
		       struct wfs_known_digests *ret)
{
	bool known = wfs_region_digests(file->region, algorithm, ret);
	struct wfs_page *page;

	if (known && ret->list)
		return true;
	page = wfs_stock_page(model, file);
	ret->list = page ? wfs_page_list(page, algorithm, false) : NULL;
	if (!known && ret->list)
		wfs_digests_root(ret->list, ret->root);
	return known || ret->list;
}

/* Is the digest manifest at hand?  Nobody is asked for it from here. */
static bool has_tree(const struct wfs_stock_model *model)
{
	for (uint32_t i = 0; i < model->count; i++) {
		struct wfs_region *region = model->files[i].region;

		if (!strcmp(region->path, WFS_DIGEST_TREE_FILE))
			return !wfs_region_is_far(region) ||
			       region->head_len == region->size;
	}
	return false;
}

const struct wfs_digest_tree *wfs_stock_tree(struct wfs_stock_model *model)
{
	struct wfs_err err = { 0 };

	pthread_mutex_lock(&model->tree_lock);
	if (!model->tree_tried) {
		model->tree_tried = true;
		if (has_tree(model) &&
		    wfs_digest_tree_load(model->model->source, &model->tree,
					 &err) < 0 &&
		    err.code)
			wfs_warn("the digest manifest of model '%s' is "
				 "left aside: %s",
				 model->model->name, err.text);
	}
	pthread_mutex_unlock(&model->tree_lock);
	return &model->tree;
}

static bool has_descriptor(const struct wfs_stock_file *file)
{
	return file->region->size == 0 ||
	       wfs_region_descriptor(file->region) >= 0;
}

uint64_t wfs_stock_held(const struct wfs_stock_model *model,
			const struct wfs_stock_file *file)
{
	const struct wfs_holder *holder = &model->stock->holder;

	return has_descriptor(file) ? file->region->size :
				      holder->held(holder->ctx, file->region);
}

bool wfs_stock_holds(const struct wfs_stock_model *model,
		     const struct wfs_stock_file *file, uint64_t off,
		     uint64_t len)
{
	const struct wfs_holder *holder = &model->stock->holder;

	return has_descriptor(file) ||
	       holder->holds(holder->ctx, file->region, off, len);
}

int wfs_stock_take(const struct wfs_stock_model *model,
		   const struct wfs_stock_file *file, uint64_t off, size_t len,
		   struct wfs_stretch *ret_stretch)
{
	const struct wfs_holder *holder = &model->stock->holder;
	int fd = wfs_region_descriptor(file->region);
	int rc = wfs_region_check(file->region);

	if (rc)
		return rc;
	if (fd < 0)
		return holder->take(holder->ctx, file->region, off, len,
				    ret_stretch);
	*ret_stretch = (struct wfs_stretch){ .len = len, .fd = fd, .off = off };
	return 0;
}

int wfs_stock_direct(const struct wfs_stock_model *model,
		     const struct wfs_stock_file *file, uint64_t off,
		     size_t len, struct wfs_stretch *ret_stretch)
{
	const struct wfs_holder *holder = &model->stock->holder;
	int rc;

	if (!holder->direct || atomic_load(&file->only_taken) ||
	    wfs_region_descriptor(file->region) >= 0)
		return -ENOTSUP;
	rc = wfs_region_check(file->region);
	return rc ? rc :
		    holder->direct(holder->ctx, file->region, off, len,
				   ret_stretch);
}

int wfs_stock_lend(const struct wfs_stock_model *model,
		   const struct wfs_stock_file *file)
{
	const struct wfs_holder *holder = &model->stock->holder;
	int fd = wfs_region_descriptor(file->region);

	if (fd < 0)
		return holder->lend ? holder->lend(holder->ctx, file->region) :
				      -ENOTSUP;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

int wfs_stretch_read(const struct wfs_stretch *stretch, void *buf)
{
	size_t done = 0;

	if (stretch->fd < 0) {
		memcpy(buf, stretch->bytes, stretch->len);
		return 0;
	}
	while (done < stretch->len) {
		ssize_t n = pread(stretch->fd, (char *)buf + done,
				  stretch->len - done,
				  (off_t)(stretch->off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

void wfs_stretch_release(struct wfs_stretch *stretch)
{
	if (stretch->release)
		stretch->release(stretch->own);
}
