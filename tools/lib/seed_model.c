/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The models of <weightfs/seed.h>: what they are made of, their epochs.
 */
#include <errno.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/digest/digests.h"
#include "tools/lib/seed_inner.h"

static int read_model(const struct weightfs_seed_model_options *options,
		      struct wfs_live_model *ret, struct wfs_err *err)
{
	struct weightfs_seed_model_options known = { 0 };
	int rc = wfs_face_take(options, "options of a model", &known,
			       sizeof(known), err);

	if (rc)
		return rc;
	*ret = (struct wfs_live_model){
		.name = known.name,
		.engine = known.engine,
		.engine_version = known.engine_version,
		.layout = known.layout,
		.state = known.state,
		.declared = known.declared,
		.one_name = known.one_name != 0,
	};
	return 0;
}

static bool has_model(const struct weightfs_seed *seed, const char *name)
{
	for (const struct weightfs_seed_model *m = seed->models; m; m = m->next)
		if (!strcmp(m->image->name, name))
			return true;
	return false;
}

/* With the lock held. */
static int add_model(struct weightfs_seed *seed,
		     const struct wfs_live_model *said,
		     struct weightfs_seed_model **ret_model,
		     struct wfs_err *err)
{
	struct weightfs_seed_model *model;
	struct wfs_live_image *image;
	int rc = wfs_live_image_new(said, seed->bounces, &image, err);

	if (rc)
		return rc;
	if (has_model(seed, image->name)) {
		wfs_live_image_put(image);
		return wfs_err_set(err, -EEXIST,
				   "this seed has a model '%s' already",
				   said->name);
	}
	model = wfs_calloc(1, sizeof(*model));
	model->seed = seed;
	model->image = image;
	model->next = seed->models;
	seed->models = model;
	*ret_model = model;
	return 0;
}

int weightfs_seed_model_new(struct weightfs_seed *seed,
			    const struct weightfs_seed_model_options *options,
			    struct weightfs_seed_model **ret_model)
{
	struct wfs_err *err = wfs_face_err();
	struct wfs_live_model said = { 0 };
	int rc = wfs_face_check(seed, err);

	if (!rc)
		rc = read_model(options, &said, err);
	if (rc)
		return rc;
	pthread_mutex_lock(&seed->lock);
	said.digests = seed->book != NULL;
	rc = add_model(seed, &said, ret_model, err);
	pthread_mutex_unlock(&seed->lock);
	return rc;
}

static int read_gpu(void *ctx, const struct iovec *pieces, int n, int fd,
		    uint64_t off)
{
	return wfs_gpu_reader_read(ctx, pieces, n, fd, off);
}

/* Who reads memory of that kind; *ret_reader is the seed's, or NULL. */
static int find_reader(struct weightfs_seed *seed, int device,
		       const struct wfs_live_reader **ret_reader,
		       struct wfs_err *err)
{
	int rc = 0;

	*ret_reader = NULL;
	if (device == WEIGHTFS_SEED_HOST)
		return 0;
	if (device != WEIGHTFS_SEED_CUDA)
		return wfs_err_set(err, -ENOTSUP,
				   "device %d is of no kind whose memory is "
				   "served",
				   device);
	pthread_mutex_lock(&seed->lock);
	if (!seed->gpus) {
		rc = wfs_gpu_reader_open(WFS_CHUNK, &seed->gpus, err);
		/* Once: who serves tensors reads it without the lock. */
		seed->of_gpus =
			(struct wfs_live_reader){ read_gpu, seed->gpus };
	}
	pthread_mutex_unlock(&seed->lock);
	if (!rc)
		*ret_reader = &seed->of_gpus;
	return rc;
}

int weightfs_seed_add_tensor(struct weightfs_seed_model *model,
			     const struct weightfs_seed_tensor *tensor)
{
	struct wfs_err *err = wfs_face_err();
	struct weightfs_seed_tensor known = { 0 };
	const struct wfs_live_reader *reader;
	struct wfs_live_said said;
	int rc = wfs_face_check(model->seed, err);

	if (!rc)
		rc = wfs_face_take(tensor, "a tensor", &known, sizeof(known),
				   err);
	if (rc)
		return rc;
	rc = find_reader(model->seed, known.device, &reader, err);
	if (rc)
		return wfs_err_prefix(err, "tensor '%.200s'",
				      known.name ? known.name : "");
	said = (struct wfs_live_said){
		.name = known.name,
		.dtype = known.dtype,
		.shape = known.shape,
		.strides = known.strides,
		.ndim = known.ndim,
		.data = known.data,
		.reader = reader,
	};
	return wfs_live_image_add(model->image, known.rank, &said, err);
}

