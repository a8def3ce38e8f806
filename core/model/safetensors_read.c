/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gets a header from its region: one read for nearly all files, two for the
 * large ones.  Where no local file has the bytes, the header is kept, so that
 * loaders' first look at a file asks nobody.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "core/model/safetensors.h"

/* The headers of nearly all files are smaller than this. */
#define FIRST_READ (256u * 1024)
/* Larger ones are parsed one at a time, so that memory is bounded. */
#define LARGE_HEADER (2u * 1024 * 1024)

static pthread_mutex_t one_large = PTHREAD_MUTEX_INITIALIZER;

static int read_header(struct wfs_region *region, char *buf, uint64_t len,
		       uint64_t off, const char *what, struct wfs_err *err)
{
	int rc = wfs_region_read_parsed(region, buf, len, off);

	return rc ? wfs_err_set(err, rc, "cannot read the header of '%s': %s",
				what, strerror(-rc)) :
		    0;
}

static int read_large(struct wfs_region *region, char **buf, uint64_t have,
		      uint64_t len, const char *what, struct wfs_err *err)
{
	*buf = wfs_realloc(*buf, 8 + len + WFS_JSON_PADDING);
	if (8 + len <= have)
		return 0;
	return read_header(region, *buf + have, 8 + len - have, have, what,
			   err);
}

int wfs_safetensors_read(struct wfs_region *region, struct wfs_pool *pool,
			 struct wfs_safetensors *ret, struct wfs_err *err)
{
	char *what wfs_autofree =
		wfs_asprintf("%s/%s", region->source->label, region->path);
	uint64_t have = region->size < FIRST_READ ? region->size : FIRST_READ;
	char *buf wfs_autofree = wfs_malloc(FIRST_READ + WFS_JSON_PADDING);
	bool far = wfs_region_descriptor(region) < 0;
	uint64_t len;
	int rc = read_header(region, buf, have, 0, what, err);

	if (!rc)
		rc = wfs_safetensors_header_len(buf, region->size, what, &len,
						err);
	if (rc)
		return rc;
	if (len >= LARGE_HEADER)
		pthread_mutex_lock(&one_large);
	if (8 + len > have)
		rc = read_large(region, &buf, have, len, what, err);
	/* Parsing writes into the buffer, so what is kept is kept before. */
	if (!rc && far)
		wfs_region_keep(region, buf, 8 + len);
	if (!rc)
		rc = wfs_safetensors_parse(buf + 8, len, region->size, what,
					   pool, ret, err);
	if (len >= LARGE_HEADER)
		pthread_mutex_unlock(&one_large);
	return rc;
}
