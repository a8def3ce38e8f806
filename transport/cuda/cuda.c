/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See cuda.h.
 */
#include "transport/cuda/cuda.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/base/log.h"

#define DRIVER_CALLS_OF 12000 /* the version whose form the driver's have */

static const char *const names[] = { "libcudart.so.13", "libcudart.so.12",
				     "libcudart.so.11.0", "libcudart.so" };

static struct wfs_cuda table;
static struct wfs_err failure;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *open_first(int flags)
{
	void *library = NULL;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !library;
	     i++) {
		library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | flags);
		table.library = names[i];
	}
	return library;
}

/* Rather the one that this process has already, as a program's with PyTorch. */
static void *open_library(void)
{
	void *library = open_first(RTLD_NOLOAD);

	if (!library)
		library = open_first(0);
	if (!library)
		wfs_err_set(&failure, -ENXIO, "no CUDA: '%s' is not installed",
			    names[0]);
	return library;
}

static void *find(void *library, const char *name)
{
	void *found = dlsym(library, name);

	if (!found && !failure.code)
		wfs_err_set(&failure, -ENXIO,
			    "no CUDA: '%s' has no '%s'; install CUDA 11.3 or "
			    "later",
			    table.library, name);
	return found;
}

/* One of the driver's; NULL when it is too old or not there. */
static void *find_driver(const char *name)
{
	void *found = NULL;
	cu_query result;

	if (!table.cudaGetDriverEntryPointByVersion)
		return NULL;
	if (table.cudaGetDriverEntryPointByVersion(
		    name, &found, DRIVER_CALLS_OF, 0, &result) != WFS_CU_OK) {
		table.cudaGetLastError();
		return NULL;
	}
	return result == 0 ? found : NULL;
}

static void load(void)
{
	void *library = open_library();

	if (!library)
		return;
#define FIND(name, params) *(void **)&table.name = find(library, #name);
	WFS_CUDART_CALLS(FIND)
	FIND(cudaGetErrorString, )
#undef FIND
	*(void **)&table.cudaGetDriverEntryPointByVersion =
		dlsym(library, "cudaGetDriverEntryPointByVersion");
	if (failure.code)
		return;
	table.vmm = true;
#define FIND(name, params)                                                     \
	*(void **)&table.name = find_driver(#name);                            \
	table.vmm &= table.name != NULL;
	WFS_CUDRIVER_CALLS(FIND)
#undef FIND
#define FIND(name, params) *(void **)&table.name = find_driver(#name);
	WFS_CUDRIVER_RANGE(FIND)
#undef FIND
}

int wfs_cuda_load(const struct wfs_cuda **ret_cuda, struct wfs_err *err)
{
	pthread_once(&once, load);
	if (failure.code)
		return wfs_err_set(err, failure.code, "%s", failure.text);
	*ret_cuda = &table;
	return 0;
}

int wfs_cuda_count(const struct wfs_cuda *cuda, int *ret_count,
		   struct wfs_err *err)
{
	int count = 0;
	cu_error code = cuda->cudaGetDeviceCount(&count);

	if (code != WFS_CU_OK)
		cuda->cudaGetLastError();
	/* No driver at all and one without a GPU are the same to us. */
	if (code == WFS_CU_NO_DEVICE || code == WFS_CU_INSUFFICIENT_DRIVER ||
	    (code == WFS_CU_OK && count < 1))
		return wfs_err_set(err, -ENXIO, "'%s' finds no device",
				   cuda->library);
	if (code != WFS_CU_OK)
		return wfs_err_set(err, -ENXIO,
				   "'%s' cannot use the devices: error %u, %s",
				   cuda->library, code,
				   cuda->cudaGetErrorString(code));
	*ret_count = count;
	return 0;
}

unsigned wfs_cuda_said(const struct wfs_cuda *cuda, const char *call,
		       unsigned code)
{
	static atomic_uint stuck;

	if (code == WFS_CU_OK)
		return code;
	/* One that sticks is said once: all that is called after it has it. */
	if (!wfs_cuda_sticks(code) || atomic_exchange(&stuck, code) != code)
		wfs_warn("%s: error %u, %s", call, code,
			 cuda->cudaGetErrorString(code));
	cuda->cudaGetLastError();
	return code;
}

bool wfs_cuda_sticks(unsigned code)
{
	switch (code) {
	case WFS_CU_ECC:
	case WFS_CU_NOT_INITIALIZED:
		return true;
	case WFS_CU_TOO_MANY_PEERS:
	case WFS_CU_ALREADY_REGISTERED:
	case WFS_CU_NOT_REGISTERED:
		return false;
	default:
		/* Faults of a kernel or a copy, which poison the context. */
		return code >= WFS_CU_ILLEGAL_ADDRESS &&
		       code <= WFS_CU_LAUNCH_FAILURE;
	}
}

/* What a handle of the reader's came to. */
static int map_errno(unsigned code)
{
	switch (code) {
	case WFS_CU_INVALID_VALUE:
	case WFS_CU_INVALID_HANDLE:
	case WFS_CU_OS_ERROR:
		return -EPERM;
	case WFS_CU_CONTEXT_UNINITIALIZED:
		return -EXDEV; /* what an exporter gets for its own handle */
	case WFS_CU_ALREADY_MAPPED:
		return -EBUSY;
	default:
		return -EFAULT;
	}
}

int wfs_cuda_errno(unsigned code, enum wfs_device_stage stage)
{
	if (code == WFS_CU_OK)
		return 0;
	if (wfs_cuda_sticks(code))
		return -EIO;
	switch (code) {
	case WFS_CU_NO_MEMORY:
		return -ENOMEM;
	case WFS_CU_INSUFFICIENT_DRIVER:
	case WFS_CU_NO_DEVICE:
	case WFS_CU_SYSTEM_NOT_READY:
	case WFS_CU_DRIVER_MISMATCH:
	case WFS_CU_COMPAT_UNSUPPORTED:
		return -ENXIO;
	case WFS_CU_INVALID_DEVICE:
		return -ENODEV;
	case WFS_CU_PEER_UNSUPPORTED:
	case WFS_CU_TOO_MANY_PEERS:
	case WFS_CU_NOT_SUPPORTED:
		return -EOPNOTSUPP;
	case WFS_CU_NOT_PERMITTED:
		return -EPERM;
	default:
		return stage == WFS_DEVICE_STAGE_MAP ? map_errno(code) : -EIO;
	}
}
