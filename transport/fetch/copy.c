/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See copy.h.  A read of a source cannot be cut short, so it goes to memory of
 * the connection, not to a reader's, which others may fill meanwhile.
 */
#include "transport/fetch/copy.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/base/bytes.h"
#include "core/base/mem.h"

#define DEPTH 2 /* requests under way, as the fetch has it */

struct wfs_copy {
	pthread_mutex_t lock;
	struct wfs_source *source; /* NULL: nothing is there */
	uint64_t serial;	   /* of the source */
};

struct conn {
	struct wfs_copy *copy;
	atomic_bool stopped;
	struct wfs_lane_ask asks[DEPTH];
	unsigned used;
	uint8_t *chunk; /* the oldest answer's body */
};

struct wfs_copy *wfs_copy_new(void)
{
	struct wfs_copy *copy = wfs_calloc(1, sizeof(*copy));

	pthread_mutex_init(&copy->lock, NULL);
	return copy;
}

void wfs_copy_free(struct wfs_copy *copy)
{
	if (!copy)
		return;
	wfs_source_put(copy->source);
	pthread_mutex_destroy(&copy->lock);
	free(copy);
}

void wfs_copy_set(struct wfs_copy *copy, struct wfs_source *source)
{
	struct wfs_source *old;

	pthread_mutex_lock(&copy->lock);
	old = copy->source;
	copy->source = source ? wfs_source_get(source) : NULL;
	copy->serial++;
	pthread_mutex_unlock(&copy->lock);
	wfs_source_put(old);
}

struct wfs_source *wfs_copy_get(struct wfs_copy *copy)
{
	struct wfs_source *source;

	pthread_mutex_lock(&copy->lock);
	source = copy->source ? wfs_source_get(copy->source) : NULL;
	pthread_mutex_unlock(&copy->lock);
	return source;
}

void wfs_copy_id(struct wfs_copy *copy, size_t index,
		 uint8_t ret_id[WFS_WIRE_ID_BYTES])
{
	pthread_mutex_lock(&copy->lock);
	wfs_put_le64(ret_id, copy->serial);
	pthread_mutex_unlock(&copy->lock);
	wfs_put_le64(ret_id + sizeof(uint64_t), index);
}

/* The source with that file: a reference, or NULL when it is another now. */
static struct wfs_source *source_of(struct wfs_copy *copy,
				    const uint8_t id[WFS_WIRE_ID_BYTES])
{
	struct wfs_source *source = NULL;

	pthread_mutex_lock(&copy->lock);
	if (copy->source && wfs_get_le64(id) == copy->serial)
		source = wfs_source_get(copy->source);
	pthread_mutex_unlock(&copy->lock);
	return source;
}

static int copy_open(void *ctx, const atomic_bool *stop, void **ret_conn,
		     struct wfs_err *err)
{
	struct conn *c = wfs_calloc(1, sizeof(*c));

	(void)stop;
	(void)err;
	c->copy = ctx;
	atomic_init(&c->stopped, false);
	c->chunk = wfs_malloc(WFS_CHUNK);
	*ret_conn = c;
	return 0;
}

static int copy_ask(void *conn, const struct wfs_lane_ask *ask)
{
	struct conn *c = conn;

	if (atomic_load(&c->stopped))
		return -ECONNABORTED;
	c->asks[c->used++] = *ask;
	return 0;
}

/* What a failure is called, and why: in place of the chunk. */
static enum wfs_wire_status
read_chunk(struct conn *c, const struct wfs_lane_ask *ask, uint32_t *ret_len)
{
	struct wfs_source *source = source_of(c->copy, ask->id);
	const struct wfs_source_entry *list;
	size_t n;
	int rc;

	*ret_len = 0;
	if (!source)
		return WFS_WIRE_UNKNOWN;
	list = wfs_source_list(source, &n);
	rc = wfs_region_read_exactly(
		list[wfs_get_le64(ask->id + sizeof(uint64_t))].region, c->chunk,
		ask->len, ask->off);
	wfs_source_put(source);
	if (rc) {
		*ret_len = (uint32_t)snprintf((char *)c->chunk,
					      WFS_WIRE_TEXT_MAX, "%s",
					      strerror(-rc));
		return rc == -ESTALE ? WFS_WIRE_STALE : WFS_WIRE_IO;
	}
	*ret_len = ask->len;
	return WFS_WIRE_OK;
}

static int copy_head(void *conn, struct wfs_wire_answer *ret_answer)
{
	struct conn *c = conn;
	struct wfs_lane_ask ask = c->asks[0];
	enum wfs_wire_status status;
	uint32_t len;

	c->asks[0] = c->asks[1];
	c->used--;
	status = read_chunk(c, &ask, &len);
	if (atomic_load(&c->stopped))
		return -ECONNABORTED;
	*ret_answer = (struct wfs_wire_answer){
		.tag = ask.tag,
		.status = status,
		.len = len,
	};
	return 0;
}

static int copy_body(void *conn, void *to, uint32_t len)
{
	struct conn *c = conn;

	memcpy(to, c->chunk, len);
	return 0;
}

static void copy_stop(void *conn)
{
	atomic_store(&((struct conn *)conn)->stopped, true);
}

static void copy_close(void *conn)
{
	struct conn *c = conn;

	free(c->chunk);
	free(c);
}

const struct wfs_lane_ops wfs_copy_lane_ops = {
	.bare = true,
	.doubted = true,
	.open = copy_open,
	.ask = copy_ask,
	.head = copy_head,
	.body = copy_body,
	.stop = copy_stop,
	.close = copy_close,
};
