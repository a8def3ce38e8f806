/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See live.h.
 */
#include "transport/live/live.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/base/text.h"

/* How long a reader waits for an update before it is told to come again. */
#define UPDATE_NS 200000000ull
#define PIECES	  256 /* of one call */

struct live_source {
	struct wfs_source base;
	struct wfs_live_image *image; /* a reference */
	struct wfs_live live;
	char *declared; /* what `live` points to */
	struct wfs_source_entry *entries;
	struct wfs_region *regions; /* as the image's files */
};

static struct live_source *live_of(struct wfs_source *source)
{
	return (struct live_source *)source;
}

static const struct wfs_source_entry *live_list(struct wfs_source *source,
						size_t *ret_count)
{
	struct live_source *live = live_of(source);

	*ret_count = live->image->file_count;
	return live->entries;
}

static int live_check(struct wfs_region *region)
{
	struct live_source *live = live_of(region->source);

	return wfs_live_cell_is_over(&live->image->cell, live->live.epoch) ?
		       -ESTALE :
		       0;
}

static int live_read(struct wfs_region *region, void *buf, size_t len,
		     uint64_t off)
{
	char *to = buf;

	while (len) {
		size_t piece = len < WFS_CHUNK ? len : WFS_CHUNK;
		struct wfs_bounce *bounce;
		int rc = wfs_live_take(region, off, piece, &bounce);

		if (rc)
			return rc;
		memcpy(to, bounce->bytes, piece);
		wfs_bounce_put(bounce);
		to += piece;
		off += piece;
		len -= piece;
	}
	return 0;
}

static void live_close(struct wfs_source *source)
{
	struct live_source *live = live_of(source);

	wfs_live_image_put(live->image);
	free(live->declared);
	free(live->entries);
	free(live->regions);
	free(live);
}

static const struct wfs_source_ops live_ops = {
	.name = "live",
	.list = live_list,
	.read = live_read,
	.check = live_check,
	.close = live_close,
};

static void list_file(struct live_source *live, uint32_t i,
		      const struct timespec *now)
{
	const struct wfs_live_file *file = &live->image->files[i];
	struct wfs_source_entry *entry = &live->entries[i];
	struct wfs_region *region = &live->regions[i];

	region->source = &live->base;
	region->path = file->path;
	region->size = file->size;
	entry->path = file->path;
	entry->region = region;
	entry->st.st_mode = S_IFREG | 0444;
	entry->st.st_nlink = 1;
	entry->st.st_size = (off_t)file->size;
	entry->st.st_mtim = entry->st.st_ctim = *now;
	entry->st.st_ino = wfs_hash(live->image->id, sizeof(live->image->id),
				    WFS_HASH_SEED + live->live.epoch);
}

int wfs_live_open(struct wfs_live_image *image, struct wfs_source **ret_source,
		  struct wfs_err *err)
{
	char *label wfs_autofree = NULL;
	struct live_source *live;
	struct timespec now;
	uint64_t epoch;
	int rc = wfs_live_cell_now(&image->cell, &epoch);

	if (rc)
		return wfs_err_set(err, rc,
				   rc == -EBUSY ?
					   "model '%s' is being updated" :
					   "model '%s' is served no more",
				   image->name);
	live = wfs_calloc(1, sizeof(*live));
	label = wfs_asprintf("the memory of %s", image->name);
	wfs_source_init(&live->base, &live_ops, label);
	live->image = wfs_live_image_get(image);
	live->live = image->live;
	live->live.epoch = epoch;
	live->live.declared = live->declared =
		wfs_strdup_or_null(image->declared);
	live->base.live = &live->live;
	live->entries = wfs_calloc(image->file_count, sizeof(*live->entries));
	live->regions = wfs_calloc(image->file_count, sizeof(*live->regions));
	clock_gettime(CLOCK_REALTIME, &now);
	for (uint32_t i = 0; i < image->file_count; i++)
		list_file(live, i, &now);
	*ret_source = &live->base;
	return 0;
}

