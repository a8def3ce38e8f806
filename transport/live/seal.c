/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From tensors to files: what is left out, in which order the rest lies, and
 * where each ends.
 */
#include <errno.h>
#include <string.h>

#include "core/base/least.h"
#include "core/base/text.h"
#include "core/model/header.h"
#include "core/model/sharded_state.h"
#include "transport/live/image.h"

#define PAGE   4096
#define PROBED 256 /* tensors at a time */

static int by_number(const void *a, const void *b)
{
	const struct wfs_live_rank *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct wfs_live_file *)a)->path,
		      ((const struct wfs_live_file *)b)->path);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct wfs_live_tensor *)a)->name,
		      ((const struct wfs_live_tensor *)b)->name);
}

/* Whatever may cover another comes before it. */
static int by_memory(const void *a, const void *b)
{
	const struct wfs_live_tensor *x = a, *y = b;

	if (x->low != y->low)
		return x->low < y->low ? -1 : 1;
	if (x->high != y->high)
		return x->high > y->high ? -1 : 1;
	if (wfs_live_tensor_is_whole(x) != wfs_live_tensor_is_whole(y))
		return wfs_live_tensor_is_whole(x) ? -1 : 1;
	return by_name(a, b);
}

/*
 * As what sharded_state saves: nothing that is empty, or lies within another
 * that is contiguous; of those that are the same the least name.
 */
static void drop_others(struct wfs_live_rank *rank)
{
	struct wfs_live_tensor *t = rank->tensors;
	uintptr_t covered = 0; /* up to here */
	uint32_t kept = 0;

	qsort(t, rank->count, sizeof(*t), by_memory);
	for (uint32_t i = 0; i < rank->count; i++) {
		if (!t[i].size || t[i].high <= covered) {
			wfs_live_tensor_clear(&t[i]);
			continue;
		}
		if (wfs_live_tensor_is_whole(&t[i]))
			covered = t[i].high;
		t[kept++] = t[i];
	}
	rank->count = kept;
}

/* Sorts by name; -EEXIST. */
static int check_names(const struct wfs_live_image *image,
		       struct wfs_live_rank *rank, struct wfs_err *err)
{
	struct wfs_live_tensor *t = rank->tensors;

	qsort(t, rank->count, sizeof(*t), by_name);
	for (uint32_t i = 1; i < rank->count; i++)
		if (!by_name(&t[i - 1], &t[i]))
			return wfs_err_set(err, -EEXIST,
					   "rank %u of model '%s' has two "
					   "tensors '%.200s'",
					   rank->number, image->name,
					   t[i].name);
	return 0;
}

/* Of tensors that were sorted by name. */
static int make_header(const struct wfs_live_image *image,
		       struct wfs_live_rank *rank, struct wfs_live_file *file,
		       struct wfs_err *err)
{
	struct wfs_tensor *all wfs_autofree =
		wfs_calloc(rank->count + 1, sizeof(*all));
	struct wfs_text text = { 0 };

	for (uint32_t i = 0; i < rank->count; i++) {
		const struct wfs_live_tensor *t = &rank->tensors[i];

		all[i].name = t->name;
		all[i].shape = t->shape;
		all[i].size = t->size;
		all[i].dtype = (uint8_t)t->dtype;
		all[i].ndim = (uint8_t)t->ndim;
	}
	rank->order = wfs_header_order(all, rank->count);
	wfs_header_write(all, rank->order, rank->count, false, &text);
	file->bytes = text.data;
	file->len = file->size = text.len;
	rank->ends = wfs_calloc(rank->count + 1, sizeof(*rank->ends));
	for (uint32_t i = 0; i < rank->count; i++) {
		if (__builtin_add_overflow(file->size, all[rank->order[i]].size,
					   &file->size) ||
		    file->size > INT64_MAX)
			return wfs_err_set(err, -EFBIG,
					   "rank %u of model '%s' has more "
					   "bytes than a file can have",
					   rank->number, image->name);
		rank->ends[i] = file->size;
	}
	if (file->len > WFS_HEADER_MAX)
		return wfs_err_set(err, -EFBIG,
				   "rank %u of model '%s': its header has more "
				   "than %u bytes",
				   rank->number, image->name, WFS_HEADER_MAX);
	return 0;
}

static int fill_ends(struct wfs_bounce *bounce,
		     const struct wfs_live_tensor *tensors, uint32_t count)
{
	struct iovec ends[2 * PROBED];
	int n = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct wfs_live_reader *reader = tensors[i].reader;
		int rc = 0;

		if (!tensors[i].size)
			continue;
		ends[n] = (struct iovec){ (void *)tensors[i].low, 1 };
		ends[n + 1] =
			(struct iovec){ (void *)(tensors[i].high - 1), 1 };
		if (reader)
			rc = wfs_bounce_fill_by(bounce, 0, reader, &ends[n], 2);
		else
			n += 2;
		if (rc)
			return rc;
	}
	return n ? wfs_bounce_fill(bounce, 0, ends, n, (size_t)n) : 0;
}

