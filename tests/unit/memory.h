/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source whose files are in memory: a checkpoint for tests of the model, as
 * valid or as broken as they like.
 */
#ifndef WFS_TESTS_UNIT_MEMORY_H
#define WFS_TESTS_UNIT_MEMORY_H

#include "core/source.h"

struct memory;

/* `label` is what messages call the checkpoint. */
struct memory *memory_new(const char *label);
/* Directories on the way are added too. */
void memory_add(struct memory *m, const char *path, const void *bytes,
		size_t len);
void memory_add_text(struct memory *m, const char *path, const char *text);
void memory_add_dir(struct memory *m, const char *path);
/* A safetensors file: length, this header, `data` bytes that count up. */
void memory_add_safetensors(struct memory *m, const char *path,
			    const char *header, size_t data);
/* Every read of this file answers `code`. */
void memory_fail(struct memory *m, const char *path, int code);
/* The next source lists this file with other times: it was rewritten. */
void memory_touch(struct memory *m, const char *path);
/* An entry as it stands, whatever a listing may not hold. */
void memory_add_odd(struct memory *m, const char *path, mode_t mode,
		    bool region);

/* The source; nothing is added after that.  The last put frees all of it. */
struct wfs_source *memory_source(struct memory *m);

#endif
