/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file's bytes for a device that is fed with them, past the arena: read as
 * any reader's, and so verified as those are, ahead of what nobody waits for.
 */
#include <errno.h>
#include <sys/eventfd.h>

#include "core/base/least.h"
#include "core/base/mem.h"
#include "fs/fill_inner.h"
#include "fs/read.h"
#include "fs/residence.h"

/* What a thread reads at a time, of what several do. */
#define PART (1u << 20)

struct part {
	struct wfs_work work;
	struct stretch *of;
	char *to;
	uint64_t off, len;
};

/* Bytes that are being read, held by each part and by who waits for them. */
struct stretch {
	struct wfs_filling *filling;
	struct wfs_device_room *room;
	atomic_uint refs, left;
	atomic_bool given_up;
	atomic_int rc;
	int bell; /* an eventfd, rung when none is left */
	struct part parts[];
};

static void put(struct stretch *s)
{
	if (atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	wfs_device_room_put(s->room);
	wfs_filling_put(s->filling);
	close(s->bell);
	free(s);
}

int wfs_fill_source_error(ssize_t rc)
{
	return rc == -ESTALE || rc == -EBADMSG || rc == -EHOSTUNREACH ||
			       rc == -ETIMEDOUT ?
		       (int)rc :
		       -EIO;
}

static int read_part(const struct part *p)
{
	const struct wfs_filling *f = p->of->filling;
	uint64_t at = 0;

	while (at < p->len) {
		ssize_t n = wfs_read_bytes(f->fs, &f->node, f->recipe.recipe,
					   p->to + at, p->len - at,
					   p->off + at);

		if (n <= 0)
			return wfs_fill_source_error(n);
		at += (uint64_t)n;
	}
	return 0;
}

static void run_part(struct wfs_work *work, void *room)
{
	struct part *p = (struct part *)work;
	struct stretch *s = p->of;
	int none = 0, rc = 0;

	(void)room;
	if (!atomic_load(&s->given_up) && !atomic_load(&s->rc))
		rc = read_part(p);
	if (rc)
		atomic_compare_exchange_strong(&s->rc, &none, rc);
	if (atomic_fetch_sub(&s->left, 1) == 1)
		eventfd_write(s->bell, 1);
	put(s);
}

/* What is turned costs less the more of it is read at once. */
static uint64_t part_of(const struct wfs_filling *f, uint64_t off, uint64_t len)
{
	return wfs_recipe_is_turned(f->recipe.recipe, off) ? len : PART;
}

static void begin(struct stretch *s, unsigned n, char *to, uint64_t off,
		  uint64_t len, uint64_t each)
{
	atomic_store(&s->refs, n + 1);
	atomic_store(&s->left, n);
	for (unsigned i = 0; i < n; i++) {
		uint64_t at = i * each;

		s->parts[i] = (struct part){ .work.run = run_part,
					     .of = s,
					     .to = to + at,
					     .off = off + at,
					     .len = wfs_least(each, len - at) };
	}
	for (unsigned i = 0; i < n; i++)
		wfs_workers_queue(s->filling->fs->feeders, &s->parts[i].work);
}

/* A reason to go no further comes before bytes that are there. */
static int await(struct stretch *s, const struct wfs_device_patience *patience)
{
	const int fds[] = { s->bell, patience->ends[0], patience->ends[1] };
	int rc = wfs_await_readable(fds, 3, patience->until_ns);

	if (rc == 0)
		return atomic_load(&s->rc);
	atomic_store(&s->given_up, true);
	return rc < 0 ? rc : -EINTR;
}

int wfs_fill_feed(void *ctx, struct wfs_device_room *room, void *to,
		  uint64_t off, uint64_t len,
		  const struct wfs_device_patience *patience)
{
	struct wfs_filling *f = ctx;
	uint64_t each = part_of(f, off, len);
	unsigned n = (unsigned)((len + each - 1) / each);
	int bell = eventfd(0, EFD_CLOEXEC);
	struct stretch *s;
	int rc;

	if (bell < 0)
		return -EIO;
	s = wfs_calloc(1, sizeof(*s) + n * sizeof(s->parts[0]));
	wfs_filling_get(f);
	s->filling = f;
	s->room = wfs_device_room_get(room);
	s->bell = bell;
	begin(s, n, to, off, len, each);
	rc = await(s, patience);
	put(s);
	if (!rc)
		wfs_intent_note_read(f->fs->intent, f->fs, &f->node,
				     (size_t)len);
	return rc;
}
