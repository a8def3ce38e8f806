/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits, priorities and privileges of this process.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "tools/process.h"

#define FILES_WANTED  1048576ull
#define OOM_SCORE     "-900"
#define MALLOC_ARENAS 2 /* each takes 64 MiB of addresses and keeps some */

static bool has_capability(unsigned cap)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	memset(data, 0, sizeof(data));
	if (syscall(SYS_capget, &header, data))
		return false;
	return data[CAP_TO_INDEX(cap)].effective & CAP_TO_MASK(cap);
}

uint64_t wfs_process_max_files(void)
{
	char *text wfs_autofree = NULL;
	struct rlimit limit;
	uint64_t max = FILES_WANTED, all;
	size_t len;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 0;
	if (!has_capability(CAP_SYS_RESOURCE))
		return limit.rlim_max;
	if (wfs_file_slurp("/proc/sys/fs/nr_open", 64, &text, &len) == 0) {
		all = strtoull(text, NULL, 10);
		if (all && all < max)
			max = all;
	}
	return limit.rlim_max > max ? limit.rlim_max : max;
}

static void raise_files(void)
{
	struct rlimit limit;
	uint64_t max = wfs_process_max_files();

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	if (max > limit.rlim_max) {
		struct rlimit more = { .rlim_cur = max, .rlim_max = max };

		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return;
	}
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		wfs_warn("cannot raise the limit of open files: %m");
}

static void lower_oom_score(void)
{
	int fd wfs_autoclose =
		open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, OOM_SCORE, strlen(OOM_SCORE)) < 0)
		wfs_debug("cannot lower the out-of-memory score: %m");
}

void wfs_process_setup(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	sigaction(SIGPIPE, &ignore, NULL);
	/* Comes when somebody breaks a lease that a check of use holds. */
	sigaction(SIGIO, &ignore, NULL);
	mallopt(M_ARENA_MAX, MALLOC_ARENAS);
	raise_files();
	lower_oom_score();
}

/* Root of a user namespace has capabilities that count only in there. */
static bool in_user_namespace(void)
{
	unsigned long inside, outside, count;
	char *map wfs_autofree = NULL;
	char *rest;
	size_t len;

	if (wfs_file_slurp("/proc/self/uid_map", 4096, &map, &len))
		return false;
	inside = strtoul(map, &rest, 10);
	outside = strtoul(rest, &rest, 10);
	count = strtoul(rest, &rest, 10);
	return inside || outside || count != UINT32_MAX;
}

bool wfs_process_is_admin(void)
{
	return has_capability(CAP_SYS_ADMIN) && !in_user_namespace();
}
