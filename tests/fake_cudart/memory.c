/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake's device memory that handles of the legacy kind stand for, and
 * pinned host memory.  An address of a device is one that the CPU cannot touch.
 */
#include "tests/fake_cudart/regions.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PINS 64

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* since 5.14 */
#endif

/* What lies in a handle. */
struct handle {
	char magic[8];
	uint64_t id;
};

static struct pin {
	const char *at;
	size_t size;
	bool own;
} pins[PINS];
static pthread_mutex_t pin_lock = PTHREAD_MUTEX_INITIALIZER;

static int open_file(uint64_t id, int flags)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/alloc.%llu", fake_dir(),
		 (unsigned long long)id);
	fd = open(path, flags | O_CLOEXEC, 0666);
	if (fd >= 0 && flags & O_CREAT)
		fchmod(fd, 0666);
	return fd;
}

cu_error cudaMalloc(void **ptr, size_t size)
{
	struct fake_alloc alloc = { .size = size };
	struct region region = { .size = size, .kind = REGION_OWN };
	unsigned code;

	FAKE_ENTER();
	code = fake_alloc_add(&alloc);
	if (code)
		return code;
	region.id = alloc.id;
	region.fd = open_file(alloc.id, O_RDWR | O_CREAT);
	region.access = true;
	if (region.fd < 0 || ftruncate(region.fd, (off_t)size) != 0)
		fake_misuse("the folder cannot be written");
	*ptr = fake_region_add(&region);
	return WFS_CU_OK;
}

cu_error cudaFree(void *ptr)
{
	uint64_t at = (uint64_t)(uintptr_t)ptr;
	struct region region;
	char path[256];

	FAKE_ENTER();
	if (!ptr)
		return WFS_CU_OK;
	if (fake_region_take(at, REGION_POOL_IMPORTED, &region)) {
		fake_let_go(region.id);
		return WFS_CU_OK;
	}
	if (!fake_region_take(at, REGION_OWN, &region) &&
	    !fake_region_take(at, REGION_POOLED, &region))
		return WFS_CU_INVALID_VALUE;
	fake_alloc_remove(region.id);
	snprintf(path, sizeof(path), "%s/alloc.%llu", fake_dir(),
		 (unsigned long long)region.id);
	unlink(path);
	return WFS_CU_OK;
}

/* A descriptor of the file that the memory is: not one that is a dma-buf. */
cu_result cuMemGetHandleForAddressRange(void *handle, cu_devptr ptr,
					size_t size, cu_range type,
					unsigned long long flags)
{
	struct region region;

	FAKE_ENTER();
	if (!fake_control()->dma_bufs)
		return WFS_CU_NOT_SUPPORTED;
	if (type != WFS_CU_DMA_BUF_FD || flags || ptr % 4096 || size % 4096 ||
	    !fake_region_find(ptr, size, &region) ||
	    region.kind != REGION_OWN || ptr != region.base)
		return WFS_CU_INVALID_VALUE;
	*(int *)handle = fcntl(region.fd, F_DUPFD_CLOEXEC, 0);
	return WFS_CU_OK;
}

cu_error cudaIpcGetMemHandle(cu_mem_handle *handle, void *ptr)
{
	struct handle inside = { .magic = "FAKEmem" };
	struct region region;

	FAKE_ENTER();
	if (!fake_region_find((uint64_t)(uintptr_t)ptr, 1, &region) ||
	    region.kind != REGION_OWN)
		return WFS_CU_INVALID_VALUE;
	inside.id = region.id;
	memset(handle, 0, sizeof(*handle));
	memcpy(handle, &inside, sizeof(inside));
	return WFS_CU_OK;
}

cu_error cudaIpcOpenMemHandle(void **ptr, cu_mem_handle handle, unsigned flags)
{
	struct region region = { .kind = REGION_IMPORTED, .access = true };
	struct fake_alloc alloc;
	struct handle inside;

	FAKE_ENTER();
	memcpy(&inside, &handle, sizeof(inside));
	if (memcmp(inside.magic, "FAKEmem", 8) != 0 ||
	    flags != WFS_CU_LAZY_PEER_ACCESS)
		return WFS_CU_INVALID_VALUE;
	if (fake_is_part())
		return WFS_CU_NOT_SUPPORTED;
	if (!fake_alloc_find(inside.id, &alloc) || alloc.descriptor)
		return WFS_CU_INVALID_HANDLE;
	if (alloc.owner == getpid())
		return WFS_CU_CONTEXT_UNINITIALIZED;
	if (alloc.uid != geteuid())
		return WFS_CU_INVALID_VALUE;
	if (fake_region_has(alloc.id))
		return WFS_CU_ALREADY_MAPPED;
	region.fd = open_file(alloc.id, O_RDWR);
	if (region.fd < 0)
		return WFS_CU_MAP_FAILED;
	region.id = alloc.id;
	region.size = alloc.size;
	fake_hold(alloc.id);
	*ptr = fake_region_add(&region);
	return WFS_CU_OK;
}

