/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor on RDMA: nobody needs it, so what is missing is no fault; what is
 * there and does not work makes seeds slower than they could be.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/doctor.h"
#include "transport/rdma/rdma.h"

#define LOCKABLE_LEAST (64ull << 20)
#define MTU_FULL       4096u

static void check_port(struct wfs_findings *found,
		       const struct wfs_rdma_port *port)
{
	if (!port->active)
		wfs_findings_add(found, "rdma", WFS_LEVEL_SLOW,
				 "look at its cable, and at its network "
				 "interface",
				 "'%s' at %s: the port is %s", port->device,
				 port->address, port->state);
	else if (port->no_gid)
		wfs_findings_add(found, "rdma", WFS_LEVEL_SLOW,
				 "give the address to the interface of the "
				 "device itself, not to a bridge or a bond",
				 "'%s' at %s: none of the port's GIDs is of "
				 "that address",
				 port->device, port->address);
	else if (port->mtu && port->mtu < MTU_FULL)
		wfs_findings_add(found, "rdma", WFS_LEVEL_SLOW,
				 "give its network interface an MTU of 4200 "
				 "or more, at both ends",
				 "'%s' at %s: packets of %u bytes, where %u "
				 "are faster",
				 port->device, port->address, port->mtu,
				 MTU_FULL);
	else
		wfs_findings_add(found, "rdma", WFS_LEVEL_OK, NULL,
				 "'%s' at %s, %u reads under way at once, "
				 "registers %smemory of GPUs%s%s",
				 port->device, port->address, port->reads,
				 port->gpu_error ? "no " : "",
				 port->gpu_error ? ": " : "",
				 port->gpu_error ? strerror(port->gpu_error) :
						   "");
}

/* What one connection gives; what keeps it from giving anything. */
static void try_reads(struct wfs_findings *found)
{
	struct wfs_err err = { 0 };
	double rate;
	char size[32];

	if (wfs_doctor_loop(&rate, &err))
		wfs_findings_add(found, "rdma reads", WFS_LEVEL_SLOW, NULL,
				 "tried in vain: %s", err.text);
	else
		wfs_findings_add(found, "rdma reads", WFS_LEVEL_OK, NULL,
				 "%s/s, from this machine to itself over one "
				 "connection",
				 wfs_size_format((uint64_t)rate, size,
						 sizeof(size)));
}

void wfs_doctor_rdma(struct wfs_findings *found)
{
	struct wfs_rdma_port *ports wfs_autofree = NULL;
	struct wfs_err err = { 0 };
	bool active = false;
	size_t n = 0;
	int rc = wfs_rdma_ports(&ports, &n, &err);
	char size[32];

	if (rc)
		wfs_findings_add(found, "rdma",
				 rc == -ENODEV ? WFS_LEVEL_OK : WFS_LEVEL_SLOW,
				 NULL, "%s: seeds are read over TCP", err.text);
	for (size_t i = 0; i < n; i++) {
		check_port(found, &ports[i]);
		active |= ports[i].active;
	}
	if (n && wfs_rdma_lockable() < LOCKABLE_LEAST)
		wfs_findings_add(
			found, "locked memory", WFS_LEVEL_SLOW,
			"ulimit -l unlimited, or LimitMEMLOCK=infinity "
			"of a service",
			"%s: too little to register for RDMA",
			wfs_size_format(wfs_rdma_lockable(), size,
					sizeof(size)));
	if (active)
		try_reads(found);
}