int wfs_live_take(struct wfs_region *region, uint64_t off, size_t len,
		  struct wfs_bounce **ret_bounce)
{
	struct live_source *live = live_of(region->source);
	struct wfs_live_image *image = live->image;
	const struct wfs_live_file *file =
		&image->files[region - live->regions];
	struct wfs_bounce *bounce = wfs_bounce_get(image->bounces);
	int rc;

	if (!bounce)
		return -EBUSY;
	do {
		rc = wfs_live_cell_enter(&image->cell, live->live.epoch,
					 UPDATE_NS);
		if (rc)
			break;
		rc = wfs_live_image_copy(file, off, len, bounce);
		if (!wfs_live_cell_leave(&image->cell, live->live.epoch))
			rc = -EAGAIN;
	} while (rc == -EAGAIN);
	if (rc) {
		wfs_bounce_put(bounce);
		return rc == -EFAULT ? -EIO : rc;
	}
	*ret_bounce = bounce;
	return 0;
}

bool wfs_live_can_send(struct wfs_region *region, uint64_t off, size_t len)
{
	struct live_source *live = live_of(region->source);

	return wfs_live_image_lies_near(
		&live->image->files[region - live->regions], off, len);
}

ssize_t wfs_live_send(struct wfs_region *region, uint64_t off, size_t len,
		      int socket)
{
	struct live_source *live = live_of(region->source);
	struct wfs_live_cell *cell = &live->image->cell;
	struct iovec pieces[PIECES];
	struct msghdr message = { .msg_iov = pieces };
	/* An epoch that is over never comes again: nothing to wait for. */
	int rc = wfs_live_cell_enter(cell, live->live.epoch, 0);
	long sent;

	if (rc)
		return rc;
	message.msg_iovlen = (size_t)wfs_live_image_gather(
		&live->image->files[region - live->regions], off, len, pieces,
		PIECES);
	/* Not by the library's function, which a sanitizer looks into. */
	sent = syscall(SYS_sendmsg, socket, &message,
		       MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE);
	rc = sent < 0 ? -errno : 0;
	if (!wfs_live_cell_leave(cell, live->live.epoch))
		return -ESTALE;
	return rc ? rc : sent;
}

bool wfs_live_holds(struct wfs_region *region)
{
	struct live_source *live = live_of(region->source);
	struct wfs_live_cell *cell = &live->image->cell;

	if (wfs_live_cell_enter(cell, live->live.epoch, UPDATE_NS))
		return false;
	return wfs_live_cell_leave(cell, live->live.epoch);
}

/* One more piece, or more of the last one; how many there are. */
static size_t add_piece(struct wfs_live_piece *pieces, size_t n,
			const struct wfs_live_piece *piece)
{
	struct wfs_live_piece *last = &pieces[n ? n - 1 : 0];

	if (n && last->off + last->len == piece->off &&
	    (const char *)last->at + last->len == piece->at) {
		last->len += piece->len;
		return n;
	}
	pieces[n] = *piece;
	return n + 1;
}

void wfs_live_map(struct wfs_region *region, struct wfs_live_memory *ret)
{
	struct live_source *live = live_of(region->source);
	const struct wfs_live_file *file =
		&live->image->files[region - live->regions];
	const struct wfs_live_rank *rank = file->rank;
	size_t most = rank ? (size_t)rank->count + 1 : 1, n = 0;
	struct wfs_live_piece *pieces = wfs_calloc(most, sizeof(*pieces));

	if (rank)
		pieces[n++] =
			(struct wfs_live_piece){ 0, file->len, file->bytes };
	for (uint32_t i = 0; rank && i < rank->count; i++) {
		const struct wfs_live_tensor *t =
			&rank->tensors[rank->order[i]];
		const struct wfs_live_piece piece = { rank->ends[i] - t->size,
						      t->size, t->data };

		if (wfs_live_tensor_can_be_lent(t))
			n = add_piece(pieces, n, &piece);
	}
	*ret = (struct wfs_live_memory){
		.epoch = live->live.epoch,
		.cell = live->image->cell.epoch,
		.pieces = pieces,
		.count = n,
	};
}