int weightfs_seed_add_file(struct weightfs_seed_model *model, const char *name,
			   const void *bytes, size_t len)
{
	struct wfs_err *err = wfs_face_err();
	int rc = wfs_face_check(model->seed, err);

	return rc ? rc :
		    wfs_live_image_add_file(model->image, name, bytes, len,
					    err);
}

/* The epoch that it has now, under its name.  With the lock held. */
static int offer(struct weightfs_seed_model *model, struct wfs_err *err)
{
	struct wfs_source *source;
	struct wfs_model *loaded;
	int rc = wfs_live_open(model->image, &source, err);

	if (rc)
		return rc;
	rc = wfs_model_load(source, model->image->name, 1, &loaded, err);
	wfs_source_put(source);
	if (rc)
		return rc;
	wfs_registry_offer(model->seed->registry, loaded);
	wfs_registry_tick(model->seed->registry);
	wfs_seed_refresh(model->seed->served);
	return 0;
}

static int offer_whole(struct weightfs_seed_model *model, struct wfs_err *err)
{
	int rc;

	pthread_mutex_lock(&model->seed->lock);
	wfs_fork_hold();
	rc = offer(model, err);
	wfs_fork_release();
	pthread_mutex_unlock(&model->seed->lock);
	return rc;
}

int weightfs_seed_publish(struct weightfs_seed_model *model)
{
	struct wfs_err *err = wfs_face_err();
	int rc = wfs_face_check(model->seed, err);

	if (!rc)
		rc = wfs_live_image_seal(model->image, err);
	if (rc)
		return rc;
	wfs_face_lend(model);
	rc = offer_whole(model, err);
	if (rc)
		wfs_face_take_back(model);
	model->published = !rc;
	return rc;
}

size_t weightfs_seed_regions(const struct weightfs_seed_model *model)
{
	return wfs_live_image_spans(model->image, NULL);
}

uint64_t weightfs_seed_epoch(const struct weightfs_seed_model *model)
{
	return wfs_live_cell_epoch(&model->image->cell);
}

int weightfs_seed_update_begin(struct weightfs_seed_model *model)
{
	struct wfs_err *err = wfs_face_err();
	int rc = wfs_face_check(model->seed, err);

	if (rc)
		return rc;
	return wfs_live_cell_begin(&model->image->cell) ?
		       wfs_err_set(err, -EALREADY,
				   "model '%s' is being updated already",
				   model->image->name) :
		       0;
}

static int none(struct weightfs_seed_model *model, struct wfs_err *err)
{
	return wfs_err_set(err, -EINVAL, "model '%s' is not being updated",
			   model->image->name);
}

/* With the lock held. */
static int declare(struct weightfs_seed_model *model, const char *declared,
		   struct wfs_err *err)
{
	if (!(wfs_live_cell_epoch(&model->image->cell) & 1))
		return none(model, err);
	return wfs_live_image_declare(model->image, declared, err);
}

int weightfs_seed_update_declare(struct weightfs_seed_model *model,
				 const char *declared)
{
	struct wfs_err *err = wfs_face_err();
	int rc = wfs_face_check(model->seed, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&model->seed->lock);
	rc = declare(model, declared, err);
	model->declares = !rc && declared;
	pthread_mutex_unlock(&model->seed->lock);
	return rc;
}

/* With the lock held. */
static int end(struct weightfs_seed_model *model, struct wfs_err *err)
{
	if (wfs_live_cell_end(&model->image->cell))
		return none(model, err);
	/* What was declared is of the version before. */
	if (!model->declares)
		wfs_live_image_declare(model->image, NULL, err);
	model->declares = false;
	return 0;
}

int weightfs_seed_update_end(struct weightfs_seed_model *model)
{
	struct wfs_err *err = wfs_face_err();
	int rc = wfs_face_check(model->seed, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&model->seed->lock);
	rc = end(model, err);
	pthread_mutex_unlock(&model->seed->lock);
	return rc || !model->published ? rc : offer_whole(model, err);
}

void weightfs_seed_model_free(struct weightfs_seed_model *model)
{
	struct weightfs_seed_model **at;
	struct weightfs_seed *seed;

	if (!model || !wfs_forkable_is_ours(&model->seed->forkable))
		return;
	seed = model->seed;
	wfs_live_cell_revoke(&model->image->cell);
	wfs_face_take_back(model);
	pthread_mutex_lock(&seed->lock);
	for (at = &seed->models; *at != model;)
		at = &(*at)->next;
	*at = model->next;
	if (model->published)
		wfs_registry_withdraw(seed->registry, model->image->name);
	if (seed->served)
		wfs_seed_refresh(seed->served);
	pthread_mutex_unlock(&seed->lock);
	wfs_live_image_put(model->image);
	free(model);
}