/* Can they be read at all?  A byte at either end tells most mistakes. */
static int probe(const struct wfs_live_image *image,
		 const struct wfs_live_rank *rank, struct wfs_err *err)
{
	const struct wfs_live_tensor *t = rank->tensors;
	struct wfs_bounce *bounce = wfs_bounce_get(image->bounces);
	uint32_t at = 0, step = PROBED;
	int rc = bounce ? 0 : -EBUSY;

	/* Many at a time; where some are not there, one by one. */
	while (!rc && at < rank->count) {
		uint32_t n = rank->count - at < step ? rank->count - at : step;

		rc = fill_ends(bounce, &t[at], n);
		if (rc && step > 1) {
			step = 1;
			rc = 0;
		} else if (!rc) {
			at += n;
		}
	}
	if (bounce)
		wfs_bounce_put(bounce);
	return rc ? wfs_err_set(err, rc,
				"rank %u of model '%s': tensor '%.200s' at %p "
				"cannot be read: this process has no such "
				"memory%s",
				rank->number, image->name, t[at].name,
				t[at].data,
				t[at].reader ? " on a GPU" :
					       " (of a GPU: say so)") :
		    0;
}

static char *file_path(const struct wfs_live_image *image, uint32_t rank)
{
	struct wfs_sharded_name name = {
		.pipeline = image->stages,
		.pp = rank / image->tp,
		.tp = rank % image->tp,
	};
	char path[WFS_SHARDED_FILE_BYTES];

	wfs_sharded_file_name(&name, path, sizeof(path));
	return wfs_strdup(path);
}

static int add_rank(struct wfs_live_image *image, struct wfs_live_rank *rank,
		    struct wfs_err *err)
{
	struct wfs_live_file *file = &image->files[image->file_count];
	int rc;

	if (image->one_name)
		drop_others(rank);
	rc = check_names(image, rank, err);
	if (!rc)
		rc = probe(image, rank, err);
	if (rc)
		return rc;
	*file = (struct wfs_live_file){ .rank = rank };
	image->file_count++;
	file->path = file_path(image, rank->number);
	return make_header(image, rank, file, err);
}

int wfs_live_image_seal(struct wfs_live_image *image, struct wfs_err *err)
{
	uint32_t *ranks;

	if (image->sealed)
		return wfs_err_set(err, -EALREADY,
				   "model '%s' is served already", image->name);
	if (!image->rank_count)
		return wfs_err_set(err, -ENOENT,
				   "model '%s' has no tensor that could be "
				   "served",
				   image->name);
	/* Also after a failure: it was taken apart. */
	image->sealed = true;
	qsort(image->ranks, image->rank_count, sizeof(*image->ranks),
	      by_number);
	image->files = wfs_realloc(image->files,
				   (image->file_count + image->rank_count) *
					   sizeof(*image->files));
	ranks = wfs_calloc(image->rank_count, sizeof(*ranks));
	image->live.ranks = ranks;
	image->live.rank_count = image->rank_count;
	for (uint32_t i = 0; i < image->rank_count; i++) {
		int rc = add_rank(image, &image->ranks[i], err);

		if (rc)
			return rc;
		ranks[i] = image->ranks[i].number;
	}
	qsort(image->files, image->file_count, sizeof(*image->files), by_path);
	for (uint32_t i = 1; i < image->file_count; i++)
		if (!by_path(&image->files[i - 1], &image->files[i]))
			return wfs_err_set(err, -EEXIST,
					   "model '%s' has two files '%s'",
					   image->name, image->files[i].path);
	return 0;
}

static int by_low(const void *a, const void *b)
{
	const struct wfs_live_span *x = a, *y = b;

	return x->low < y->low ? -1 : x->low > y->low;
}

/* Those that touch a page of each other are one. */
static size_t merge(struct wfs_live_span *spans, size_t n)
{
	size_t kept = 0;

	qsort(spans, n, sizeof(*spans), by_low);
	for (size_t i = 0; i < n; i++) {
		struct wfs_live_span *last = &spans[kept ? kept - 1 : 0];

		if (kept &&
		    spans[i].low / PAGE <= (last->high + PAGE - 1) / PAGE)
			last->high = wfs_most(last->high, spans[i].high);
		else
			spans[kept++] = spans[i];
	}
	return kept;
}

/* Of all tensors, or of those that can be lent; with room for the headers. */
static size_t collect(const struct wfs_live_image *image, bool lent,
		      struct wfs_live_span **ret_spans)
{
	struct wfs_live_span *spans;
	size_t n = image->rank_count + 1;

	for (uint32_t i = 0; i < image->rank_count; i++)
		n += image->ranks[i].count;
	spans = wfs_calloc(n, sizeof(*spans));
	n = 0;
	for (uint32_t i = 0; i < image->rank_count; i++) {
		const struct wfs_live_rank *rank = &image->ranks[i];

		for (uint32_t k = 0; k < rank->count; k++) {
			const struct wfs_live_tensor *t = &rank->tensors[k];

			if (lent ? !wfs_live_tensor_can_be_lent(t) : !t->size)
				continue;
			spans[n++] = (struct wfs_live_span){ t->low, t->high };
		}
	}
	*ret_spans = spans;
	return merge(spans, n);
}

size_t wfs_live_image_spans(const struct wfs_live_image *image,
			    struct wfs_live_span **ret_spans)
{
	struct wfs_live_span *spans;
	size_t n = collect(image, false, &spans);

	if (ret_spans)
		*ret_spans = spans;
	else
		free(spans);
	return n;
}

size_t wfs_live_image_lent(const struct wfs_live_image *image,
			   struct wfs_live_span **ret_spans)
{
	size_t n = collect(image, true, ret_spans);

	for (uint32_t i = 0; i < image->file_count; i++) {
		const struct wfs_live_file *file = &image->files[i];
		uintptr_t at = (uintptr_t)file->bytes;

		if (file->rank)
			(*ret_spans)[n++] =
				(struct wfs_live_span){ at, at + file->len };
	}
	qsort(*ret_spans, n, sizeof(**ret_spans), by_low);
	return n;
}
