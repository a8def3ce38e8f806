/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See ids.h.
 */
#include "core/base/ids.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "core/base/hex.h"
#include "core/base/text.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char node_id[WFS_NODE_ID_BYTES];

void wfs_boot_id_read(char ret_text[WFS_BOOT_ID_BYTES])
{
	char *read wfs_autofree = NULL;
	size_t len;

	*ret_text = '\0';
	if (wfs_file_slurp("/proc/sys/kernel/random/boot_id",
			   WFS_BOOT_ID_BYTES - 1, &read, &len) == 0)
		snprintf(ret_text, WFS_BOOT_ID_BYTES, "%.*s",
			 (int)strcspn(read, "\n"), read);
}

static void make_node_id(void)
{
	char bytes[WFS_NODE_ID_BYTES / 2];

	if (getrandom(bytes, sizeof(bytes), 0) == sizeof(bytes))
		wfs_hex_format(bytes, sizeof(bytes), node_id);
}

void wfs_node_id_renew(void)
{
	if (*node_id)
		make_node_id();
}

const char *wfs_node_id(void)
{
	pthread_once(&once, make_node_id);
	return node_id;
}
