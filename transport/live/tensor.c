/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptions of tensors in memory, see tensor.h.
 */
#include "transport/live/tensor.h"

#include <errno.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/mem.h"

static int check_name(const struct wfs_live_said *said, struct wfs_err *err)
{
	if (!said->name || !*said->name)
		return wfs_err_set(err, -EINVAL, "a tensor has no name");
	if (wfs_utf8_span(said->name, strlen(said->name)) != strlen(said->name))
		return wfs_err_set(err, -EINVAL,
				   "the name of tensor '%.200s' is not UTF-8",
				   said->name);
	return 0;
}

static int check_type(const struct wfs_live_said *said,
		      struct wfs_live_tensor *t, struct wfs_err *err)
{
	int dtype = said->dtype ?
			    wfs_dtype_parse(said->dtype, strlen(said->dtype)) :
			    -EINVAL;
	int rc;

	if (dtype < 0)
		return wfs_err_set(err, -EINVAL,
				   "tensor '%.200s' has dtype '%.32s', which "
				   "safetensors does not know",
				   said->name, said->dtype ? said->dtype : "");
	if (said->ndim > WFS_DIMS_MAX)
		return wfs_err_set(err, -EINVAL,
				   "tensor '%.200s' has %u dimensions, at most "
				   "%d can be",
				   said->name, said->ndim, WFS_DIMS_MAX);
	if (said->ndim && !said->shape)
		return wfs_err_set(err, -EINVAL, "tensor '%.200s' has no shape",
				   said->name);
	t->dtype = (enum wfs_dtype)dtype;
	t->ndim = said->ndim;
	rc = wfs_dtype_bytes(t->dtype, said->shape, said->ndim, &t->size);
	if (rc == -EINVAL)
		return wfs_err_set(err, rc,
				   "tensor '%.200s' does not fill whole bytes",
				   said->name);
	if (rc || t->size > INT64_MAX)
		return wfs_err_set(err, -EOVERFLOW,
				   "tensor '%.200s' is too large", said->name);
	if (t->size && !said->data)
		return wfs_err_set(err, -EINVAL, "tensor '%.200s' has no data",
				   said->name);
	return 0;
}

/* One more dimension, from the fastest: into the run, or the one before. */
static void add_dim(struct wfs_live_tensor *t, uint64_t count, int64_t step)
{
	unsigned last = t->dims - 1;
	int64_t whole;

	if (count == 1)
		return;
	if (!t->dims && step == (int64_t)t->run) {
		t->run *= count; /* the size holds it */
		return;
	}
	if (t->dims &&
	    !__builtin_mul_overflow(t->steps[last], (int64_t)t->counts[last],
				    &whole) &&
	    whole == step) {
		t->counts[last] *= count;
		return;
	}
	t->counts[t->dims] = count;
	t->steps[t->dims++] = step;
}

static void reverse(struct wfs_live_tensor *t)
{
	for (unsigned i = 0, k = t->dims; i + 1 < k; i++) {
		uint64_t count = t->counts[i];
		int64_t step = t->steps[i];

		k--;
		t->counts[i] = t->counts[k];
		t->steps[i] = t->steps[k];
		t->counts[k] = count;
		t->steps[k] = step;
	}
}

static int find_runs(const struct wfs_live_said *said,
		     struct wfs_live_tensor *t)
{
	unsigned bits = wfs_dtype_bits(t->dtype);

	if (!said->strides || !t->size) {
		t->run = t->size;
		return 0;
	}
	/* Elements that share a byte cannot be told apart by steps. */
	if (bits % 8)
		return -ENOTSUP;
	t->run = bits / 8;
	for (unsigned i = t->ndim; i-- > 0;) {
		int64_t step;

		if (__builtin_mul_overflow(said->strides[i],
					   (int64_t)(bits / 8), &step))
			return -EOVERFLOW;
		add_dim(t, said->shape[i], step);
	}
	reverse(t);
	return 0;
}

