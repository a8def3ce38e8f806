/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files an export consists of, and what each is made from.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "core/base/text.h"
#include "tools/export.h"
#include "tools/layout_arg.h"

#define HEAD_BYTES (64u << 10)

int wfs_export_recipe(const struct wfs_export *x,
		      const struct wfs_export_item *item,
		      struct wfs_recipe **ret_recipe, struct wfs_err *err)
{
	int rc;

	if (item->is_tensor)
		rc = wfs_recipe_of_tensor(x->layout, item->rank, item->index,
					  ret_recipe, err);
	else
		rc = wfs_recipe_of_entry(x->layout, item->index, ret_recipe,
					 err);
	if (rc && err && !err->code)
		wfs_err_set(err, rc, "cannot put '%s' together: %s", item->path,
			    strerror(-rc));
	return rc;
}

static void hash_text(XXH3_state_t *h, const char *s)
{
	XXH3_128bits_update(h, s, strlen(s) + 1);
}

static void hash_number(XXH3_state_t *h, uint64_t n)
{
	XXH3_128bits_update(h, &n, sizeof(n));
}

static void hash_piece(XXH3_state_t *h, const struct wfs_piece *p)
{
	const uint64_t numbers[] = {
		(uint64_t)p->kind, p->run,  p->count,  p->stride, p->at,
		p->step,	   p->cast, p->nloops,
	};

	XXH3_128bits_update(h, numbers, sizeof(numbers));
	for (unsigned i = 0; i < p->nloops; i++)
		XXH3_128bits_update(h, &p->loops[i], sizeof(p->loops[i]));
	if (p->kind == WFS_PIECE_CONST)
		XXH3_128bits_update(h, p->pattern, p->pattern_len);
	if (p->kind != WFS_PIECE_REGION)
		return;
	hash_text(h, p->region->path);
	hash_number(h, p->off);
}

/*
 * Pieces of the checkpoint are known by their place, since its fingerprint is
 * hashed as well.  A header is made up by the layout and lies in no file, so
 * the beginning is hashed by its bytes.
 */
static int hash_head(XXH3_state_t *h, const struct wfs_recipe *recipe)
{
	uint64_t left = recipe->size, off = 0;
	uint64_t header = 0;
	char *buf wfs_autofree = NULL;

	if (recipe->size < sizeof(header))
		return 0;
	buf = wfs_malloc(HEAD_BYTES);
	do {
		size_t len = left < HEAD_BYTES ? (size_t)left : HEAD_BYTES;
		ssize_t got = wfs_recipe_read(recipe, buf, len, off);

		if (got < 0 || (size_t)got != len)
			return got < 0 ? (int)got : -EIO;
		XXH3_128bits_update(h, buf, len);
		if (!off) {
			memcpy(&header, buf, sizeof(header));
			if (header < left - sizeof(header))
				left = header + sizeof(header);
		}
		off += len;
		left -= len < left ? len : left;
	} while (left);
	return 0;
}

static int identify(const struct wfs_export *x, struct wfs_export_item *item,
		    XXH3_state_t *h, struct wfs_err *err)
{
	struct wfs_recipe *recipe;
	XXH128_canonical_t sum;
	int rc = wfs_export_recipe(x, item, &recipe, err);

	if (rc)
		return rc;
	XXH3_128bits_reset(h);
	hash_text(h, x->layout->name);
	hash_number(h, x->layout->fingerprint);
	hash_text(h, item->path);
	hash_number(h, recipe->size);
	for (uint32_t i = 0; i < recipe->n; i++)
		hash_piece(h, &recipe->pieces[i]);
	if (!item->is_tensor && !x->layout->entries[item->index].region)
		rc = hash_head(h, recipe);
	wfs_recipe_free(recipe);
	if (rc)
		return wfs_err_set(err, rc, "cannot read '%s' of '%s': %s",
				   item->path, x->layout->name, strerror(-rc));
	XXH128_canonicalFromHash(&sum, XXH3_128bits_digest(h));
	memcpy(item->identity, sum.digest, WFS_IDENTITY);
	return 0;
}

static struct wfs_export_item *add_item(struct wfs_export *x, char *path,
					uint64_t size)
{
	struct wfs_export_item *item;

	if ((x->count & (x->count - 1)) == 0)
		x->items = wfs_realloc(x->items, (x->count ? x->count * 2 : 1) *
							 sizeof(*item));
	item = &x->items[x->count++];
	*item = (struct wfs_export_item){
		.path = path,
		.size = size,
		.mode = 0644,
	};
	return item;
}

static void add_dir(struct wfs_export *x, const char *path)
{
	x->dirs = wfs_realloc(x->dirs, (x->dir_count + 1) * sizeof(char *));
	x->dirs[x->dir_count++] = wfs_strdup(path);
}

/* What an export that broke off has left in the checkpoint itself. */
static bool is_work(const char *path)
{
	size_t len = strlen(WFS_EXPORT_WORK);

	return !strncmp(path, WFS_EXPORT_WORK, len) &&
	       (!path[len] || path[len] == '/');
}

static void add_entries(struct wfs_export *x)
{
	const struct wfs_model *m = x->layout;

	/* [0] is the root. */
	for (uint32_t i = 1; i < m->entry_count; i++) {
		const struct wfs_model_entry *e = &m->entries[i];
		struct wfs_export_item *item;

		if (is_work(e->path))
			continue;
		if (e->is_dir) {
			add_dir(x, e->path);
			continue;
		}
		if (!e->region && x->raw)
			continue;
		item = add_item(x, wfs_strdup(e->path),
				(uint64_t)e->st.st_size);
		item->index = i;
		/* Who writes a copy may write to it. */
		if (e->region)
			item->mode = (e->st.st_mode & 0777) | 0200;
	}
}

static void add_tensors(struct wfs_export *x)
{
	const struct wfs_model *m = x->layout;

	for (uint32_t r = 0; r < m->rank_count; r++) {
		const struct wfs_rank *rank = &m->ranks[r];
		const char *top = m->ranks_hidden ? ".ranks/" : "";
		char *dir wfs_autofree = wfs_asprintf("%s%s", top, rank->name);

		if (m->ranks_hidden && !r)
			add_dir(x, ".ranks");
		add_dir(x, dir);
		for (uint32_t i = 0; i < rank->count; i++) {
			const struct wfs_tensor *t = &rank->tensors[i];
			struct wfs_export_item *item = add_item(
				x, wfs_asprintf("%s/%s", dir, t->file_name),
				t->size);

			item->is_tensor = true;
			item->rank = r;
			item->index = i;
		}
	}
}

int wfs_export_list(struct wfs_export *x, struct wfs_err *err)
{
	XXH3_state_t *h = XXH3_createState();
	int rc = 0;

	if (!h)
		abort(); /* as wfs_malloc has it */
	add_entries(x);
	if (x->raw)
		add_tensors(x);
	for (size_t i = 0; i < x->count && !rc; i++)
		rc = identify(x, &x->items[i], h, err);
	XXH3_freeState(h);
	return rc;
}
