/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor on RDMA: nobody needs it, so what is missing is no fault; what is
 * there and does not work makes seeds slower than they could be.
 */
#include <errno.h>

#include "core/base/text.h"
#include "tools/doctor.h"
#include "transport/rdma/rdma.h"

#define LOCKABLE_LEAST (64ull << 20)

static void check_port(struct wfs_findings *found,
		       const struct wfs_rdma_port *port)
{
	if (port->active)
		wfs_findings_add(found, "rdma", WFS_LEVEL_OK, NULL,
				 "'%s' at %s, %u reads under way at once",
				 port->device, port->address, port->reads);
	else
		wfs_findings_add(found, "rdma", WFS_LEVEL_SLOW,
				 "look at its cable, and at its network "
				 "interface",
				 "'%s' at %s: the port is %s", port->device,
				 port->address, port->state);
}

void wfs_doctor_rdma(struct wfs_findings *found)
{
	struct wfs_rdma_port *ports wfs_autofree = NULL;
	struct wfs_err err = { 0 };
	size_t n = 0;
	int rc = wfs_rdma_ports(&ports, &n, &err);
	char size[32];

	if (rc)
		wfs_findings_add(found, "rdma",
				 rc == -ENODEV ? WFS_LEVEL_OK : WFS_LEVEL_SLOW,
				 NULL, "%s: seeds are read over TCP", err.text);
	for (size_t i = 0; i < n; i++)
		check_port(found, &ports[i]);
	if (n && wfs_rdma_lockable() < LOCKABLE_LEAST)
		wfs_findings_add(
			found, "locked memory", WFS_LEVEL_SLOW,
			"ulimit -l unlimited, or LimitMEMLOCK=infinity "
			"of a service",
			"%s: too little to register for RDMA",
			wfs_size_format(wfs_rdma_lockable(), size,
					sizeof(size)));
}
