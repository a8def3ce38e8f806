/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake's devices, its errors, and what befalls its calls.
 */
#include "tests/fake_cudart/inner.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct fake_control *shared;
static unsigned sticky, last;
static _Thread_local int current;

static void attach(void)
{
	if (fake_dir())
		shared = fake_cu_control_open(fake_dir());
}

const char *fake_dir(void)
{
	return getenv("FAKE_CUDART");
}

struct fake_control *fake_control(void)
{
	pthread_once(&once, attach);
	return shared;
}

void fake_misuse(const char *what)
{
	fprintf(stderr, "FAKE CUDA is misused: %s\n", what);
	abort();
}

/* Takes the fault that befalls this call, if one does. */
static bool befalls(const char *call, struct fake_fault *ret)
{
	struct fake_fault *fault = &shared->fault;
	bool hit = false;

	fake_cu_lock(shared);
	if (fault->times && strcmp(fault->call, call) == 0) {
		hit = !fault->skip;
		if (hit) {
			*ret = *fault;
			fault->times--;
		} else {
			fault->skip--;
		}
	}
	fake_cu_unlock(shared);
	return hit;
}

unsigned fake_enter(const char *call)
{
	struct fake_fault fault;

	if (!fake_control())
		return last = WFS_CU_NO_DEVICE;
	if (sticky)
		return last = sticky;
	if (!befalls(call, &fault))
		return WFS_CU_OK;
	switch (fault.action) {
	case FAKE_CRASHES:
		raise(SIGKILL);
		break;
	case FAKE_HANGS:
		for (;;)
			pause();
	case FAKE_STICKS:
		sticky = fault.code;
		break;
	case FAKE_FAILS:
		break;
	}
	return last = fault.code;
}

int fake_current_device(void)
{
	return current;
}

cu_error cudaGetLastError(void)
{
	unsigned code = last;

	last = sticky;
	return code;
}

const char *cudaGetErrorString(cu_error code)
{
	static _Thread_local char text[32];

	snprintf(text, sizeof(text), "FAKE error %u", code);
	return text;
}

bool fake_is_part(void)
{
	const char *list = getenv("CUDA_VISIBLE_DEVICES");

	return list && strncmp(list, "MIG-", 4) == 0;
}

/* The devices that CUDA_VISIBLE_DEVICES leaves, which is one UUID if any. */
static int visible(int *ret)
{
	const char *list = getenv("CUDA_VISIBLE_DEVICES");
	int n = 0;

	for (int i = 0; i < fake_control()->devices; i++) {
		char name[64], mig[64];

		snprintf(name, sizeof(name),
			 "GPU-46414b45-0000-0000-0000-00000000000%d", i);
		snprintf(mig, sizeof(mig), "MIG%s", name + 3);
		if (!list || strcmp(list, name) == 0 || strcmp(list, mig) == 0)
			ret[n++] = i;
	}
	return n;
}

/* The device behind an ordinal; -1. */
static int real_device(int ordinal)
{
	int devices[FAKE_DEVICES];
	int n = visible(devices);

	return ordinal >= 0 && ordinal < n ? devices[ordinal] : -1;
}

cu_error cudaGetDeviceCount(int *count)
{
	int devices[FAKE_DEVICES];

	FAKE_ENTER();
	*count = visible(devices);
	return *count ? WFS_CU_OK : WFS_CU_NO_DEVICE;
}

cu_error cudaSetDevice(int device)
{
	FAKE_ENTER();
	if (real_device(device) < 0)
		return last = WFS_CU_INVALID_DEVICE;
	current = real_device(device);
	return WFS_CU_OK;
}

cu_error cudaGetDevice(int *device)
{
	FAKE_ENTER();
	for (int i = 0; real_device(i) >= 0; i++)
		if (real_device(i) == current)
			*device = i;
	return WFS_CU_OK;
}

cu_error cudaDeviceGetPCIBusId(char *id, int len, int device)
{
	FAKE_ENTER();
	if (real_device(device) < 0)
		return last = WFS_CU_INVALID_DEVICE;
	snprintf(id, (size_t)len, "0000:F%d:00.0", real_device(device));
	return WFS_CU_OK;
}

cu_error cudaDeviceGetByPCIBusId(int *device, const char *id)
{
	char own[32];

	FAKE_ENTER();
	for (int i = 0; real_device(i) >= 0; i++) {
		snprintf(own, sizeof(own), "0000:F%d:00.0", real_device(i));
		if (strcasecmp(own, id) == 0) {
			*device = i;
			return WFS_CU_OK;
		}
	}
	return last = WFS_CU_INVALID_DEVICE;
}

cu_error cudaDeviceGetAttribute(int *value, cu_attr attr, int device)
{
	FAKE_ENTER();
	if (real_device(device) < 0)
		return last = WFS_CU_INVALID_DEVICE;
	switch (attr) {
	case WFS_CU_ATTR_MAX_PITCH:
		*value = FAKE_MAX_PITCH;
		break;
	case WFS_CU_ATTR_REGISTER_READ_ONLY:
		*value = !fake_control()->no_register;
		break;
	case WFS_CU_ATTR_RDMA_ORDERING:
		*value = fake_control()->rdma_ordering;
		break;
	case WFS_CU_ATTR_RDMA_FLUSHES:
		*value = fake_control()->rdma_flushes;
		break;
	default:
		fake_misuse("an attribute that the fake does not know");
	}
	return WFS_CU_OK;
}

cu_result cuDeviceGetAttribute(int *value, cu_about about, cu_device device)
{
	FAKE_ENTER();
	if (real_device(device) < 0 || about != WFS_CU_ABOUT_DMA_BUF)
		return WFS_CU_INVALID_VALUE;
	*value = fake_control()->dma_bufs;
	return WFS_CU_OK;
}

cu_error cudaDeviceFlushGPUDirectRDMAWrites(cu_target target, cu_scope scope)
{
	FAKE_ENTER();
	if (target != WFS_CU_FLUSH_DEVICE || scope != WFS_CU_FLUSH_TO_OWNER ||
	    !fake_control()->rdma_flushes)
		return WFS_CU_NOT_SUPPORTED;
	__atomic_fetch_add(&fake_control()->flushed, 1, __ATOMIC_RELAXED);
	return WFS_CU_OK;
}

cu_error cudaRuntimeGetVersion(int *version)
{
	*version = 13000;
	return WFS_CU_OK;
}

cu_error cudaDriverGetVersion(int *version)
{
	*version = fake_control() ? 13000 : 0;
	return WFS_CU_OK;
}

cu_result cuDeviceGetName(char *name, int len, cu_device device)
{
	snprintf(name, (size_t)len, "FAKE GPU %d", real_device(device));
	return WFS_CU_OK;
}

cu_error cudaGetDriverEntryPointByVersion(const char *name, void **ret,
					  unsigned version,
					  unsigned long long flags,
					  cu_query *result)
{
	(void)version;
	(void)flags;
	FAKE_ENTER();
	*ret = NULL;
	if (fake_control()->no_vmm) {
		*result = 1; /* not found */
		return WFS_CU_OK;
	}
#define FIND(call, params)                                                     \
	if (strcmp(name, #call) == 0)                                          \
		*(__typeof__(&(call)) *)ret = call;
	WFS_CUDRIVER_CALLS(FIND)
	WFS_CUDRIVER_RANGE(FIND)
#undef FIND
	*result = *ret ? 0 : 1;
	return WFS_CU_OK;
}
