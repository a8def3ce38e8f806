/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting an image together, and its end; see image.h.
 */
#include "transport/live/image.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "core/model/names.h"
#include "core/plan/layout.h"

static int check_word(const char *word, struct wfs_err *err)
{
	size_t len = word ? strlen(word) : 0;

	if (len <= WFS_FILE_NAME_MAX &&
	    (!len || wfs_utf8_span(word, len) == len))
		return 0;
	return wfs_err_set(err, -EINVAL,
			   "'%.64s…' is not UTF-8, or has more than %d bytes",
			   word, WFS_FILE_NAME_MAX);
}

static int check_words(const struct wfs_live_model *model, struct wfs_err *err)
{
	const char *words[] = { model->name,	       model->engine,
				model->engine_version, model->layout,
				model->state,	       model->declared };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (check_word(words[i], err))
			return -EINVAL;
	if (model->state && strcmp(model->state, "loaded") != 0 &&
	    strcmp(model->state, "processed") != 0)
		return wfs_err_set(err, -EINVAL,
				   "state '%s' is neither 'loaded' nor "
				   "'processed'",
				   model->state);
	if (!model->name)
		return wfs_err_set(err, -EINVAL, "a model has no name");
	if (strchr(model->name, '@'))
		return wfs_err_set(err, -EINVAL,
				   "model name '%s' holds an '@', which stands "
				   "before layouts and versions",
				   model->name);
	return wfs_model_name_check(model->name, err);
}

static int read_layout(const struct wfs_live_model *model,
		       struct wfs_live_image *image, struct wfs_err *err)
{
	struct wfs_layout_spec spec;

	image->tp = image->all = WFS_MODEL_MAX_RANKS;
	if (!model->layout)
		return 0;
	if (wfs_layout_parse(model->layout, &spec) || spec.hf)
		return wfs_err_set(err, -EINVAL,
				   "layout '%s' of model '%s' is none such as "
				   "tp4 or tp4pp2",
				   model->layout, model->name);
	image->tp = spec.tp;
	image->all = spec.tp * spec.pp;
	image->stages = spec.pp > 1;
	return 0;
}

int wfs_live_image_new(const struct wfs_live_model *model,
		       struct wfs_bounces *bounces,
		       struct wfs_live_image **ret_image, struct wfs_err *err)
{
	struct wfs_live_image *image;
	int rc = check_words(model, err);

	if (rc)
		return rc;
	image = wfs_calloc(1, sizeof(*image));
	atomic_init(&image->refs, 1);
	wfs_live_cell_init(&image->cell);
	image->bounces = bounces;
	image->one_name = model->one_name;
	image->live.digests = model->digests;
	image->name = wfs_strdup(model->name);
	image->live.engine = image->words[0] =
		wfs_strdup_or_null(model->engine);
	image->live.engine_version = image->words[1] =
		wfs_strdup_or_null(model->engine_version);
	image->live.layout = image->words[2] =
		wfs_strdup_or_null(model->layout);
	image->live.state = image->words[3] = wfs_strdup_or_null(model->state);
	image->declared = wfs_strdup_or_null(model->declared);
	rc = read_layout(model, image, err);
	if (!rc && getrandom(image->id, sizeof(image->id), 0) !=
			   (ssize_t)sizeof(image->id))
		rc = wfs_err_set(err, -EIO, "there is no randomness");
	if (rc)
		wfs_live_image_put(image);
	else
		*ret_image = image;
	return rc;
}

int wfs_live_image_declare(struct wfs_live_image *image, const char *declared,
			   struct wfs_err *err)
{
	int rc = check_word(declared, err);

	if (rc)
		return rc;
	free(image->declared);
	image->declared = wfs_strdup_or_null(declared);
	return 0;
}

struct wfs_live_image *wfs_live_image_get(struct wfs_live_image *image)
{
	atomic_fetch_add(&image->refs, 1);
	return image;
}

