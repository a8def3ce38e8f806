/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header's rules, each checked where its numbers are first known and each
 * with its own sentence.  Nothing in the header is believed before it was
 * compared with the size of the file.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/bytes.h"
#include "core/base/json.h"
#include "core/base/keys.h"
#include "core/base/text.h"
#include "core/model/dtype.h"
#include "core/model/safetensors.h"

/* A name in a message: enough to find it, and the rule still fits. */
#define SHOWN "%.120s"

struct parse {
	const char *what;
	uint64_t data_size; /* bytes after the header */
	uint64_t data;	    /* where they begin in the file */
	struct wfs_pool *pool;
	struct wfs_err *err;
	struct wfs_safetensor *tensors; /* in the header's order */
	uint32_t count;
};

#define broken(p, fmt, ...)                                                    \
	wfs_err_set((p)->err, -EBADMSG, "'%s': " fmt, (p)->what, ##__VA_ARGS__)
#define tensor_broken(p, t, fmt, ...)                                          \
	broken(p, "tensor '" SHOWN "': " fmt, (t)->name, ##__VA_ARGS__)

int wfs_safetensors_header_len(const void *head, uint64_t file_size,
			       const char *what, uint64_t *ret_len,
			       struct wfs_err *err)
{
	uint64_t len;

	if (file_size < sizeof(len))
		return wfs_err_set(err, -EBADMSG,
				   "'%s': truncated: %" PRIu64
				   " bytes, a safetensors file has at least "
				   "8; fetch it again",
				   what, file_size);
	len = wfs_get_le64(head);
	if (len > WFS_HEADER_MAX)
		return wfs_err_set(err, -EBADMSG,
				   "'%s': header of %" PRIu64
				   " bytes, at most %u are allowed: not a "
				   "safetensors file",
				   what, len, WFS_HEADER_MAX);
	if (len > file_size - sizeof(len))
		return wfs_err_set(err, -EBADMSG,
				   "'%s': truncated: header of %" PRIu64
				   " bytes in a file of %" PRIu64
				   "; fetch it again",
				   what, len, file_size);
	*ret_len = len;
	return 0;
}

static int parse_metadata(struct parse *p, yyjson_val *metadata)
{
	yyjson_obj_iter it;
	yyjson_val *key;

	if (yyjson_is_null(metadata))
		return 0;
	if (!yyjson_is_obj(metadata))
		return broken(p, "__metadata__ is not an object of strings");
	it = yyjson_obj_iter_with(metadata);
	while ((key = yyjson_obj_iter_next(&it)))
		if (!yyjson_is_str(yyjson_obj_iter_get_val(key)))
			return broken(p,
				      "__metadata__: the value of '" SHOWN
				      "' is not a string",
				      yyjson_get_str(key));
	key = wfs_json_repeated_key(metadata);
	if (key)
		return broken(p, "__metadata__: duplicate key '" SHOWN "'",
			      yyjson_get_str(key));
	return 0;
}

static int parse_shape(struct parse *p, struct wfs_safetensor *t,
		       yyjson_val *shape)
{
	size_t ndim = yyjson_arr_size(shape);
	yyjson_arr_iter it;
	yyjson_val *dim;
	uint64_t *dims;

	if (!yyjson_is_arr(shape))
		return tensor_broken(p, t, "shape is not an array");
	if (ndim > WFS_DIMS_MAX)
		return tensor_broken(p, t,
				     "shape of %zu dimensions, at most %d "
				     "are allowed",
				     ndim, WFS_DIMS_MAX);
	t->ndim = (uint8_t)ndim;
	t->shape = NULL;
	if (!ndim)
		return 0;
	dims = wfs_pool_alloc(p->pool, ndim * sizeof(*dims), 1);
	t->shape = dims;
	it = yyjson_arr_iter_with(shape);
	while ((dim = yyjson_arr_iter_next(&it))) {
		if (!yyjson_is_uint(dim))
			return tensor_broken(p, t,
					     "shape holds something that is "
					     "no whole number of 64 bits");
		*dims++ = yyjson_get_uint(dim);
	}
	return 0;
}

static int parse_offsets(struct parse *p, struct wfs_safetensor *t,
			 yyjson_val *offsets)
{
	yyjson_val *first = yyjson_arr_get(offsets, 0);
	yyjson_val *second = yyjson_arr_get(offsets, 1);
	uint64_t begin, end;

	if (yyjson_arr_size(offsets) != 2 || !yyjson_is_uint(first) ||
	    !yyjson_is_uint(second))
		return tensor_broken(p, t,
				     "data_offsets is not a pair of whole "
				     "numbers");
	begin = yyjson_get_uint(first);
	end = yyjson_get_uint(second);
	if (begin > end)
		return tensor_broken(
			p, t,
			"data_offsets are unordered: begin %" PRIu64
			" is after end %" PRIu64,
			begin, end);
	if (end > p->data_size)
		return tensor_broken(p, t,
				     "data_offsets out of range: end %" PRIu64
				     ", the file has %" PRIu64
				     " bytes of data; truncated?",
				     end, p->data_size);
	t->off = p->data + begin;
	t->size = end - begin;
	return 0;
}

static int check_size(struct parse *p, struct wfs_safetensor *t)
{
	enum wfs_dtype dtype = (enum wfs_dtype)t->dtype;
	uint64_t bytes;
	int rc = wfs_dtype_bytes(dtype, t->shape, t->ndim, &bytes);

	if (rc == -EOVERFLOW)
		return tensor_broken(p, t,
				     "shape times dtype overflows 64 bits");
	if (rc)
		return tensor_broken(p, t,
				     "elements of %u bits do not fill whole "
				     "bytes",
				     wfs_dtype_bits(dtype));
	if (bytes != t->size)
		return tensor_broken(p, t,
				     "shape and dtype %s make %" PRIu64
				     " bytes, data_offsets %" PRIu64,
				     wfs_dtype_name(dtype), bytes, t->size);
	return 0;
}

/* Finds the three fields; others are ignored, as the reference does. */
static int find_fields(struct parse *p, struct wfs_safetensor *t,
		       yyjson_val *info, yyjson_val *field[3])
{
	static const char *const names[3] = { "dtype", "shape",
					      "data_offsets" };
	yyjson_obj_iter it = yyjson_obj_iter_with(info);
	yyjson_val *key;

	while ((key = yyjson_obj_iter_next(&it))) {
		for (int i = 0; i < 3; i++) {
			if (!wfs_json_key_is(key, names[i]))
				continue;
			if (field[i])
				return tensor_broken(
					p, t, "duplicate field '%s'", names[i]);
			field[i] = yyjson_obj_iter_get_val(key);
		}
	}
	for (int i = 0; i < 3; i++)
		if (!field[i])
			return tensor_broken(p, t, "no field '%s'", names[i]);
	if (yyjson_obj_size(info) == 3)
		return 0;
	key = wfs_json_repeated_key(info);
	if (key)
		return tensor_broken(p, t, "duplicate field '" SHOWN "'",
				     yyjson_get_str(key));
	return 0;
}

static int parse_tensor(struct parse *p, yyjson_val *key, yyjson_val *info,
			struct wfs_safetensor *t)
{
	yyjson_val *field[3] = { NULL, NULL, NULL };
	size_t len = yyjson_get_len(key);
	int rc;

	t->name_len = (uint32_t)len;
	t->name = wfs_pool_text(p->pool, yyjson_get_str(key), len);
	if (!yyjson_is_obj(info))
		return tensor_broken(p, t, "not described by an object");
	rc = find_fields(p, t, info, field);
	if (rc)
		return rc;
	if (!yyjson_is_str(field[0]))
		return tensor_broken(p, t, "dtype is not a string");
	rc = wfs_dtype_parse(yyjson_get_str(field[0]),
			     yyjson_get_len(field[0]));
	if (rc < 0)
		return tensor_broken(p, t, "unknown dtype '%.40s'",
				     yyjson_get_str(field[0]));
	t->dtype = (uint8_t)rc;
	rc = parse_shape(p, t, field[1]);
	if (!rc)
		rc = parse_offsets(p, t, field[2]);
	return rc ? rc : check_size(p, t);
}

static int parse_root(struct parse *p, yyjson_val *root)
{
	yyjson_obj_iter it = yyjson_obj_iter_with(root);
	yyjson_val *key, *metadata = NULL;
	int rc = 0;

	p->tensors = wfs_calloc(yyjson_obj_size(root) + 1, sizeof(*p->tensors));
	while (!rc && (key = yyjson_obj_iter_next(&it))) {
		yyjson_val *val = yyjson_obj_iter_get_val(key);

		if (!wfs_json_key_is(key, "__metadata__")) {
			rc = parse_tensor(p, key, val, &p->tensors[p->count++]);
		} else if (metadata) {
			rc = broken(p, "duplicate key '__metadata__'");
		} else {
			metadata = val;
			rc = parse_metadata(p, val);
		}
	}
	return rc;
}

static int by_offset(const void *a, const void *b, void *ctx)
{
	const struct wfs_safetensor *all = ctx;
	const struct wfs_safetensor *x = &all[*(const uint32_t *)a];
	const struct wfs_safetensor *y = &all[*(const uint32_t *)b];

	if (x->off != y->off)
		return x->off < y->off ? -1 : 1;
	if (x->size != y->size)
		return x->size < y->size ? -1 : 1;
	return 0;
}

/* Do the tensors, in this order, fill the data exactly? */
static int check_cover(struct parse *p, const uint32_t *order)
{
	uint64_t at = p->data;

	for (uint32_t i = 0; i < p->count; i++) {
		const struct wfs_safetensor *t = &p->tensors[order[i]];
		const struct wfs_safetensor *before =
			i ? &p->tensors[order[i - 1]] : NULL;

		if (t->off < at)
			return tensor_broken(p, t,
					     "data_offsets overlap those of "
					     "'" SHOWN "'",
					     before->name);
		if (t->off > at && !before)
			return tensor_broken(p, t,
					     "data_offsets leave a gap: the "
					     "first tensor begins at %" PRIu64
					     ", not at 0",
					     t->off - p->data);
		if (t->off > at)
			return tensor_broken(p, t,
					     "data_offsets leave a gap of "
					     "%" PRIu64 " bytes after '" SHOWN
					     "'",
					     t->off - at, before->name);
		at = t->off + t->size;
	}
	if (at != p->data + p->data_size)
		return broken(p,
			      "%" PRIu64 " trailing bytes after the last "
			      "tensor",
			      p->data + p->data_size - at);
	return 0;
}

/* p->tensors in byte order of their names; none of them twice. */
static int sort_names(struct parse *p, struct wfs_key *keys)
{
	size_t repeated;

	for (uint32_t i = 0; i < p->count; i++)
		keys[i] = (struct wfs_key){ p->tensors[i].name,
					    p->tensors[i].name_len, i };
	wfs_keys_sort(keys, p->count);
	repeated = wfs_keys_repeated(keys, p->count);
	if (repeated)
		return broken(p,
			      "duplicate key: tensor '" SHOWN
			      "' is described twice",
			      keys[repeated].s);
	return 0;
}

/* Checks what only all tensors together can break, and sorts them. */
static int arrange(struct parse *p, struct wfs_safetensors *ret)
{
	size_t room = (size_t)p->count + 1;
	struct wfs_key *keys wfs_autofree = wfs_calloc(room, sizeof(*keys));
	uint32_t *order wfs_autofree = wfs_calloc(room, sizeof(*order));
	uint32_t *place wfs_autofree = wfs_calloc(room, sizeof(*place));
	int rc = sort_names(p, keys);

	for (uint32_t i = 0; i < p->count; i++)
		order[i] = i;
	qsort_r(order, p->count, sizeof(*order), by_offset, p->tensors);
	if (!rc)
		rc = check_cover(p, order);
	if (rc)
		return rc;
	ret->tensors = wfs_malloc(room * sizeof(*ret->tensors));
	for (uint32_t i = 0; i < p->count; i++) {
		ret->tensors[i] = p->tensors[keys[i].tag];
		place[keys[i].tag] = i;
	}
	for (uint32_t i = 0; i < p->count; i++)
		order[i] = place[order[i]];
	ret->file_order = wfs_steal_ptr(&order);
	ret->count = p->count;
	ret->data = p->data;
	return 0;
}

int wfs_safetensors_parse(char *header, uint64_t len, uint64_t file_size,
			  const char *what, struct wfs_pool *pool,
			  struct wfs_safetensors *ret, struct wfs_err *err)
{
	struct parse p = {
		.what = what,
		.data = 8 + len,
		.data_size = file_size - 8 - len,
		.pool = pool,
		.err = err,
	};
	char *subject wfs_autofree = wfs_asprintf("'%s': header", what);
	yyjson_doc *doc;
	int rc;

	if (!len || header[0] != '{')
		return broken(&p, "header does not start with '{': not a "
				  "safetensors file");
	rc = wfs_json_parse(header, len, subject, &doc, err);
	if (rc)
		return rc;
	rc = parse_root(&p, yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	if (!rc)
		rc = arrange(&p, ret);
	free(p.tensors);
	return rc;
}

void wfs_safetensors_clear(struct wfs_safetensors *st)
{
	free(st->tensors);
	free(st->file_order);
	memset(st, 0, sizeof(*st));
}
