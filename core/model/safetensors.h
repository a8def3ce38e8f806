/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a safetensors file.
 *
 *   u64 little-endian header length | JSON object | tensor bytes
 *
 * Read as strictly as the format's description says and the reference
 * implementation does, and no stricter: fields that it ignores are ignored,
 * any order of tensors and any white space after the object are fine, a null
 * `__metadata__` is none.  Stricter only in this: a name or key that appears
 * twice, a first byte other than '{' and more than WFS_DIMS_MAX dimensions
 * are refused.
 *
 * The rules, each with a sentence that names file, tensor and rule:
 *
 *   at least 8 bytes; header within the file and at most 100,000,000 bytes,
 *   starting with '{', UTF-8, JSON; no key twice; every tensor an object
 *   with dtype, shape and data_offsets; a known dtype; shape and offsets of
 *   whole numbers; begin <= end <= bytes of data; shape times dtype without
 *   overflow, whole bytes, equal to end - begin; in order of their offsets
 *   the tensors fill the data from 0 to the end of the file without gap or
 *   overlap; `__metadata__` maps strings to strings.
 */
#ifndef WFS_CORE_MODEL_SAFETENSORS_H
#define WFS_CORE_MODEL_SAFETENSORS_H

#include <stdint.h>

#include "core/base/err.h"
#include "core/model/pool.h"
#include "core/source.h"

#define WFS_HEADER_MAX 100000000u /* bytes */
#define WFS_DIMS_MAX   64

struct wfs_safetensor {
	const char *name;      /* name_len bytes and a NUL; may hold NULs */
	const uint64_t *shape; /* ndim elements, NULL for a scalar */
	uint64_t off;	       /* bytes, in the file */
	uint64_t size;	       /* bytes */
	uint32_t name_len;
	uint8_t dtype; /* enum wfs_dtype */
	uint8_t ndim;
};

struct wfs_safetensors {
	struct wfs_safetensor *tensors; /* byte order of the names */
	uint32_t *file_order;		/* indices by (off, size) */
	uint32_t count;
	uint64_t data; /* where the tensors' bytes begin */
};

/*
 * What lies in the first 8 bytes: checks the header's length against its
 * bound and the file's size.  `head` holds min(8, file_size) bytes.
 */
int wfs_safetensors_header_len(const void *head, uint64_t file_size,
			       const char *what, uint64_t *ret_len,
			       struct wfs_err *err);

/*
 * Parses the JSON of `len` bytes in `header` (changed; followed by
 * WFS_JSON_PADDING writable bytes) of a file of `file_size` bytes.  `what`
 * is the file in messages.  Names and shapes go into `pool`; the rest of the
 * result is freed by wfs_safetensors_clear.
 *
 * -EBADMSG with a sentence for every broken rule.
 */
int wfs_safetensors_parse(char *header, uint64_t len, uint64_t file_size,
			  const char *what, struct wfs_pool *pool,
			  struct wfs_safetensors *ret, struct wfs_err *err);

/* Both of the above for a region, and errors of its source. */
int wfs_safetensors_read(struct wfs_region *region, struct wfs_pool *pool,
			 struct wfs_safetensors *ret, struct wfs_err *err);

void wfs_safetensors_clear(struct wfs_safetensors *st);

#endif
