/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake's device memory that a descriptor stands for: the driver's calls.
 */
#include "tests/fake_cudart/regions.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HANDLES 256

static struct vmm {
	uint64_t id; /* 0: free */
	size_t size;
	int fd;
} handles[HANDLES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static cu_alloc add_handle(struct vmm vmm)
{
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < HANDLES; i++) {
		if (handles[i].id)
			continue;
		handles[i] = vmm;
		pthread_mutex_unlock(&lock);
		return i + 1;
	}
	fake_misuse("more handles than the fake has room for");
}

static struct vmm get_handle(cu_alloc handle)
{
	struct vmm vmm = { 0 };

	pthread_mutex_lock(&lock);
	if (handle && handle <= HANDLES)
		vmm = handles[handle - 1];
	pthread_mutex_unlock(&lock);
	return vmm;
}

cu_result cuMemGetAllocationGranularity(size_t *granularity,
					const cu_prop *prop, cu_flags option)
{
	(void)option;
	FAKE_ENTER();
	if (prop->type != WFS_CU_PINNED)
		return WFS_CU_INVALID_VALUE;
	*granularity = FAKE_GRAIN;
	return WFS_CU_OK;
}

cu_result cuMemCreate(cu_alloc *alloc, size_t size, const cu_prop *prop,
		      unsigned long long flags)
{
	struct fake_alloc record = { .size = size, .descriptor = true };
	struct stat st;
	unsigned code;
	int fd;

	FAKE_ENTER();
	if (flags || !size || size % FAKE_GRAIN ||
	    prop->handle_types != WFS_CU_POSIX_FD ||
	    prop->location.type != WFS_CU_ON_DEVICE)
		return WFS_CU_INVALID_VALUE;
	fd = memfd_create("FAKE device memory", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)size) != 0 || fstat(fd, &st) != 0)
		fake_misuse("no memory for the fake");
	record.inode = st.st_ino;
	code = fake_alloc_add(&record);
	if (code) {
		close(fd);
		return code;
	}
	*alloc = add_handle((struct vmm){ record.id, size, fd });
	return WFS_CU_OK;
}

cu_result cuMemRelease(cu_alloc alloc)
{
	struct vmm vmm = get_handle(alloc);

	FAKE_ENTER();
	if (!vmm.id)
		return WFS_CU_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	handles[alloc - 1].id = 0;
	pthread_mutex_unlock(&lock);
	close(vmm.fd);
	fake_let_go(vmm.id);
	return WFS_CU_OK;
}

cu_result cuMemExportToShareableHandle(void *handle, cu_alloc alloc,
				       cu_type type, unsigned long long flags)
{
	struct vmm vmm = get_handle(alloc);

	FAKE_ENTER();
	if (!vmm.id || type != WFS_CU_POSIX_FD || flags)
		return WFS_CU_INVALID_VALUE;
	*(int *)handle = fcntl(vmm.fd, F_DUPFD_CLOEXEC, 0);
	return WFS_CU_OK;
}

cu_result cuMemImportFromShareableHandle(cu_alloc *alloc, void *handle,
					 cu_type type)
{
	int fd = (int)(intptr_t)handle;
	struct fake_alloc record;
	struct stat st;

	FAKE_ENTER();
	if (type != WFS_CU_POSIX_FD || fstat(fd, &st) != 0 ||
	    !fake_alloc_by_inode(st.st_ino, &record))
		return WFS_CU_INVALID_VALUE;
	fake_hold(record.id);
	*alloc = add_handle((struct vmm){ record.id, record.size,
					  fcntl(fd, F_DUPFD_CLOEXEC, 0) });
	return WFS_CU_OK;
}

/* Of a whole allocation, of whichever kind. */
cu_result cuMemGetAddressRange(cu_devptr *base, size_t *size, cu_devptr ptr)
{
	struct region region;

	FAKE_ENTER();
	if (!fake_region_find(ptr, 1, &region) || !region.access)
		return WFS_CU_INVALID_VALUE;
	*base = region.base;
	*size = region.size;
	return WFS_CU_OK;
}

cu_result cuMemAddressReserve(cu_devptr *ptr, size_t size, size_t align,
			      cu_devptr at, unsigned long long flags)
{
	struct region region = { .size = size,
				 .fd = -1,
				 .kind = REGION_RESERVED };

	FAKE_ENTER();
	if (!size || size % FAKE_GRAIN || align || at || flags)
		return WFS_CU_INVALID_VALUE;
	*ptr = (uint64_t)(uintptr_t)fake_region_add(&region);
	return WFS_CU_OK;
}

cu_result cuMemAddressFree(cu_devptr ptr, size_t size)
{
	struct region region;

	FAKE_ENTER();
	if (!fake_region_find(ptr, size, &region) || region.size != size ||
	    !fake_region_take(ptr, REGION_RESERVED, &region))
		return WFS_CU_INVALID_VALUE;
	return WFS_CU_OK;
}

cu_result cuMemMap(cu_devptr ptr, size_t size, size_t offset, cu_alloc alloc,
		   unsigned long long flags)
{
	struct vmm vmm = get_handle(alloc);
	struct region region;

	FAKE_ENTER();
	if (!vmm.id || vmm.size < size || offset || flags ||
	    !fake_region_find(ptr, size, &region) ||
	    region.kind != REGION_RESERVED)
		return WFS_CU_INVALID_VALUE;
	region.kind = REGION_MAPPED;
	region.id = vmm.id;
	region.fd = fcntl(vmm.fd, F_DUPFD_CLOEXEC, 0);
	fake_hold(vmm.id);
	fake_region_change(ptr, &region);
	return WFS_CU_OK;
}

cu_result cuMemUnmap(cu_devptr ptr, size_t size)
{
	struct region region;

	FAKE_ENTER();
	if (!fake_region_find(ptr, size, &region) ||
	    region.kind != REGION_MAPPED)
		return WFS_CU_INVALID_VALUE;
	close(region.fd);
	fake_let_go(region.id);
	region.kind = REGION_RESERVED;
	region.fd = -1;
	region.id = 0;
	region.access = false;
	fake_region_change(ptr, &region);
	return WFS_CU_OK;
}

cu_result cuMemSetAccess(cu_devptr ptr, size_t size, const cu_access *access,
			 size_t count)
{
	struct region region;

	FAKE_ENTER();
	if (count != 1 || access->flags != WFS_CU_READ_WRITE ||
	    access->location.type != WFS_CU_ON_DEVICE ||
	    !fake_region_find(ptr, size, &region) ||
	    region.kind != REGION_MAPPED)
		return WFS_CU_INVALID_VALUE;
	region.access = true;
	fake_region_change(ptr, &region);
	return WFS_CU_OK;
}
