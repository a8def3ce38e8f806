/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds descriptions of tensors in memory.  Whatever is accepted must lie
 * within the addresses it says, and be as long as it says, wherever it is read
 * from.
 *
 * The bytes: how many dimensions, the dtype, a place, then a shape and a
 * stride of 8 bytes for each dimension.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transport/live/tensor.h"

#define MEMORY (1 << 16)
#define PIECES 16
#define READ   (1 << 16) /* bytes that are walked over at most */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char memory[MEMORY];

static void must(int truth)
{
	if (!truth)
		abort();
}

static uint64_t number(const uint8_t *at)
{
	uint64_t n;

	memcpy(&n, at, sizeof(n));
	return n;
}

static void walk(const struct wfs_live_tensor *tensor, uint64_t off)
{
	struct iovec pieces[PIECES];
	struct wfs_live_walk at;
	uint64_t left = tensor->size - off;

	if (left > READ)
		left = READ;
	wfs_live_walk_start(&at, tensor, off);
	while (left) {
		size_t len, sum = 0;
		int n = wfs_live_walk_next(&at, left, pieces, PIECES, &len);

		must(n > 0 && n <= PIECES && len && len <= left);
		for (int i = 0; i < n; i++) {
			uintptr_t low = (uintptr_t)pieces[i].iov_base;

			sum += pieces[i].iov_len;
			must(pieces[i].iov_len && low >= tensor->low &&
			     low + pieces[i].iov_len <= tensor->high);
		}
		must(sum == len);
		left -= len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t shape[WFS_DIMS_MAX + 1] = { 0 };
	int64_t strides[WFS_DIMS_MAX + 1] = { 0 };
	struct wfs_live_said said = { .name = "t", .shape = shape };
	struct wfs_live_tensor tensor;
	struct wfs_err err = { 0 };

	if (size < 4)
		return 0;
	said.ndim = data[0] % (WFS_DIMS_MAX + 2);
	said.dtype = data[1] < WFS_DTYPE_COUNT ?
			     wfs_dtype_name((enum wfs_dtype)data[1]) :
			     NULL;
	said.data = memory + (data[2] << 8) + data[3];
	data += 4;
	size -= 4;
	for (unsigned i = 0; i < said.ndim; i++, data += 16, size -= 16) {
		if (size < 16)
			return 0;
		shape[i] = number(data);
		strides[i] = (int64_t)number(data + 8);
	}
	said.strides = size ? NULL : strides;
	if (wfs_live_tensor_init(&said, &tensor, &err)) {
		must(err.code < 0 && *err.text);
		return 0;
	}
	must(tensor.ndim == said.ndim && tensor.low <= tensor.high);
	if (tensor.size) {
		walk(&tensor, 0);
		walk(&tensor, tensor.size - 1);
		walk(&tensor, tensor.size / 3);
	}
	wfs_live_tensor_clear(&tensor);
	return 0;
}
