/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real directories, a watch over them, and the registry that it fills.
 */
#ifndef WFS_TESTS_UNIT_WATCH_WORLD_H
#define WFS_TESTS_UNIT_WATCH_WORLD_H

#include "core/model/registry.h"
#include "tools/watch.h"

struct world {
	char dir[64]; /* private; "models" and "out" lie in it */
	char *models_dir;
	struct wfs_registry *registry;
	struct wfs_option_model by_hand[2];
	struct wfs_watch *watch;
	unsigned complaints;
	char complaint[2048]; /* the last one */
	uint64_t events;      /* position at the start */
};

/* For cmocka: a world, empty, and its end. */
int world_make(void **state);
int world_drop(void **state);
/* Starts a watch over the models directory and what is named by hand. */
int world_watch(struct world *w, bool dir, struct wfs_err *err);
/* Names the checkpoint at `path`, up to two of them. */
void world_name(struct world *w, const char *name, const char *path);
void world_put_file(const char *path, const void *bytes, size_t len, int flags);
/* A safetensors file with one tensor "t" of `n` bytes. */
void world_put_shard(struct world *w, const char *path, unsigned n);
/* A checkpoint of one shard. */
void world_put_model(struct world *w, const char *path, unsigned n);
void world_move(struct world *w, const char *from, const char *to);
/* Bytes of the model's tensors, or -1 when it is not served. */
int64_t world_served(struct world *w, const char *name);
/* Since the start. */
unsigned world_count_events(struct world *w, const char *kind);
void world_look(struct world *w, unsigned times);

#define TW(name) cmocka_unit_test_setup_teardown(name, world_make, world_drop)

#endif
