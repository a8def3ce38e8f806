/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes: checking, reading, owning.
 *
 * A plain slice is one read of its region straight into the reader's buffer.
 * Runs that lie close together (a split along dim 1) are read with the gaps
 * between them and picked out, because a read of a few KiB that nobody wants
 * costs less than another call.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/recipe.h"

/*
 * Runs are gathered from a span of at most this.  Small enough to stay in a
 * core's second-level cache between the read and the copy, and below the
 * size from which malloc maps fresh memory for every call.
 */
#define SPAN_BYTES (64u * 1024)

/*
 * A gap up to this is read along: copying it takes a microsecond at memory
 * speed, about what another system call takes.
 */
#define GAP_BYTES (8u * 1024)

static uint64_t piece_bytes(const struct wfs_piece *piece)
{
	return piece->run * piece->count;
}

static int check_region_piece(const struct wfs_piece *p, uint32_t i,
			      struct wfs_err *err)
{
	uint64_t end;

	if (!p->region)
		return wfs_err_set(err, -EINVAL, "piece %u has no region", i);
	if (p->count > 1 && p->stride < p->run)
		return wfs_err_set(err, -EINVAL,
				   "piece %u of '%s': runs of %" PRIu64
				   " bytes overlap with a stride of %" PRIu64,
				   i, p->region->path, p->run, p->stride);
	if (__builtin_mul_overflow(p->count - 1, p->count > 1 ? p->stride : 0,
				   &end) ||
	    __builtin_add_overflow(end, p->run, &end) ||
	    __builtin_add_overflow(end, p->off, &end) || end > p->region->size)
		return wfs_err_set(err, -EINVAL,
				   "piece %u leaves its region '%s' of %" PRIu64
				   " bytes",
				   i, p->region->path, p->region->size);
	return 0;
}

static int check_piece(const struct wfs_piece *p, uint32_t i,
		       struct wfs_err *err)
{
	if (!p->run || !p->count)
		return wfs_err_set(err, -EINVAL, "piece %u is empty", i);
	switch (p->kind) {
	case WFS_PIECE_REGION:
		return check_region_piece(p, i, err);
	case WFS_PIECE_ZERO:
		return 0;
	case WFS_PIECE_CONST:
		if (!p->pattern_len || p->pattern_len > sizeof(p->pattern))
			return wfs_err_set(err, -EINVAL,
					   "piece %u has a pattern of %u "
					   "bytes, not of 1 to 8",
					   i, p->pattern_len);
		return 0;
	default:
		return wfs_err_set(err, -EINVAL, "piece %u has kind %d", i,
				   (int)p->kind);
	}
}

int wfs_recipe_check(const struct wfs_recipe *recipe, struct wfs_err *err)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < recipe->n; i++) {
		const struct wfs_piece *p = &recipe->pieces[i];
		uint64_t bytes;
		int rc = check_piece(p, i, err);

		if (rc)
			return rc;
		if (__builtin_mul_overflow(p->run, p->count, &bytes) ||
		    __builtin_add_overflow(total, bytes, &total))
			return wfs_err_set(err, -EINVAL,
					   "the pieces up to %u are more than "
					   "64 bits can count",
					   i);
	}
	if (total != recipe->size)
		return wfs_err_set(err, -EINVAL,
				   "the pieces are %" PRIu64
				   " bytes, the file is %" PRIu64,
				   total, recipe->size);
	return 0;
}

/* All of it or a negative errno: the recipe promised that it is there. */
static int read_exactly(struct wfs_region *region, void *buf, size_t len,
			uint64_t off)
{
	ssize_t got = wfs_region_read(region, buf, len, off);

	if (got < 0)
		return (int)got;
	return (size_t)got == len ? 0 : -EIO;
}

/* A position in a strided piece: `left` bytes of its run lie at `src`. */
struct cursor {
	uint64_t src;
	uint64_t left;
};

static struct cursor cursor_at(const struct wfs_piece *p, uint64_t pos)
{
	uint64_t in = pos % p->run;

	return (struct cursor){
		.src = p->off + pos / p->run * p->stride + in,
		.left = p->run - in,
	};
}

static void cursor_next_run(struct cursor *c, const struct wfs_piece *p)
{
	c->src += c->left + (p->stride - p->run);
	c->left = p->run;
}

static int read_run_by_run(const struct wfs_piece *p, uint64_t pos, char *buf,
			   size_t len)
{
	struct cursor c = cursor_at(p, pos);

	while (len) {
		size_t take = c.left < len ? (size_t)c.left : len;
		int rc = read_exactly(p->region, buf, take, c.src);

		if (rc)
			return rc;
		buf += take;
		len -= take;
		if (len)
			cursor_next_run(&c, p);
	}
	return 0;
}

/*
 * One span into `span`, what belongs to the piece from there to `buf`.
 * Returns the bytes put into buf, or a negative errno.
 */
