/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file names of sharded_state checkpoints, as vLLM and SGLang write and
 * look for them:
 *
 *   model-rank-{rank}-part-{part}.safetensors
 *   model-pp-{pp}-tp-{tp}-part-{part}.safetensors   with pipeline stages
 *
 * Numbers are plain decimal, from 0, without leading zeros and at most
 * 32 bits: what is written otherwise is no such name, and no engine finds it.
 */
#ifndef WFS_CORE_MODEL_SHARDED_STATE_H
#define WFS_CORE_MODEL_SHARDED_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct wfs_sharded_name {
	bool pipeline; /* the pattern with pp and tp */
	uint32_t pp;   /* 0 in the other pattern */
	uint32_t tp;   /* the rank in the other pattern */
	uint32_t part;
	uint32_t tag;  /* the caller's */
	uint32_t rank; /* in (pp, tp) order, set by wfs_sharded_arrange */
};

/* 0, or -EINVAL when `file` follows neither pattern.  `tag` is left alone. */
int wfs_sharded_parse(const char *file, struct wfs_sharded_name *ret);

/*
 * Sorts by (pp, tp, part), numbers the ranks and sees that nothing is
 * missing: ranks 0 … N-1 (all stages with the same number of them), parts
 * 0 … K-1 of each.  `some`: only some of the ranks need be there.  `dir` is
 * the checkpoint in messages.  -EINVAL for files of both patterns, -ENOENT for
 * the first file that is missing.
 */
int wfs_sharded_arrange(struct wfs_sharded_name *names, size_t count, bool some,
			const char *dir, uint32_t *ret_ranks,
			struct wfs_err *err);

/* What wfs_sharded_parse takes apart. */
#define WFS_SHARDED_FILE_BYTES 72 /* with the NUL */
void wfs_sharded_file_name(const struct wfs_sharded_name *name, char *buf,
			   size_t size);

/* The directory name of a rank: "3", or "pp-0-tp-3". */
void wfs_sharded_rank_name(const struct wfs_sharded_name *name, char *buf,
			   size_t size);

#endif