void wfs_live_image_put(struct wfs_live_image *image)
{
	if (!image || atomic_fetch_sub(&image->refs, 1) != 1)
		return;
	for (uint32_t i = 0; i < image->rank_count; i++) {
		struct wfs_live_rank *rank = &image->ranks[i];

		for (uint32_t k = 0; k < rank->count; k++)
			wfs_live_tensor_clear(&rank->tensors[k]);
		free(rank->tensors);
		free(rank->order);
		free(rank->ends);
	}
	for (uint32_t i = 0; i < image->file_count; i++) {
		free(image->files[i].path);
		free(image->files[i].bytes);
	}
	for (size_t i = 0; i < sizeof(image->words) / sizeof(char *); i++)
		free(image->words[i]);
	free(image->declared);
	free((void *)(uintptr_t)image->live.ranks);
	free(image->files);
	free(image->ranks);
	free(image->name);
	wfs_live_cell_destroy(&image->cell);
	free(image);
}

/* Of that number, made if need be. */
static struct wfs_live_rank *find_rank(struct wfs_live_image *image,
				       uint32_t number)
{
	struct wfs_live_rank *rank;

	for (uint32_t i = image->rank_count; i-- > 0;)
		if (image->ranks[i].number == number)
			return &image->ranks[i];
	image->ranks = wfs_realloc(image->ranks, (image->rank_count + 1) *
							 sizeof(*image->ranks));
	rank = &image->ranks[image->rank_count++];
	*rank = (struct wfs_live_rank){ .number = number };
	return rank;
}

int wfs_live_image_add(struct wfs_live_image *image, uint32_t rank,
		       const struct wfs_live_said *said, struct wfs_err *err)
{
	struct wfs_live_tensor tensor;
	struct wfs_live_rank *to;
	int rc;

	if (image->sealed)
		return wfs_err_set(err, -EBUSY,
				   "model '%s' is served already: what it is "
				   "made of is fixed",
				   image->name);
	if (rank >= image->all)
		return wfs_err_set(
			err, -EINVAL, "model '%s' has no rank %u: %s has %u",
			image->name, rank,
			image->live.layout ? image->live.layout : "an engine",
			image->all);
	rc = wfs_live_tensor_init(said, &tensor, err);
	if (rc)
		return wfs_err_prefix(err, "rank %u of model '%s'", rank,
				      image->name);
	to = find_rank(image, rank);
	if (to->count == WFS_MODEL_MAX_TENSORS) {
		wfs_live_tensor_clear(&tensor);
		return wfs_err_set(err, -E2BIG,
				   "rank %u of model '%s' has too many tensors",
				   rank, image->name);
	}
	/* As many again whenever a power of two is full. */
	if (!(to->count & (to->count - 1)))
		to->tensors = wfs_realloc(
			to->tensors, (to->count ? 2 * (size_t)to->count : 1) *
					     sizeof(*to->tensors));
	to->tensors[to->count++] = tensor;
	return 0;
}

int wfs_live_image_add_file(struct wfs_live_image *image, const char *path,
			    const void *bytes, size_t len, struct wfs_err *err)
{
	struct wfs_live_file *file;

	if (image->sealed)
		return wfs_err_set(err, -EBUSY,
				   "model '%s' is served already: what it is "
				   "made of is fixed",
				   image->name);
	if (!path || strchr(path, '/') || !wfs_name_is_path(path) ||
	    wfs_utf8_span(path, strlen(path)) != strlen(path) ||
	    wfs_ends_with(path, ".safetensors"))
		return wfs_err_set(err, -EINVAL,
				   "'%.200s' is no name for a small file of "
				   "model '%s', such as config.json",
				   path ? path : "", image->name);
	if (image->file_count == WFS_LIVE_FILES_MAX ||
	    len > WFS_LIVE_FILE_BYTES - image->small)
		return wfs_err_set(err, -EFBIG,
				   "the small files of model '%s' are more "
				   "than %d, or larger than %u bytes",
				   image->name, WFS_LIVE_FILES_MAX,
				   WFS_LIVE_FILE_BYTES);
	image->small += len;
	image->files = wfs_realloc(image->files, (image->file_count + 1) *
							 sizeof(*image->files));
	file = &image->files[image->file_count++];
	*file = (struct wfs_live_file){ .len = len, .size = len };
	file->path = wfs_strdup(path);
	file->bytes = wfs_malloc(len + 1);
	if (len)
		memcpy(file->bytes, bytes, len);
	return 0;
}
