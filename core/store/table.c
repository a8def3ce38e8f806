/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects by key, and the lists of those that nobody has acquired.
 *
 * A chained hash table that doubles: keys are inode numbers, so their bits
 * are mixed first.
 */
#include <stdlib.h>

#include "core/base/text.h"
#include "core/store/inner.h"

#define FIRST_BITS 8

static size_t slot_of(const struct wfs_table *table, uint64_t key)
{
	/* 2^64 by the golden ratio. */
	return key * 0x9e3779b97f4a7c15ull >> (64 - table->bits);
}

void wfs_table_init(struct wfs_table *table)
{
	*table = (struct wfs_table){ .bits = FIRST_BITS };
	table->slots = wfs_calloc(1ul << FIRST_BITS, sizeof(*table->slots));
}

void wfs_table_free(struct wfs_table *table)
{
	free(table->slots);
}

struct wfs_object *wfs_table_find(const struct wfs_table *table, uint64_t key)
{
	struct wfs_object *object = table->slots[slot_of(table, key)];

	while (object && object->key != key)
		object = object->chain;
	return object;
}

static void link_object(struct wfs_table *table, struct wfs_object *object)
{
	struct wfs_object **slot = &table->slots[slot_of(table, object->key)];

	object->chain = *slot;
	*slot = object;
}

static void grow(struct wfs_table *table)
{
	struct wfs_object **old = table->slots;
	size_t n = 1ul << table->bits;

	table->bits++;
	table->slots = wfs_calloc(2 * n, sizeof(*table->slots));
	for (size_t i = 0; i < n; i++) {
		struct wfs_object *object = old[i];

		while (object) {
			struct wfs_object *next = object->chain;

			link_object(table, object);
			object = next;
		}
	}
	free(old);
}

void wfs_table_add(struct wfs_table *table, struct wfs_object *object)
{
	if (table->n >= 1ul << table->bits)
		grow(table);
	link_object(table, object);
	table->n++;
}

void wfs_table_remove(struct wfs_table *table, struct wfs_object *object)
{
	struct wfs_object **slot = &table->slots[slot_of(table, object->key)];

	while (*slot != object)
		slot = &(*slot)->chain;
	*slot = object->chain;
	table->n--;
}

size_t wfs_table_keys(const struct wfs_table *table, uint64_t mask,
		      uint64_t value, uint64_t **ret_keys)
{
	uint64_t *keys = wfs_calloc(table->n + 1, sizeof(*keys));
	size_t n = 0;

	for (size_t i = 0; i < 1ul << table->bits; i++)
		for (struct wfs_object *object = table->slots[i]; object;
		     object = object->chain)
			if ((object->key & mask) == value)
				keys[n++] = object->key;
	*ret_keys = keys;
	return n;
}

void wfs_list_add(struct wfs_object_list *list, struct wfs_object *object)
{
	object->list = list;
	object->next = NULL;
	object->prev = list->tail;
	if (list->tail)
		list->tail->next = object;
	else
		list->head = object;
	list->tail = object;
	list->n++;
}

void wfs_list_remove(struct wfs_object *object)
{
	struct wfs_object_list *list = object->list;

	if (!list)
		return;
	if (object->prev)
		object->prev->next = object->next;
	else
		list->head = object->next;
	if (object->next)
		object->next->prev = object->prev;
	else
		list->tail = object->prev;
	list->n--;
	object->list = NULL;
	object->prev = object->next = NULL;
}

struct wfs_object *wfs_object_find_locked(struct wfs_store *store, uint64_t key)
{
	struct wfs_object *object;

	/* The test of a lease, a few microseconds. */
	while ((object = wfs_table_find(&store->table, key)) &&
	       object->state == WFS_EVICTING)
		pthread_cond_wait(&store->changed, &store->lock);
	return object;
}

void wfs_object_use_locked(struct wfs_store *store, struct wfs_object *object)
{
	if (object->users++)
		return;
	store->used_files++;
	wfs_list_remove(object);
}

void wfs_object_park_locked(struct wfs_store *store, struct wfs_object *object)
{
	object->asked_at = 0;
	if (object->doomed) {
		wfs_list_add(&store->doomed, object);
		pthread_cond_signal(&store->chores);
	} else {
		wfs_list_add(&store->idle, object);
	}
}

void wfs_object_unuse_locked(struct wfs_store *store, struct wfs_object *object)
{
	if (--object->users)
		return;
	store->used_files--;
	store->no_room_until = 0;
	wfs_object_park_locked(store, object);
}
