/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of <weightfs/seed.h> share: the seed and its models.
 */
#ifndef WFS_TOOLS_LIB_SEED_INNER_H
#define WFS_TOOLS_LIB_SEED_INNER_H

#include <pthread.h>

#include "core/model/registry.h"
#include "tools/lib/face.h"
#include "tools/lib/fork.h"
#include "tools/lib/include/weightfs/seed.h"
#include "transport/cuda/reader.h"
#include "transport/live/live.h"
#include "transport/rdma/export.h"
#include "transport/seed/seed.h"

struct weightfs_seed {
	struct wfs_forkable forkable;
	struct wfs_bounces *bounces;
	struct wfs_book *book;	     /* NULL: no digests are wanted */
	struct wfs_gpu_reader *gpus; /* NULL: not wanted yet */
	struct wfs_live_reader of_gpus;
	struct wfs_registry *registry;
	struct wfs_seed *served;       /* NULL: it was closed */
	struct wfs_exporter *exporter; /* NULL: there is no RDMA */
	pthread_mutex_t lock; /* guards the models, and what is offered */
	struct weightfs_seed_model *models;
};

struct weightfs_seed_model {
	struct weightfs_seed *seed;
	struct weightfs_seed_model *next;
	struct wfs_live_image *image;
	bool published, lent;
	bool declares; /* the update that there is says what it makes */
};

/* 0, or -ECHILD with a sentence: the handle is another process's. */
int wfs_face_check(const struct weightfs_seed *seed, struct wfs_err *err);

/* Once the seed is open: -EINVAL; as wfs_exporter_open where it must be had. */
int wfs_face_open_rdma(struct weightfs_seed *seed, int rdma,
		       struct wfs_err *err);
/* A sealed model's memory may be read; or a line says why not. */
void wfs_face_lend(struct weightfs_seed_model *model);
/* Nobody reads it any more; the image may go. */
void wfs_face_take_back(struct weightfs_seed_model *model);

#endif
