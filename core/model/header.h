/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the header of a safetensors file, byte for byte as the reference
 * implementation does: compact JSON, the tensors sorted by dtype, wide ones
 * first in its own order, then by name, and spaces to a multiple of 8.
 */
#ifndef WFS_CORE_MODEL_HEADER_H
#define WFS_CORE_MODEL_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/model/model.h"

struct wfs_text;

/* Where tensors of that dtype come in a file: the least first. */
unsigned wfs_dtype_place(enum wfs_dtype dtype);

/*
 * The order in which a file has tensors that lie in order of their names:
 * indices, which the caller frees.
 */
uint32_t *wfs_header_order(const struct wfs_tensor *tensors, uint32_t count);

/*
 * Adds the header, with its length, of a file that has the tensors in that
 * order (indices in `tensors`), one after the other.  Their offsets are not
 * looked at.  `format`: with the metadata "format": "pt".
 */
void wfs_header_write(const struct wfs_tensor *tensors, const uint32_t *order,
		      uint32_t count, bool format, struct wfs_text *text);

#endif
