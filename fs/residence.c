/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See residence.h.
 */
#include "fs/residence.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "fs/hashes.h"

/* As in linux/mman.h since 6.5. */
struct cache_range {
	uint64_t off, len;
};
struct cache_stat {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};
#define SYS_CACHESTAT 451

#define NS_PER_MS 1000000u

/* Bytes of a local file in the page cache; -ENODATA if that is not known. */
static int cached_bytes(struct wfs_region *region, uint64_t off, uint64_t len,
			uint64_t *ret_bytes)
{
	struct cache_range range = { .off = off, .len = len };
	struct cache_stat st;
	int fd = wfs_region_descriptor(region);

	if (fd < 0 || len == 0 ||
	    syscall(SYS_CACHESTAT, fd, &range, &st, 0) != 0)
		return -ENODATA;
	*ret_bytes = st.cached * (uint64_t)sysconf(_SC_PAGESIZE);
	if (*ret_bytes > len)
		*ret_bytes = len;
	return 0;
}

struct wfs_residency wfs_node_residency(struct wfs_fs *fs,
					const struct wfs_node *node)
{
	struct wfs_residency res = { 0 };

	if (fs->store)
		wfs_store_residency(fs->store, wfs_node_ino(node), &res);
	return res;
}

bool wfs_node_digest(struct wfs_fs *fs, const struct wfs_node *node,
		     char *ret_digest)
{
	struct wfs_residency res = wfs_node_residency(fs, node);

	if (!res.has_digest)
		return wfs_hashes_find(fs->hashes, node, ret_digest);
	memcpy(ret_digest, res.digest, sizeof(res.digest));
	return true;
}

int wfs_resident_bytes(struct wfs_fs *fs, const struct wfs_node *node,
		       uint64_t *ret_bytes)
{
	const struct wfs_model_entry *entry = wfs_node_entry(node);
	struct wfs_residency res = wfs_node_residency(fs, node);

	if (res.bytes > 0 || !entry || wfs_node_size(node) == 0) {
		*ret_bytes = res.bytes;
		return 0;
	}
	if (wfs_node_descriptor(node) < 0) {
		*ret_bytes = 0;
		return 0;
	}
	return cached_bytes(entry->region, 0, entry->region->size, ret_bytes);
}

bool wfs_is_passed_through(struct wfs_fs *fs, const struct wfs_node *node)
{
	bool pass;

	wfs_backing_probe(fs->backing);
	if (!wfs_fs_passthrough(fs) || wfs_node_size(node) == 0)
		return false;
	pass = wfs_node_residency(fs, node).resident;
	if (!pass && wfs_node_descriptor(node) >= 0)
		pass = wfs_backing_direct_peek(fs->backing,
					       wfs_node_ino(node)) >= 0;
	return pass && wfs_modes_of(fs->modes, node->id) != WFS_MODE_CACHED;
}

enum wfs_trust wfs_node_trust(const struct wfs_node *node)
{
	struct wfs_region *region = wfs_node_region(node);

	return region ? wfs_region_trust(region) :
			wfs_source_trust(node->model->source);
}

/* Somebody who waits with a thread. */
struct patient {
	struct wfs_waiter waiter;
	int bell; /* an eventfd, rung when there is a result */
	int result;
};

static void arrived(struct wfs_waiter *waiter, int result)
{
	struct patient *p = (struct patient *)waiter;

	p->result = result;
	/* The last that is done with it. */
	eventfd_write(p->bell, 1);
}

int wfs_await_readable(const int *fds, unsigned n, uint64_t until_ns)
{
	struct pollfd polls[WFS_AWAIT_FDS];
	int rc;

	for (unsigned i = 0; i < n; i++)
		polls[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	for (;;) {
		uint64_t now = wfs_now_ns();
		uint64_t ms =
			now < until_ns ? (until_ns - now) / NS_PER_MS + 1 : 0;

		rc = poll(polls, n, ms > INT_MAX ? INT_MAX : (int)ms);
		if (rc == 0 && wfs_now_ns() >= until_ns)
			return -ETIMEDOUT;
		for (unsigned i = n; rc > 0 && i > 0; i--) {
			if (polls[i - 1].revents)
				return (int)i - 1;
		}
	}
}

static int await(struct wfs_fs *fs, struct patient *p, uint64_t until_ns,
		 const int *stop)
{
	const int fds[] = { p->bell, stop ? *stop : -1 };
	int rc = wfs_await_readable(fds, 2, until_ns);
	eventfd_t rung;

	if (rc != 0 && wfs_store_cancel(fs->store, &p->waiter))
		return rc < 0 ? rc : -EINTR;
	eventfd_read(p->bell, &rung); /* or it is being told */
	return p->result;
}

int wfs_await_resident(struct wfs_fs *fs, const struct wfs_node *node,
		       const struct wfs_recipe *recipe, uint64_t until_ns,
		       const int *stop)
{
	int bell wfs_autoclose = eventfd(0, EFD_CLOEXEC);
	struct patient p = { .waiter.done = arrived, .bell = bell };
	uint64_t wait;
	int rc;

	if (bell < 0)
		return -ENOSPC;
	rc = wfs_store_acquire(fs->store, wfs_node_ino(node), recipe, &p.waiter,
			       &wait);
	return rc == -EINPROGRESS ? await(fs, &p, until_ns, stop) : rc;
}
