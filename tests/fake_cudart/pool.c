/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake's memory pools that can be exported: a pool is a file that
 * allocations are cut from, one behind another, and none's place is another's.
 */
#include "tests/fake_cudart/regions.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct pool {
	uint64_t id, next;
	int fd;
	bool own;
};

/* What is exported of a pointer. */
struct data {
	char magic[8];
	uint64_t pool, id, off, size;
};

static cu_pool make(struct pool pool)
{
	struct pool *made = malloc(sizeof(*made));

	*made = pool;
	return made;
}

cu_error cudaMemPoolCreate(cu_pool *pool, const cu_pool_props *props)
{
	struct fake_alloc record = { .size = FAKE_GRAIN, .descriptor = true };
	struct stat st;
	unsigned code;
	int fd;

	FAKE_ENTER();
	if (props->type != WFS_CU_PINNED ||
	    props->handle_types != WFS_CU_POSIX_FD ||
	    props->location.type != WFS_CU_ON_DEVICE)
		return WFS_CU_INVALID_VALUE;
	fd = memfd_create("FAKE pool", MFD_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		fake_misuse("no memory for the fake");
	record.inode = st.st_ino;
	code = fake_alloc_add(&record);
	if (code)
		close(fd);
	else
		*pool = make((struct pool){
			.id = record.id, .fd = fd, .own = true });
	return code;
}

cu_error cudaMemPoolDestroy(cu_pool pool)
{
	struct pool *p = pool;

	FAKE_ENTER();
	close(p->fd);
	fake_let_go(p->id);
	free(p);
	return WFS_CU_OK;
}

static void *place(const struct pool *pool, const struct data *data,
		   enum region_kind kind)
{
	const struct region region = {
		.size = data->size,
		.id = data->id,
		.fd = fcntl(pool->fd, F_DUPFD_CLOEXEC, 0),
		.off = data->off,
		.kind = kind,
		.access = true,
	};

	return fake_region_add(&region);
}

cu_error cudaMallocFromPoolAsync(void **ptr, size_t size, cu_pool pool,
				 cu_stream stream)
{
	struct fake_alloc alloc = { .size = size };
	struct pool *p = pool;
	struct data data;
	unsigned code;

	FAKE_ENTER();
	if (!p->own || !stream)
		return WFS_CU_INVALID_VALUE;
	code = fake_alloc_add(&alloc);
	if (code)
		return code;
	data = (struct data){ .id = alloc.id, .off = p->next, .size = size };
	p->next += size;
	if (ftruncate(p->fd, (off_t)p->next) != 0)
		fake_misuse("no memory for the fake");
	*ptr = place(p, &data, REGION_POOLED);
	return WFS_CU_OK;
}

cu_error cudaMemPoolExportToShareableHandle(void *handle, cu_pool pool,
					    cu_export type, unsigned flags)
{
	const struct pool *p = pool;

	FAKE_ENTER();
	if (!p->own || type != WFS_CU_POSIX_FD || flags)
		return WFS_CU_INVALID_VALUE;
	*(int *)handle = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
	return WFS_CU_OK;
}

/* The pool whose file that is; 0. */
static uint64_t pool_of(int fd)
{
	struct fake_alloc record;
	struct stat st;

	return fstat(fd, &st) == 0 && fake_alloc_by_inode(st.st_ino, &record) ?
		       record.id :
		       0;
}

cu_error cudaMemPoolImportFromShareableHandle(cu_pool *pool, void *handle,
					      cu_export type, unsigned flags)
{
	int fd = (int)(intptr_t)handle;
	uint64_t id = pool_of(fd);

	FAKE_ENTER();
	if (!id || type != WFS_CU_POSIX_FD || flags)
		return WFS_CU_INVALID_VALUE;
	fake_hold(id);
	*pool = make(
		(struct pool){ .id = id, .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0) });
	return WFS_CU_OK;
}

cu_error cudaMemPoolExportPointer(cu_pool_ptr *data, void *ptr)
{
	struct data inside = { .magic = "FAKEptr" };
	struct region region;

	FAKE_ENTER();
	if (!fake_region_find((uint64_t)(uintptr_t)ptr, 1, &region) ||
	    region.kind != REGION_POOLED)
		return WFS_CU_INVALID_VALUE;
	inside.pool = pool_of(region.fd);
	inside.id = region.id;
	inside.off = region.off;
	inside.size = region.size;
	memset(data, 0, sizeof(*data));
	memcpy(data, &inside, sizeof(inside));
	return WFS_CU_OK;
}

cu_error cudaMemPoolImportPointer(void **ptr, cu_pool pool, cu_pool_ptr *data)
{
	const struct pool *p = pool;
	struct fake_alloc alloc;
	struct data inside;

	FAKE_ENTER();
	memcpy(&inside, data, sizeof(inside));
	if (p->own || memcmp(inside.magic, "FAKEptr", 8) != 0 ||
	    inside.pool != p->id || !fake_alloc_find(inside.id, &alloc))
		return WFS_CU_INVALID_VALUE;
	if (fake_region_has(inside.id))
		return WFS_CU_ALREADY_MAPPED;
	fake_hold(inside.id);
	*ptr = place(p, &inside, REGION_POOL_IMPORTED);
	return WFS_CU_OK;
}