cu_error cudaIpcCloseMemHandle(void *ptr)
{
	struct region region;

	FAKE_ENTER();
	if (!fake_region_take((uint64_t)(uintptr_t)ptr, REGION_IMPORTED,
			      &region))
		return WFS_CU_INVALID_VALUE;
	fake_let_go(region.id);
	return WFS_CU_OK;
}

static unsigned pin(const void *at, size_t size, bool own)
{
	unsigned code = WFS_CU_NO_MEMORY;

	pthread_mutex_lock(&pin_lock);
	for (int i = 0; i < PINS; i++) {
		if (pins[i].at &&
		    (const char *)at < pins[i].at + pins[i].size &&
		    pins[i].at < (const char *)at + size) {
			code = WFS_CU_ALREADY_REGISTERED;
			break;
		}
		if (!pins[i].at && code) {
			pins[i] = (struct pin){ at, size, own };
			code = WFS_CU_OK;
		}
	}
	if (!code)
		__atomic_fetch_add(&fake_control()->pins, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&pin_lock);
	return code;
}

bool fake_is_pinned(const void *ptr, size_t size)
{
	const char *at = ptr;
	bool yes = false;

	pthread_mutex_lock(&pin_lock);
	for (int i = 0; i < PINS && !yes; i++)
		yes = pins[i].at && at >= pins[i].at &&
		      at + size <= pins[i].at + pins[i].size;
	pthread_mutex_unlock(&pin_lock);
	return yes;
}

cu_error cudaHostAlloc(void **ptr, size_t size, unsigned flags)
{
	void *at;
	unsigned code;

	(void)flags;
	FAKE_ENTER();
	if (posix_memalign(&at, 4096, size) != 0)
		return WFS_CU_NO_MEMORY;
	code = pin(at, size, true);
	if (code)
		free(at);
	else
		*ptr = at;
	return code;
}

/* As the driver would find out: may these pages be written? */
static bool is_writable(const void *ptr)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	bool writable = false;
	char line[512];

	while (maps && fgets(line, sizeof(line), maps)) {
		char *at;
		uintptr_t start = strtoul(line, &at, 16);
		uintptr_t end = strtoul(at + 1, &at, 16);

		if ((uintptr_t)ptr >= start && (uintptr_t)ptr < end)
			writable = at[2] == 'w';
	}
	if (maps)
		fclose(maps);
	return writable;
}

cu_error cudaHostRegister(void *ptr, size_t size, unsigned flags)
{
	FAKE_ENTER();
	if (flags & WFS_CU_REGISTER_READ_ONLY && fake_control()->no_register)
		return WFS_CU_NOT_SUPPORTED;
	if (!(flags & WFS_CU_REGISTER_READ_ONLY) && !is_writable(ptr))
		return WFS_CU_INVALID_VALUE;
	/* Pages that cannot be had, behind a file's end, cannot be pinned. */
	if (madvise((char *)ptr - (uintptr_t)ptr % 4096,
		    size + (uintptr_t)ptr % 4096, MADV_POPULATE_READ) != 0 &&
	    errno == EFAULT)
		return WFS_CU_INVALID_VALUE;
	__atomic_fetch_add(&fake_control()->registers, 1, __ATOMIC_RELAXED);
	return pin(ptr, size, false);
}

static unsigned unpin(const void *at, bool own)
{
	unsigned code = WFS_CU_NOT_REGISTERED;

	pthread_mutex_lock(&pin_lock);
	for (int i = 0; i < PINS; i++) {
		if (pins[i].at == at && pins[i].own == own) {
			pins[i].at = NULL;
			code = WFS_CU_OK;
		}
	}
	pthread_mutex_unlock(&pin_lock);
	if (!code)
		__atomic_fetch_sub(&fake_control()->pins, 1, __ATOMIC_RELAXED);
	return code;
}

cu_error cudaFreeHost(void *ptr)
{
	unsigned code = fake_enter(__func__);

	if (unpin(ptr, true))
		return WFS_CU_INVALID_VALUE;
	free(ptr);
	return code;
}

cu_error cudaHostUnregister(void *ptr)
{
	FAKE_ENTER();
	return unpin(ptr, false);
}

cu_error cudaPointerGetAttributes(cu_pointer *ret, const void *ptr)
{
	struct fake_alloc alloc;
	struct region region;

	FAKE_ENTER();
	*ret = (cu_pointer){ 0 };
	if (!fake_region_find((uint64_t)(uintptr_t)ptr, 1, &region) ||
	    !region.access || !fake_alloc_find(region.id, &alloc))
		return WFS_CU_OK;
	ret->type = WFS_CU_POINTER_DEVICE;
	ret->device = alloc.device;
	return WFS_CU_OK;
}
