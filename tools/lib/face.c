/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all of libweightfs shares.
 *
 * A library speaks when it is asked: its log is quiet but for warnings, since
 * it writes to the standard error of a program that is not ours.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "tools/lib/face.h"
#include "tools/lib/include/weightfs/base.h"

static _Thread_local struct wfs_err last;

__attribute__((constructor)) static void be_quiet(void)
{
	wfs_log_setup(WFS_LOG_STDERR, WFS_LOG_WARN);
}

struct wfs_err *wfs_face_err(void)
{
	last.code = 0;
	last.text[0] = '\0';
	return &last;
}

int wfs_face_take(const void *given, const char *what, void *ret,
		  size_t ret_size, struct wfs_err *err)
{
	size_t size = 0;

	if (given)
		memcpy(&size, given, sizeof(size));
	if (size < sizeof(size) || size > ret_size)
		return wfs_err_set(err, -EINVAL,
				   "%s of %zu bytes, this library knows %zu: "
				   "set size to that of the struct",
				   what, size, ret_size);
	memcpy(ret, given, size);
	return 0;
}

const char *weightfs_last_error(void)
{
	return last.text;
}

const char *weightfs_version(void)
{
	return WFS_VERSION;
}