static ssize_t gather_span(const struct wfs_piece *p, uint64_t pos, char *buf,
			   size_t len, char *span)
{
	struct cursor c = cursor_at(p, pos);
	uint64_t start = c.src;
	uint64_t more = (SPAN_BYTES - p->run) / p->stride; /* whole runs */
	uint64_t end;
	size_t done = 0;
	int rc;

	if (len > c.left + more * p->run)
		len = (size_t)(c.left + more * p->run);
	/* The source's end of the piece's last byte wanted here. */
	end = p->off + (pos + len - 1) / p->run * p->stride +
	      (pos + len - 1) % p->run + 1;
	rc = read_exactly(p->region, span, (size_t)(end - start), start);
	if (rc)
		return rc;
	while (done < len) {
		size_t take = c.left < len - done ? (size_t)c.left : len - done;

		memcpy(buf + done, span + (c.src - start), take);
		done += take;
		cursor_next_run(&c, p);
	}
	return (ssize_t)done;
}

static int read_gathered(const struct wfs_piece *p, uint64_t pos, char *buf,
			 size_t len)
{
	char *span wfs_autofree = wfs_malloc(SPAN_BYTES);

	while (len) {
		ssize_t got = gather_span(p, pos, buf, len, span);

		if (got < 0)
			return (int)got;
		pos += (uint64_t)got;
		buf += got;
		len -= (size_t)got;
	}
	return 0;
}

static int read_region_piece(const struct wfs_piece *p, uint64_t pos, char *buf,
			     size_t len)
{
	if (p->count == 1 || p->stride == p->run)
		return read_exactly(p->region, buf, len, p->off + pos);
	/* Two runs at least must fit, or nothing is gained. */
	if (p->stride - p->run <= GAP_BYTES && p->run + p->stride <= SPAN_BYTES)
		return read_gathered(p, pos, buf, len);
	return read_run_by_run(p, pos, buf, len);
}

static void fill_pattern(const struct wfs_piece *p, uint64_t pos, char *buf,
			 size_t len)
{
	size_t phase = (size_t)(pos % p->pattern_len);

	for (size_t i = 0; i < len; i++) {
		buf[i] = (char)p->pattern[phase];
		if (++phase == p->pattern_len)
			phase = 0;
	}
}

static int read_piece(const struct wfs_piece *p, uint64_t pos, char *buf,
		      size_t len)
{
	switch (p->kind) {
	case WFS_PIECE_REGION:
		return read_region_piece(p, pos, buf, len);
	case WFS_PIECE_ZERO:
		memset(buf, 0, len);
		return 0;
	case WFS_PIECE_CONST:
		fill_pattern(p, pos, buf, len);
		return 0;
	default:
		return -EINVAL;
	}
}

ssize_t wfs_recipe_read(const struct wfs_recipe *recipe, void *buf, size_t len,
			uint64_t off)
{
	size_t done = 0;

	if (off >= recipe->size)
		return 0;
	if (len > recipe->size - off)
		len = (size_t)(recipe->size - off);
	if (len > SSIZE_MAX)
		len = SSIZE_MAX;
	for (uint32_t i = 0; i < recipe->n && done < len; i++) {
		const struct wfs_piece *p = &recipe->pieces[i];
		uint64_t bytes = piece_bytes(p);
		size_t take = len - done;
		int rc;

		if (off >= bytes) {
			off -= bytes;
			continue;
		}
		if (take > bytes - off)
			take = (size_t)(bytes - off);
		rc = read_piece(p, off, (char *)buf + done, take);
		if (rc)
			return rc;
		done += take;
		off = 0;
	}
	return (ssize_t)done;
}

int wfs_recipe_check_sources(const struct wfs_recipe *recipe)
{
	const struct wfs_region *last = NULL;

	for (uint32_t i = 0; i < recipe->n; i++) {
		const struct wfs_piece *p = &recipe->pieces[i];
		int rc;

		/* Neighbours are often of one shard file: ask it once. */
		if (p->kind != WFS_PIECE_REGION || p->region == last)
			continue;
		rc = wfs_region_check(p->region);
		if (rc)
			return rc;
		last = p->region;
	}
	return 0;
}

struct owned_recipe {
	struct wfs_recipe recipe;
	struct wfs_piece pieces[];
};

struct wfs_recipe *wfs_recipe_dup(const struct wfs_recipe *recipe)
{
	struct owned_recipe *copy;
	size_t bytes;

	bytes = (size_t)recipe->n * sizeof(copy->pieces[0]);
	copy = wfs_malloc(sizeof(*copy) + bytes);
	copy->recipe = *recipe;
	copy->recipe.pieces = copy->pieces;
	if (bytes)
		memcpy(copy->pieces, recipe->pieces, bytes);
	for (uint32_t i = 0; i < recipe->n; i++) {
		if (copy->pieces[i].kind == WFS_PIECE_REGION)
			wfs_source_get(copy->pieces[i].region->source);
	}
	return &copy->recipe;
}

void wfs_recipe_free(struct wfs_recipe *recipe)
{
	if (!recipe)
		return;
	for (uint32_t i = 0; i < recipe->n; i++) {
		if (recipe->pieces[i].kind == WFS_PIECE_REGION)
			wfs_source_put(recipe->pieces[i].region->source);
	}
	free(recipe);
}
