/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FAKE, for tests only; see fault_source.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/text.h"
#include "tests/faults/fault_source.h"

#define CONTROL_BYTES_MAX 65536
#define NS_PER_S	  1000000000ull
#define HANG_POLL_NS	  5000000 /* how soon a hang sees its end */

struct fault_region {
	struct wfs_region base;
	struct wfs_region *inner;
	char *full; /* the checkpoint's directory and the path in it */
};

struct fault_source {
	struct wfs_source base;
	struct wfs_source *inner;
	struct wfs_source_entry *entries;
	struct fault_region *regions;
	size_t count;
	char *control;
	pthread_mutex_t lock;
	uint64_t free_at; /* when the bytes asked for so far are through */
};

struct orders {
	uint64_t delay_ms, bytes_per_s;
	bool eio, hang, nodescriptor;
};

static struct fault_source *to_source(struct wfs_source *src)
{
	return (struct fault_source *)src;
}

static struct fault_region *to_region(struct wfs_region *region)
{
	return (struct fault_region *)region;
}

static void sleep_until(uint64_t ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(ns / NS_PER_S),
		.tv_nsec = (long)(ns % NS_PER_S),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) ==
	       EINTR)
		;
}

/* What the order `word` with `arg` ("" for none) means for `path`. */
static bool take_order(struct orders *orders, const char *word, const char *arg,
		       const char *path)
{
	bool hit = arg[0] && strstr(path, arg);

	if (strcmp(word, "delay_ms") == 0 && arg[0])
		orders->delay_ms = strtoull(arg, NULL, 10);
	else if (strcmp(word, "bytes_per_s") == 0 && arg[0])
		orders->bytes_per_s = strtoull(arg, NULL, 10);
	else if (strcmp(word, "eio") == 0 && arg[0])
		orders->eio |= hit;
	else if (strcmp(word, "hang") == 0 && arg[0])
		orders->hang |= hit;
	else if (strcmp(word, "nodescriptor") == 0 && !arg[0])
		orders->nodescriptor = true;
	else
		return false;
	return true;
}

static void read_orders(const struct fault_source *src, const char *path,
			struct orders *ret)
{
	char *text wfs_autofree = NULL;
	char *save = NULL;
	size_t len;
	int rc = wfs_file_slurp(src->control, CONTROL_BYTES_MAX, &text, &len);

	*ret = (struct orders){ 0 };
	if (rc == -ENOENT)
		return;
	if (rc) {
		fprintf(stderr, "weightfs-faults: cannot read '%s': %s\n",
			src->control, strerror(-rc));
		abort();
	}
	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *arg = line + strcspn(line, " \t");

		if (line[0] == '#' || !line[strspn(line, " \t")])
			continue;
		if (*arg)
			*arg++ = '\0';
		arg += strspn(arg, " \t");
		if (!take_order(ret, line, arg, path)) {
			fprintf(stderr,
				"weightfs-faults: '%s': no such order: "
				"'%s %s'\n",
				src->control, line, arg);
			abort();
		}
	}
}

static void wait_for_rate(struct fault_source *src, uint64_t rate, size_t len)
{
	uint64_t now = wfs_now_ns(), until;

	pthread_mutex_lock(&src->lock);
	if (src->free_at < now)
		src->free_at = now;
	src->free_at += (uint64_t)((double)len / (double)rate * NS_PER_S);
	until = src->free_at;
	pthread_mutex_unlock(&src->lock);
	sleep_until(until);
}

static const struct wfs_source_entry *fault_list(struct wfs_source *source,
						 size_t *ret_count)
{
	struct fault_source *src = to_source(source);

	*ret_count = src->count;
	return src->entries;
}

static int fault_read(struct wfs_region *region, void *buf, size_t len,
		      uint64_t off)
{
	struct fault_source *src = to_source(region->source);
	struct orders orders;
	ssize_t n;

	read_orders(src, to_region(region)->full, &orders);
	if (orders.delay_ms)
		sleep_until(wfs_now_ns() + orders.delay_ms * (NS_PER_S / 1000));
	if (orders.bytes_per_s)
		wait_for_rate(src, orders.bytes_per_s, len);
	while (orders.hang) {
		sleep_until(wfs_now_ns() + HANG_POLL_NS);
		read_orders(src, to_region(region)->full, &orders);
	}
	if (orders.eio)
		return -EIO;
	n = wfs_region_read(to_region(region)->inner, buf, len, off);
	if (n < 0)
		return (int)n;
	return (size_t)n == len ? 0 : -EIO;
}

static int fault_descriptor(struct wfs_region *region)
{
	struct orders orders;

	read_orders(to_source(region->source), to_region(region)->full,
		    &orders);
	if (orders.nodescriptor)
		return -ENOTSUP;
	return wfs_region_descriptor(to_region(region)->inner);
}

static int fault_check(struct wfs_region *region)
{
	return wfs_region_check(to_region(region)->inner);
}

static enum wfs_trust fault_trust(struct wfs_region *region)
{
	return wfs_region_trust(to_region(region)->inner);
}

static void fault_close(struct wfs_source *source)
{
	struct fault_source *src = to_source(source);

	wfs_source_put(src->inner);
	pthread_mutex_destroy(&src->lock);
	for (size_t i = 0; i < src->count; i++)
		free(src->regions[i].full);
	free(src->entries);
	free(src->regions);
	free(src->control);
	free(src);
}

static const struct wfs_source_ops fault_ops = {
	.name = "fault",
	.list = fault_list,
	.read = fault_read,
	.descriptor = fault_descriptor,
	.check = fault_check,
	.trust = fault_trust,
	.close = fault_close,
};

static void wrap_region(struct fault_source *src, size_t i)
{
	struct wfs_region *inner = src->entries[i].region;
	struct fault_region *region = &src->regions[i];

	region->inner = inner;
	region->full = wfs_asprintf("%s/%s", src->base.label, inner->path);
	region->base.source = &src->base;
	region->base.path = inner->path;
	region->base.size = inner->size;
	atomic_init(&region->base.failed_once, false);
	atomic_init(&region->base.stale, false);
	src->entries[i].region = &region->base;
}

struct wfs_source *wfs_fault_source_wrap(struct wfs_source *inner)
{
	const char *control = getenv("WFS_FAULTS");
	const struct wfs_source_entry *list;
	struct fault_source *src;

	if (!control)
		return inner;
	src = wfs_calloc(1, sizeof(*src));
	wfs_source_init(&src->base, &fault_ops, inner->label);
	src->inner = inner;
	src->control = wfs_strdup(control);
	pthread_mutex_init(&src->lock, NULL);
	list = wfs_source_list(inner, &src->count);
	src->entries = wfs_calloc(src->count + 1, sizeof(*src->entries));
	src->regions = wfs_calloc(src->count + 1, sizeof(*src->regions));
	for (size_t i = 0; i < src->count; i++) {
		src->entries[i] = list[i];
		if (list[i].region)
			wrap_region(src, i);
	}
	return &src->base;
}
