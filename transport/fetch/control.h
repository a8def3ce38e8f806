/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seed's control channel, for a way to its chunks that is not the channel's
 * own: whoever knows how to ask the seed lends this to whoever reads its
 * memory.
 */
#ifndef WFS_TRANSPORT_FETCH_CONTROL_H
#define WFS_TRANSPORT_FETCH_CONTROL_H

#include <stdatomic.h>
#include <stddef.h>

#include "core/base/err.h"

struct wfs_control {
	const char *label; /* of the seed, for messages */
	/*
	 * GETs `path`, authenticated as every request to that seed; from any
	 * thread, ends soon after *stop was set.  The text has room for what
	 * JSON wants behind it, and is freed by the caller.  A negative errno
	 * with a sentence.
	 */
	int (*get)(void *ctx, const char *path, const atomic_bool *stop,
		   char **ret_text, size_t *ret_len, struct wfs_err *err);
	void *ctx;
};

#endif
