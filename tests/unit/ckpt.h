/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source whose files are in memory: a checkpoint for tests of the model, as
 * valid or as broken as they like.
 */
#ifndef WFS_TESTS_UNIT_CKPT_H
#define WFS_TESTS_UNIT_CKPT_H

#include "core/source.h"

struct ckpt;

/* `label` is what messages call the checkpoint. */
struct ckpt *ckpt_new(const char *label);
/* Directories on the way are added too. */
void ckpt_add(struct ckpt *m, const char *path, const void *bytes, size_t len);
void ckpt_add_text(struct ckpt *m, const char *path, const char *text);
void ckpt_add_dir(struct ckpt *m, const char *path);
/* A safetensors file: length, this header, `data` bytes that count up. */
void ckpt_add_safetensors(struct ckpt *m, const char *path, const char *header,
			  size_t data);
/* Every read of this file answers `code`. */
void ckpt_fail(struct ckpt *m, const char *path, int code);
/* The next source lists this file with other times: it was rewritten. */
void ckpt_touch(struct ckpt *m, const char *path);
/* An entry as it stands, whatever a listing may not hold. */
void ckpt_add_odd(struct ckpt *m, const char *path, mode_t mode, bool region);

/* The source; nothing is added after that.  The last put frees all of it. */
struct wfs_source *ckpt_source(struct ckpt *m);

#endif
