/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads the libraries.  Nothing else is here, so that the unit tests' FAKE
 * devices take this file's place.
 */
#include "transport/rdma/verbs.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

#include "transport/rdma/numa.h"

static struct wfs_verbs table;
static struct wfs_err failure;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Told first, whatever is installed; a driver may come at any time. */
static bool kernel_has_devices(void)
{
	DIR *dir = opendir("/sys/class/infiniband");
	struct dirent *entry;
	bool any = false;

	while (dir && !any && (entry = readdir(dir)))
		any = entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return any;
}

static void *open_library(const char *name)
{
	void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);

	if (!library && !failure.code)
		wfs_err_set(&failure, -ENOENT,
			    "no RDMA: '%s' cannot be loaded: %s; install "
			    "rdma-core with libibverbs and librdmacm",
			    name, dlerror());
	return library;
}

static void *find(void *library, const char *name)
{
	void *found = library ? dlsym(library, name) : NULL;

	if (!found && !failure.code)
		wfs_err_set(&failure, -ENOSYS,
			    "no RDMA: the libraries have no '%s'; install a "
			    "newer rdma-core",
			    name);
	return found;
}

static void load(void)
{
	void *verbs = open_library("libibverbs.so.1");
	void *cm = open_library("librdmacm.so.1");

#define FIND_VERBS(name) *(void **)&table.name = find(verbs, #name);
#define FIND_CM(name)	 *(void **)&table.name = find(cm, #name);
#define FIND_NEW(name)	 *(void **)&table.name = verbs ? dlsym(verbs, #name) : 0;
	WFS_IBVERBS_CALLS(FIND_VERBS)
	WFS_IBVERBS_NEW_CALLS(FIND_NEW)
	WFS_RDMACM_CALLS(FIND_CM)
	table.node_of = wfs_numa_of_device;
	table.is_near = wfs_numa_is_ours;
}

const struct wfs_verbs *wfs_verbs_load(struct wfs_err *err)
{
	if (!kernel_has_devices()) {
		wfs_err_set(err, -ENODEV, "no RDMA device");
		return NULL;
	}
	pthread_once(&once, load);
	if (!failure.code)
		return &table;
	wfs_err_set(err, failure.code, "%s", failure.text);
	return NULL;
}
