/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See residence.h.
 */
#include "fs/residence.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/cond.h"
#include "fs/hashes.h"

/* As in linux/mman.h since 6.5. */
struct cache_range {
	uint64_t off, len;
};
struct cache_stat {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};
#define SYS_CACHESTAT 451

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
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool over;
	int result;
};

static void arrived(struct wfs_waiter *waiter, int result)
{
	struct patient *p = (struct patient *)waiter;

	pthread_mutex_lock(&p->lock);
	p->result = result;
	p->over = true;
	pthread_cond_signal(&p->done);
	pthread_mutex_unlock(&p->lock);
}

static int await(struct wfs_fs *fs, struct patient *p, uint64_t until_ns)
{
	bool in_time = true;

	pthread_mutex_lock(&p->lock);
	while (!p->over && in_time)
		in_time = wfs_cond_wait_until(&p->done, &p->lock, until_ns);
	pthread_mutex_unlock(&p->lock);
	if (!in_time && wfs_store_cancel(fs->store, &p->waiter))
		return -ETIMEDOUT;
	pthread_mutex_lock(&p->lock);
	while (!p->over) /* it is being told */
		pthread_cond_wait(&p->done, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return p->result;
}

int wfs_await_resident(struct wfs_fs *fs, const struct wfs_node *node,
		       const struct wfs_recipe *recipe, uint64_t until_ns)
{
	struct patient p = { .waiter.done = arrived,
			     .lock = PTHREAD_MUTEX_INITIALIZER };
	uint64_t wait;
	int rc;

	wfs_cond_init(&p.done);
	rc = wfs_store_acquire(fs->store, wfs_node_ino(node), recipe, &p.waiter,
			       &wait);
	if (rc == -EINPROGRESS)
		rc = await(fs, &p, until_ns);
	pthread_cond_destroy(&p.done);
	pthread_mutex_destroy(&p.lock);
	return rc;
}
