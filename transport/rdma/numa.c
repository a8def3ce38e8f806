/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See numa.h.
 */
#include "transport/rdma/numa.h"

#include <errno.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "core/base/mem.h"

#define DEVICES	  "/sys/class/infiniband"
#define WORD_BITS (CHAR_BIT * sizeof(unsigned long))
#define NODES	  1024

struct nodes {
	unsigned long words[NODES / WORD_BITS];
};

int wfs_numa_of_device(const char *device)
{
	char *path wfs_autofree =
		wfs_asprintf(DEVICES "/%s/device/numa_node", device);
	char *text wfs_autofree = NULL;
	size_t len;

	/* Of a device made of software there is no such file. */
	if (wfs_file_slurp(path, 64, &text, &len))
		return -1;
	return (int)strtol(text, NULL, 10);
}

static bool has(const struct nodes *nodes, int node)
{
	size_t at = (size_t)node;

	return nodes->words[at / WORD_BITS] >> at % WORD_BITS & 1;
}

static bool any(const struct nodes *nodes)
{
	for (size_t i = 0; i < NODES / WORD_BITS; i++)
		if (nodes->words[i])
			return true;
	return false;
}

/* False where the kernel does not say: it knows one node then, or none. */
static bool ask(struct nodes *ret, int *ret_mode, unsigned long flags)
{
	*ret = (struct nodes){ 0 };
	return !syscall(SYS_get_mempolicy, ret_mode, ret->words, NODES, NULL,
			flags);
}

bool wfs_numa_is_ours(int node)
{
	struct nodes nodes;
	int mode;

	if (node < 0 || node >= NODES)
		return true;
	/* What was bound or preferred; without that what is allowed. */
	if (!ask(&nodes, &mode, 0) || mode == MPOL_INTERLEAVE || !any(&nodes))
		if (!ask(&nodes, NULL, MPOL_F_MEMS_ALLOWED))
			return true;
	return has(&nodes, node);
}
