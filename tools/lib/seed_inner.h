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
#include "transport/live/live.h"
#include "transport/seed/seed.h"

struct weightfs_seed {
	struct wfs_forkable forkable;
	struct wfs_bounces *bounces;
	struct wfs_registry *registry;
	struct wfs_seed *served; /* NULL: it was closed */
	pthread_mutex_t lock;	 /* guards the models, and what is offered */
	struct weightfs_seed_model *models;
};

struct weightfs_seed_model {
	struct weightfs_seed *seed;
	struct weightfs_seed_model *next;
	struct wfs_live_image *image;
	bool published;
};

/* 0, or -ECHILD with a sentence: the handle is another process's. */
int wfs_face_check(const struct weightfs_seed *seed, struct wfs_err *err);

#endif
