/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor on what lies between a reader and the bytes: kernel, device,
 * privilege, passthrough.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "core/base/text.h"
#include "tools/doctor.h"
#include "tools/process.h"
#include "tools/version.h"

#define KERNEL_MAJOR 6
#define KERNEL_MINOR 9

static void check_kernel(struct wfs_findings *found)
{
	unsigned long major = 0, minor = 0;
	struct utsname name;
	char *end = NULL;

	if (uname(&name) == 0)
		major = strtoul(name.release, &end, 10);
	if (end && *end == '.')
		minor = strtoul(end + 1, NULL, 10);
	if (!major) {
		wfs_findings_add(found, "kernel", WFS_LEVEL_SLOW, NULL,
				 "its version cannot be told");
		return;
	}
	if (major > KERNEL_MAJOR ||
	    (major == KERNEL_MAJOR && minor >= KERNEL_MINOR))
		wfs_findings_add(found, "kernel", WFS_LEVEL_OK, NULL, "%s",
				 name.release);
	else
		wfs_findings_add(found, "kernel", WFS_LEVEL_SLOW,
				 "run 6.9 or later",
				 "%s has no FUSE passthrough", name.release);
}

static void check_device(struct wfs_findings *found)
{
	int fd wfs_autoclose = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	const char *remedy =
		"modprobe fuse; in a container: --device /dev/fuse";

	if (fd >= 0) {
		wfs_findings_add(found, "/dev/fuse", WFS_LEVEL_OK, NULL,
				 "can be opened");
		return;
	}
	if (errno == EACCES || errno == EPERM)
		remedy = "run as root, or allow the device (chmod 666, or the "
			 "container's device rules)";
	wfs_findings_add(found, "/dev/fuse", WFS_LEVEL_BROKEN, remedy,
			 "cannot be opened: %s", strerror(errno));
}

static void check_privilege(struct wfs_findings *found)
{
	if (wfs_process_is_admin())
		wfs_findings_add(found, "privilege", WFS_LEVEL_OK, NULL,
				 "CAP_SYS_ADMIN");
	else
		wfs_findings_add(found, "privilege", WFS_LEVEL_SLOW,
				 "run as root, or with CAP_SYS_ADMIN",
				 "no CAP_SYS_ADMIN: no passthrough, no arena");
}

static void check_passthrough(struct wfs_findings *found)
{
	int rc;

	if (!wfs_process_is_admin()) {
		wfs_findings_add(found, "passthrough", WFS_LEVEL_SLOW,
				 "run as root, or with CAP_SYS_ADMIN",
				 "not for us: files are served by reads");
		return;
	}
	rc = wfs_doctor_try_passthrough();
	if (rc == 0)
		wfs_findings_add(found, "passthrough", WFS_LEVEL_OK, NULL,
				 "tried, and it works");
	else if (rc == -EOPNOTSUPP)
		wfs_findings_add(found, "passthrough", WFS_LEVEL_SLOW,
				 "run a kernel 6.9 or later, built with "
				 "CONFIG_FUSE_PASSTHROUGH",
				 "the kernel has none");
	else
		wfs_findings_add(found, "passthrough", WFS_LEVEL_SLOW,
				 "run as root outside a container's user "
				 "namespace",
				 "tried in vain: %s", strerror(-rc));
}

void wfs_doctor_fuse(struct wfs_findings *found)
{
	check_kernel(found);
	check_device(found);
	check_privilege(found);
	check_passthrough(found);
	wfs_findings_add(found, "libfuse", WFS_LEVEL_OK, NULL, "%s, linked in",
			 wfs_version_fuse());
}
