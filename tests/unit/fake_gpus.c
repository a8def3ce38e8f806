/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fake_gpus.h.
 */
#include "tests/unit/t.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/fake_gpus.h"

#define ENTERED "FAKE_CUDART_ENTERED"

static struct fake_control *control;

void fake_gpus_enter(char **argv)
{
	char *library wfs_autofree = NULL;
	char dir[] = "/dev/shm/weightfs-fake-XXXXXX";
	char self[4096];
	ssize_t n;

	if (getenv(ENTERED)) {
		control = fake_cu_control_open(getenv("FAKE_CUDART"));
		return;
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n < 0 ? 0 : n] = '\0';
	*strrchr(self, '/') = '\0';
	library = wfs_asprintf("%s/../fake_cudart", self);
	if (!mkdtemp(dir) || chmod(dir, 0777) != 0) {
		perror(dir);
		exit(1);
	}
	setenv("LD_LIBRARY_PATH", library, 1);
	setenv("FAKE_CUDART", dir, 1);
	setenv(ENTERED, "1", 1);
	execv("/proc/self/exe", argv);
	perror("/proc/self/exe");
	exit(1);
}

int fake_gpus_leave(void **state)
{
	const char *dir = getenv("FAKE_CUDART");
	DIR *all = opendir(dir ? dir : "");
	struct dirent *entry;

	(void)state;
	while (all && (entry = readdir(all)))
		unlinkat(dirfd(all), entry->d_name, 0);
	if (all)
		closedir(all);
	return dir ? rmdir(dir) : -1;
}

struct fake_control *fake_gpus_control(void)
{
	return control;
}
