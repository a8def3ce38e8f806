/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words for trust classes.
 */
#include <errno.h>
#include <string.h>

#include "core/digest/trust.h"

static const char *const names[] = {
	[WFS_TRUST_NONE] = "none",
	[WFS_TRUST_SEED] = "seed",
	[WFS_TRUST_ORIGIN] = "origin",
	[WFS_TRUST_SIGNED] = "signed",
};

const char *wfs_trust_name(enum wfs_trust trust)
{
	return names[trust];
}

int wfs_trust_parse(const char *text, enum wfs_trust *ret_trust)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(text, names[i])) {
			*ret_trust = (enum wfs_trust)i;
			return 0;
		}
	return -EINVAL;
}