/* What it reaches over. */
static int find_extent(struct wfs_live_tensor *t)
{
	int64_t low = 0, high = (int64_t)t->run;
	uintptr_t base = (uintptr_t)t->data;

	for (unsigned i = 0; i < t->dims; i++) {
		int64_t *end = t->steps[i] < 0 ? &low : &high, far;

		if (__builtin_mul_overflow(t->steps[i],
					   (int64_t)(t->counts[i] - 1), &far) ||
		    __builtin_add_overflow(*end, far, end))
			return -EOVERFLOW;
	}
	/* What a pointer and an offset make must be an address. */
	if (__builtin_add_overflow(base, (uint64_t)high, &t->high) ||
	    0 - (uint64_t)low > base)
		return -EOVERFLOW;
	t->low = base + (uint64_t)low;
	return 0;
}

int wfs_live_tensor_init(const struct wfs_live_said *said,
			 struct wfs_live_tensor *ret_tensor,
			 struct wfs_err *err)
{
	struct wfs_live_tensor t = { 0 };
	int rc = check_name(said, err);

	if (!rc)
		rc = check_type(said, &t, err);
	if (rc)
		return rc;
	t.data = said->data;
	t.reader = said->reader;
	t.counts = wfs_calloc(said->ndim + 1, sizeof(*t.counts));
	t.steps = wfs_calloc(said->ndim + 1, sizeof(*t.steps));
	rc = find_runs(said, &t);
	if (!rc && t.size)
		rc = find_extent(&t);
	if (rc) {
		wfs_live_tensor_clear(&t);
		return wfs_err_set(err, rc,
				   rc == -ENOTSUP ?
					   "tensor '%.200s': strides of "
					   "elements of less than a byte" :
					   "tensor '%.200s' reaches over more "
					   "than there are addresses",
				   said->name);
	}
	t.name = wfs_strdup(said->name);
	t.shape = wfs_calloc(said->ndim + 1, sizeof(*t.shape));
	if (said->ndim)
		memcpy(t.shape, said->shape, said->ndim * sizeof(*t.shape));
	*ret_tensor = t;
	return 0;
}

void wfs_live_tensor_clear(struct wfs_live_tensor *tensor)
{
	free(tensor->name);
	free(tensor->shape);
	free(tensor->counts);
	free(tensor->steps);
}

/* Addresses are numbers here: a step may lead below where it began. */
static const char *step_by(const char *at, int64_t step, uint64_t times)
{
	uintptr_t to = (uintptr_t)at + (uint64_t)step * times;

	return (const char *)to; /* NOLINT(performance-no-int-to-ptr) */
}

void wfs_live_walk_start(struct wfs_live_walk *walk,
			 const struct wfs_live_tensor *tensor, uint64_t off)
{
	uint64_t index = off / tensor->run;

	walk->tensor = tensor;
	walk->run = tensor->data;
	walk->skip = off % tensor->run;
	for (unsigned i = tensor->dims; i-- > 0;) {
		walk->at[i] = index % tensor->counts[i];
		index /= tensor->counts[i];
		walk->run = step_by(walk->run, tensor->steps[i], walk->at[i]);
	}
}

static void next_run(struct wfs_live_walk *walk)
{
	const struct wfs_live_tensor *t = walk->tensor;

	walk->skip = 0;
	for (unsigned i = t->dims; i-- > 0;) {
		if (++walk->at[i] < t->counts[i]) {
			walk->run = step_by(walk->run, t->steps[i], 1);
			return;
		}
		walk->at[i] = 0;
		walk->run = step_by(walk->run, -t->steps[i], t->counts[i] - 1);
	}
}

int wfs_live_walk_next(struct wfs_live_walk *walk, size_t len,
		       struct iovec *ret_pieces, int max, size_t *ret_len)
{
	size_t done = 0;
	int n = 0;

	while (n < max && done < len) {
		uint64_t left = walk->tensor->run - walk->skip;
		size_t piece = left < len - done ? (size_t)left : len - done;

		ret_pieces[n].iov_base =
			(void *)(uintptr_t)(walk->run + walk->skip);
		ret_pieces[n++].iov_len = piece;
		walk->skip += piece;
		done += piece;
		if (walk->skip == walk->tensor->run)
			next_run(walk);
	}
	*ret_len = done;
	return n;
}
