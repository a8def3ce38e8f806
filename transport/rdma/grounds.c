/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See grounds.h.
 */
#include "transport/rdma/grounds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/digest/digests.h"

#define ALIGN 4096u /* parts begin at whole pages */

enum part_state {
	PART_NEW,
	PART_BUSY, /* being registered */
	PART_READY,
	PART_REFUSED,
};

struct part {
	enum part_state state;
	uint32_t key;
	void *registered;
};

struct wfs_ground {
	struct wfs_ground *next;
	uint8_t *start;
	uint64_t len, step; /* a part begins every so many bytes */
	size_t count;
	struct part parts[];
};

static void let_go(struct wfs_grounds *grounds, struct wfs_ground *ground)
{
	const struct wfs_registrar *registrar = grounds->registrar;

	for (size_t i = 0; i < ground->count; i++)
		if (ground->parts[i].state == PART_READY)
			registrar->remove(registrar->ctx,
					  ground->parts[i].registered);
	free(ground);
}

/* No read to it is under way, so no thread registers it either. */
static void gone(void *ctx, const struct wfs_stretch *stretch)
{
	struct wfs_grounds *grounds = ctx;
	struct wfs_ground **at = &grounds->first, *ground;

	pthread_mutex_lock(&grounds->lock);
	while (*at && (*at)->start != stretch->start)
		at = &(*at)->next;
	ground = *at;
	if (ground)
		*at = ground->next;
	pthread_mutex_unlock(&grounds->lock);
	if (ground)
		let_go(grounds, ground);
}

void wfs_grounds_init(struct wfs_grounds *grounds,
		      const struct wfs_registrar *registrar, const char *label)
{
	*grounds = (struct wfs_grounds){
		.registrar = registrar,
		.label = label,
		.watch = { .gone = gone, .ctx = grounds },
	};
	pthread_mutex_init(&grounds->lock, NULL);
	wfs_stretch_watch(&grounds->watch);
}

void wfs_grounds_clear(struct wfs_grounds *grounds)
{
	wfs_stretch_unwatch(&grounds->watch);
	while (grounds->first) {
		struct wfs_ground *ground = grounds->first;

		grounds->first = ground->next;
		let_go(grounds, ground);
	}
	pthread_mutex_destroy(&grounds->lock);
}

static struct wfs_ground *find_locked(const struct wfs_grounds *grounds,
				      const void *to)
{
	struct wfs_ground *ground = grounds->first;

	while (ground &&
	       (uintptr_t)to - (uintptr_t)ground->start >= ground->len)
		ground = ground->next;
	return ground;
}

/* One that is not known yet.  NULL: there is none, or it is not worth it. */
static struct wfs_ground *add_locked(struct wfs_grounds *grounds,
				     const void *to, uint32_t len)
{
	uint64_t max = grounds->registrar->max;
	struct wfs_stretch stretch;
	struct wfs_ground *ground;
	uint64_t step;
	size_t count;

	if (!wfs_stretch_find(to, len, &stretch) ||
	    stretch.len < WFS_GROUND_MIN || max < WFS_CHUNK + ALIGN)
		return NULL;
	step = stretch.len <= max ? stretch.len :
				    (max - WFS_CHUNK) / ALIGN * ALIGN;
	count = (stretch.len + step - 1) / step;
	ground = wfs_calloc(1,
			    sizeof(*ground) + count * sizeof(ground->parts[0]));
	ground->start = stretch.start;
	ground->len = stretch.len;
	ground->step = step;
	ground->count = count;
	ground->next = grounds->first;
	grounds->first = ground;
	return ground;
}

static uint64_t part_len(const struct wfs_ground *ground, size_t at)
{
	uint64_t left = ground->len - at * ground->step;
	uint64_t len = ground->step + WFS_CHUNK;

	return len < left ? len : left;
}

/* Drops the lock meanwhile: others go by the slab. */
static void register_locked(struct wfs_grounds *grounds,
			    struct wfs_ground *ground, size_t at)
{
	const struct wfs_registrar *registrar = grounds->registrar;
	struct part *part = &ground->parts[at];
	uint64_t len = part_len(ground, at);
	bool warn;
	int rc;

	part->state = PART_BUSY;
	pthread_mutex_unlock(&grounds->lock);
	part->registered = registrar->add(registrar->ctx,
					  ground->start + at * ground->step,
					  len, &part->key);
	rc = part->registered ? 0 : -errno;
	pthread_mutex_lock(&grounds->lock);
	part->state = rc ? PART_REFUSED : PART_READY;
	warn = rc && !grounds->warned;
	grounds->warned |= warn;
	if (warn)
		wfs_warn("RDMA: '%s' cannot register %llu bytes of the arena: "
			 "%s; what comes is copied instead: ulimit -l "
			 "unlimited, or LimitMEMLOCK=infinity of a service",
			 grounds->label, (unsigned long long)len,
			 strerror(-rc));
	else if (!rc)
		wfs_debug("RDMA: '%s' registered %llu bytes of the arena",
			  grounds->label, (unsigned long long)len);
}

bool wfs_grounds_find(struct wfs_grounds *grounds, void *to, uint32_t len,
		      uint32_t *ret_key)
{
	struct wfs_ground *ground;
	bool ready = false;

	pthread_mutex_lock(&grounds->lock);
	ground = find_locked(grounds, to);
	if (!ground)
		ground = add_locked(grounds, to, len);
	if (ground && len <= WFS_CHUNK) {
		uint64_t off = (uintptr_t)to - (uintptr_t)ground->start;
		size_t at = off / ground->step;

		if (ground->parts[at].state == PART_NEW)
			register_locked(grounds, ground, at);
		ready = ground->parts[at].state == PART_READY &&
			len <= ground->len - off;
		if (ready)
			*ret_key = ground->parts[at].key;
	}
	pthread_mutex_unlock(&grounds->lock);
	return ready;
}
