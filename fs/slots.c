/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See slots.h.  A few lists under the numbers' own bits, which are random.
 */
#include "fs/slots.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/base/mem.h"

#define LISTS 256u

struct wfs_slots {
	pthread_mutex_t lock;
	struct wfs_slot *lists[LISTS];
	unsigned count;
};

struct wfs_slots *wfs_slots_new(void)
{
	struct wfs_slots *slots = wfs_calloc(1, sizeof(*slots));

	pthread_mutex_init(&slots->lock, NULL);
	return slots;
}

static void free_slot(struct wfs_slot *slot)
{
	if (slot->kind == WFS_SLOT_MEMORY)
		wfs_target_close(&slot->target);
	if (slot->fd >= 0)
		close(slot->fd);
	free(slot);
}

void wfs_slots_free(struct wfs_slots *slots)
{
	if (!slots)
		return;
	for (unsigned i = 0; i < LISTS; i++) {
		while (slots->lists[i]) {
			struct wfs_slot *slot = slots->lists[i];

			slots->lists[i] = slot->next;
			free_slot(slot);
		}
	}
	pthread_mutex_destroy(&slots->lock);
	free(slots);
}

static struct wfs_slot **find_locked(struct wfs_slots *slots, uint64_t id)
{
	struct wfs_slot **at = &slots->lists[id % LISTS];

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static unsigned count_locked(const struct wfs_slots *slots, uid_t uid)
{
	unsigned n = 0;

	for (unsigned i = 0; i < LISTS; i++)
		for (const struct wfs_slot *s = slots->lists[i]; s; s = s->next)
			n += s->uid == uid;
	return n;
}

static uint64_t pick_locked(struct wfs_slots *slots)
{
	uint64_t id = 0;

	while (!id || *find_locked(slots, id))
		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			id = 0;
	return id;
}

static int may_add_locked(const struct wfs_slots *slots,
			  const struct wfs_slot *slot)
{
	if (slot->of && atomic_load(&slot->of->dead))
		return -ESRCH;
	return count_locked(slots, slot->uid) < WFS_SLOTS_MAX ? 0 : -EBUSY;
}

int wfs_slots_add(struct wfs_slots *slots, const struct wfs_slot *slot,
		  uint64_t *ret_id, struct wfs_slot **ret_used)
{
	struct wfs_slot *added = wfs_malloc(sizeof(*added));
	struct wfs_slot **list;
	int rc;

	*added = *slot;
	added->users = ret_used != NULL;
	if (slot->of)
		added->owner = slot->of->owner;
	added->of = NULL;
	atomic_init(&added->dead, false);
	pthread_mutex_lock(&slots->lock);
	rc = may_add_locked(slots, slot);
	if (rc) {
		pthread_mutex_unlock(&slots->lock);
		free(added);
		return rc;
	}
	added->id = pick_locked(slots);
	list = &slots->lists[added->id % LISTS];
	added->next = *list;
	*list = added;
	slots->count++;
	*ret_id = added->id;
	if (ret_used)
		*ret_used = added;
	pthread_mutex_unlock(&slots->lock);
	return 0;
}

/* A slot of that user's in its list. */
static int own_locked(struct wfs_slots *slots, uint64_t id, uid_t uid,
		      struct wfs_slot ***ret_at)
{
	struct wfs_slot **at = find_locked(slots, id);

	if (!*at || atomic_load(&(*at)->dead))
		return -ESRCH;
	if ((*at)->uid != uid)
		return -EACCES;
	*ret_at = at;
	return 0;
}

int wfs_slots_get(struct wfs_slots *slots, uint64_t id, uid_t uid,
		  enum wfs_slot_kind kind, struct wfs_slot **ret_slot)
{
	struct wfs_slot **at;
	int rc;

	pthread_mutex_lock(&slots->lock);
	rc = own_locked(slots, id, uid, &at);
	if (!rc && (*at)->kind != kind)
		rc = -EOPNOTSUPP;
	if (!rc) {
		(*at)->users++;
		*ret_slot = *at;
	}
	pthread_mutex_unlock(&slots->lock);
	return rc;
}

/* Out of its list; to be freed without the lock. */
static struct wfs_slot *take_locked(struct wfs_slots *slots,
				    struct wfs_slot **at)
{
	struct wfs_slot *slot = *at;

	*at = slot->next;
	slots->count--;
	return slot;
}

void wfs_slots_put(struct wfs_slots *slots, struct wfs_slot *slot)
{
	struct wfs_slot *gone = NULL;

	pthread_mutex_lock(&slots->lock);
	if (!--slot->users && atomic_load(&slot->dead))
		gone = take_locked(slots, find_locked(slots, slot->id));
	pthread_mutex_unlock(&slots->lock);
	if (gone)
		free_slot(gone);
}

int wfs_slots_drop(struct wfs_slots *slots, uint64_t id, uid_t uid,
		   struct wfs_outcome *ret_outcome)
{
	struct wfs_slot *gone = NULL;
	struct wfs_slot **at;
	int rc;

	pthread_mutex_lock(&slots->lock);
	rc = own_locked(slots, id, uid, &at);
	if (!rc && !(*at)->users)
		gone = take_locked(slots, at);
	else if (!rc && (*at)->kind == WFS_SLOT_EVENT)
		atomic_store(&(*at)->dead, true);
	else if (!rc)
		rc = -EBUSY;
	pthread_mutex_unlock(&slots->lock);
	if (!gone)
		return rc;
	if (gone->kind == WFS_SLOT_TICKET)
		*ret_outcome = gone->outcome;
	free_slot(gone);
	return 0;
}

void wfs_slots_orphan(struct wfs_slots *slots, const void *owner)
{
	struct wfs_slot *gone = NULL, *slot;

	pthread_mutex_lock(&slots->lock);
	for (unsigned i = 0; i < LISTS; i++) {
		for (struct wfs_slot **at = &slots->lists[i]; *at;) {
			if ((*at)->owner != owner) {
				at = &(*at)->next;
				continue;
			}
			atomic_store(&(*at)->dead, true);
			if ((*at)->users) {
				at = &(*at)->next;
				continue;
			}
			slot = take_locked(slots, at);
			slot->next = gone;
			gone = slot;
		}
	}
	pthread_mutex_unlock(&slots->lock);
	while ((slot = gone)) {
		gone = slot->next;
		free_slot(slot);
	}
}

unsigned wfs_slots_count(struct wfs_slots *slots)
{
	unsigned n;

	pthread_mutex_lock(&slots->lock);
	n = slots->count;
	pthread_mutex_unlock(&slots->lock);
	return n;
}
