/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.safetensors.index.json: which file each tensor is in.
 *
 *   {"metadata": …, "weight_map": {"<tensor>": "<file>", …}}
 *
 * The rules: UTF-8, JSON, an object; one `weight_map`, an object that is not
 * empty and has no tensor twice; every file a string without NULs.  What else
 * lies beside `weight_map` is ignored.  Whether the files and tensors exist
 * is the model's business.
 */
#ifndef WFS_CORE_MODEL_INDEX_H
#define WFS_CORE_MODEL_INDEX_H

#include <stdint.h>

#include "core/base/err.h"
#include "core/base/keys.h"

#define WFS_INDEX_MAX 100000000u /* bytes */

struct wfs_index {
	struct wfs_key *tensors; /* byte order; tag: row */
	uint32_t *file;		 /* row -> index in files */
	uint32_t count;
	const char **files; /* distinct, byte order */
	uint32_t file_count;
};

/*
 * Parses text[0 … len), followed by WFS_JSON_PADDING writable bytes; it is
 * changed and must live as long as the result, whose strings lie in it.
 * `what` is the file in messages.  -EBADMSG with a sentence for every broken
 * rule.
 */
int wfs_index_parse(char *text, size_t len, const char *what,
		    struct wfs_index *ret, struct wfs_err *err);

void wfs_index_clear(struct wfs_index *index);

#endif
