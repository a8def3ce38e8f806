/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See orders.h.  All that is known is in one list, the oldest first; a file is
 * a struct wfs_passed as it lies in memory, since it never leaves the machine.
 */
#include "fs/orders.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "core/digest/kept.h"
#include "fs/workers.h"

#define NAME_LEN (16 + sizeof(SUFFIX))
#define SUFFIX	 ".order"
#define LIMIT	 (sizeof(struct wfs_passed) + 4ull * WFS_ORDERS_INDICES)

struct known {
	uint64_t key;
	struct timespec at; /* of its file, while they are read */
	struct wfs_passed *passed;
	bool used; /* its file is to stay for longer */
};

struct wfs_orders {
	struct wfs_kept *kept; /* NULL: nowhere */
	pthread_mutex_t lock;
	struct known *list; /* the oldest first */
	size_t count, cap;
	uint64_t indices;
};

static const char *name_of(uint64_t key, char name[NAME_LEN])
{
	snprintf(name, NAME_LEN, "%016" PRIx64 SUFFIX, key);
	return name;
}

static void add(struct wfs_orders *orders, struct known known)
{
	if (orders->count == orders->cap) {
		orders->cap = orders->cap ? orders->cap * 2 : 64;
		orders->list = wfs_realloc(orders->list,
					   orders->cap * sizeof(*orders->list));
	}
	orders->list[orders->count++] = known;
}

static void list(void *ctx, const char *name, const struct stat *st)
{
	struct wfs_orders *orders = ctx;
	uint64_t key = strtoull(name, NULL, 16);
	char again[NAME_LEN];

	if (strcmp(name, name_of(key, again)) != 0)
		return;
	add(orders, (struct known){ .key = key, .at = st->st_mtim });
}

static int by_age(const void *a, const void *b)
{
	const struct timespec *x = &((const struct known *)a)->at;
	const struct timespec *y = &((const struct known *)b)->at;

	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? -1 : 1;
	return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

static size_t size_of(uint32_t count)
{
	return sizeof(struct wfs_passed) + count * sizeof(uint32_t);
}

/* NULL: there is none, or it makes no sense. */
static struct wfs_passed *load(struct wfs_orders *orders, uint64_t key)
{
	char name[NAME_LEN], *bytes;
	struct wfs_passed *passed;
	size_t len;

	if (wfs_kept_load(orders->kept, name_of(key, name), LIMIT, &bytes,
			  &len))
		return NULL;
	passed = (struct wfs_passed *)bytes;
	if (len >= sizeof(*passed) && len == size_of(passed->count))
		return passed;
	wfs_kept_refuse(orders->kept, name);
	free(bytes);
	return NULL;
}

/* Takes out what is at `i`, and with `forget` its file. */
static void take_out(struct wfs_orders *orders, size_t i, bool forget)
{
	struct known *known = &orders->list[i];
	char name[NAME_LEN];

	if (known->passed)
		orders->indices -= known->passed->count;
	if (forget && orders->kept)
		wfs_kept_drop(orders->kept, name_of(known->key, name));
	free(known->passed);
	memmove(known, known + 1,
		(--orders->count - i) * sizeof(*orders->list));
}

/* The newest that there is room for; others go. */
static void read_all(struct wfs_orders *orders)
{
	wfs_kept_walk(orders->kept, list, orders);
	if (orders->count)
		qsort(orders->list, orders->count, sizeof(*orders->list),
		      by_age);
	for (size_t i = orders->count, n = 0; i-- > 0;) {
		struct known *known = &orders->list[i];

		if (n < WFS_ORDERS_MAX && orders->indices < WFS_ORDERS_INDICES)
			known->passed = load(orders, known->key);
		if (!known->passed) {
			take_out(orders, i, true);
			continue;
		}
		orders->indices += known->passed->count;
		n++;
	}
}

int wfs_orders_open(const char *dir, struct wfs_orders **ret_orders,
		    struct wfs_err *err)
{
	struct wfs_orders *orders;
	struct wfs_kept *kept = NULL;
	int rc = dir ? wfs_kept_open(dir, "orders", &kept, err) : 0;

	if (rc)
		return rc;
	orders = wfs_calloc(1, sizeof(*orders));
	orders->kept = kept;
	pthread_mutex_init(&orders->lock, NULL);
	if (kept)
		read_all(orders);
	*ret_orders = orders;
	return 0;
}

void wfs_orders_close(struct wfs_orders *orders)
{
	if (!orders)
		return;
	for (size_t i = 0; i < orders->count; i++) {
		struct known *known = &orders->list[i];
		char name[NAME_LEN];

		if (known->used && orders->kept)
			wfs_kept_touch(orders->kept, name_of(known->key, name));
		free(known->passed);
	}
	free(orders->list);
	pthread_mutex_destroy(&orders->lock);
	wfs_kept_close(orders->kept);
	free(orders);
}

static size_t find_locked(const struct wfs_orders *orders, uint64_t key)
{
	size_t i = 0;

	while (i < orders->count && orders->list[i].key != key)
		i++;
	return i;
}

struct wfs_order *wfs_orders_first(struct wfs_orders *orders,
				   const struct wfs_node *node)
{
	struct wfs_order *order = wfs_order_first(node);
	size_t i;

	if (!orders)
		return order;
	pthread_mutex_lock(&orders->lock);
	i = find_locked(orders, wfs_order_key(order));
	if (i < orders->count)
		orders->list[i].used |=
			wfs_order_resume(order, orders->list[i].passed);
	pthread_mutex_unlock(&orders->lock);
	return order;
}

/* An order on its way to the disk. */
struct keeping {
	struct wfs_work work;
	struct wfs_orders *orders;
	uint64_t key;
	struct wfs_passed *passed;
};

/* It is the newest now; `passed` is taken over. */
static void replace(struct wfs_orders *orders, uint64_t key,
		    struct wfs_passed *passed)
{
	size_t i;

	pthread_mutex_lock(&orders->lock);
	i = find_locked(orders, key);
	if (i < orders->count)
		take_out(orders, i, false);
	add(orders, (struct known){ .key = key, .passed = passed });
	orders->indices += passed->count;
	while (orders->count > WFS_ORDERS_MAX ||
	       (orders->count > 1 && orders->indices > WFS_ORDERS_INDICES))
		take_out(orders, 0, true);
	pthread_mutex_unlock(&orders->lock);
}

static void keep(struct wfs_work *work, void *room)
{
	struct keeping *k = (struct keeping *)((char *)work -
					       offsetof(struct keeping, work));
	char name[NAME_LEN];

	(void)room;
	if (k->orders->kept)
		wfs_kept_save(k->orders->kept, name_of(k->key, name), k->passed,
			      size_of(k->passed->count));
	replace(k->orders, k->key, k->passed);
	free(k);
}

void wfs_orders_keep_later(struct wfs_orders *orders,
			   struct wfs_workers *workers,
			   const struct wfs_order *order)
{
	struct keeping *k;

	if (!orders)
		return;
	k = wfs_malloc(sizeof(*k));
	*k = (struct keeping){ .work.run = keep,
			       .orders = orders,
			       .key = wfs_order_key(order),
			       .passed = wfs_order_passed(order) };
	wfs_workers_queue(workers, &k->work);
}
