/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digests of single chunks: as they are known, and as they became known by
 * sending.  Where there is no page they are kept here for as long as the
 * version is in stock, if that spares a copy the next time.
 */
#include <string.h>

#include "core/base/mem.h"
#include "transport/seed/stock_inner.h"

static bool was_sent(struct wfs_stock_model *model, struct wfs_stock_file *file,
		     uint64_t index, uint8_t *ret_digest)
{
	bool known;

	pthread_mutex_lock(&model->lock);
	known = file->sent && file->sent[index][WFS_WIRE_HASH_SIZE];
	if (known)
		memcpy(ret_digest, file->sent[index], WFS_WIRE_HASH_SIZE);
	pthread_mutex_unlock(&model->lock);
	return known;
}

bool wfs_stock_chunk(struct wfs_stock_model *model, struct wfs_stock_file *file,
		     uint64_t index, uint8_t *ret_digest)
{
	struct wfs_known_digests known;
	struct wfs_page *page;

	/* What was checked as it came is checked by whoever gets it. */
	if (wfs_region_digests(file->region, WFS_XXH3_128, &known) &&
	    known.list) {
		memcpy(ret_digest,
		       known.list->bytes + index * WFS_WIRE_HASH_SIZE,
		       WFS_WIRE_HASH_SIZE);
		return true;
	}
	page = wfs_stock_page(model, file);
	return page ? wfs_page_chunk(page, index, ret_digest) :
		      was_sent(model, file, index, ret_digest);
}

void wfs_stock_note_chunk(struct wfs_stock_model *model,
			  struct wfs_stock_file *file, uint64_t index,
			  const uint8_t *digest)
{
	struct wfs_page *page = wfs_stock_page(model, file);

	if (page) {
		wfs_page_note(page, index, digest);
		return;
	}
	if (!model->stock->holder.direct)
		return;
	pthread_mutex_lock(&model->lock);
	if (!file->sent)
		file->sent = wfs_calloc(wfs_chunk_count(file->region->size),
					sizeof(*file->sent));
	memcpy(file->sent[index], digest, WFS_WIRE_HASH_SIZE);
	file->sent[index][WFS_WIRE_HASH_SIZE] = 1;
	pthread_mutex_unlock(&model->lock);
}
