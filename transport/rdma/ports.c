/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ports of this machine, for people.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "core/base/mem.h"
#include "core/base/text.h"
#include "transport/rdma/rdma.h"
#include "transport/rdma/rings.h"
#include "transport/rdma/verbs.h"

#define DEVICES	  "/sys/class/infiniband"
#define GIDS_MAX  256
#define PAGE	  4096u
#define MTU_LEAST 128u /* enum ibv_mtu counts its doublings */

/* "4: ACTIVE" */
static void read_state(struct wfs_rdma_port *port, unsigned number)
{
	char *path wfs_autofree = wfs_asprintf(DEVICES "/%s/ports/%u/state",
					       port->device, number);
	char *text wfs_autofree = NULL;
	const char *word;
	size_t len;

	if (wfs_file_slurp(path, 256, &text, &len))
		return;
	text[strcspn(text, "\n")] = '\0';
	word = strchr(text, ' ');
	snprintf(port->state, sizeof(port->state), "%s",
		 word ? word + 1 : text);
	port->active = !strcmp(port->state, "ACTIVE");
}

/* "0000:…:ffff:0a4d:0001": a GID of RoCE is written as an IPv6 address. */
static bool has_gid(const struct wfs_rdma_port *port, unsigned number)
{
	struct in6_addr want = { .s6_addr = { [10] = 0xff, [11] = 0xff } };
	struct in6_addr gid;

	if (inet_pton(AF_INET, port->address, &want.s6_addr[12]) != 1 &&
	    inet_pton(AF_INET6, port->address, &want) != 1)
		return true;
	for (unsigned i = 0; i < GIDS_MAX; i++) {
		char *path wfs_autofree = wfs_asprintf(DEVICES
						       "/%s/ports/%u/gids/%u",
						       port->device, number, i);
		char *text wfs_autofree = NULL;
		size_t len;

		if (wfs_file_slurp(path, 256, &text, &len))
			continue;
		text[strcspn(text, "\n")] = '\0';
		if (inet_pton(AF_INET6, text, &gid) == 1 &&
		    !memcmp(&gid, &want, sizeof(gid)))
			return true;
	}
	return false;
}

/* Packets, and where they go. */
static void read_link(const struct wfs_verbs *verbs,
		      const struct wfs_rail *rail, struct wfs_rdma_port *port)
{
	struct ibv_port_attr attr = { 0 };

	if (verbs->ibv_query_port(rail->id->verbs, rail->port,
				  (struct _compat_ibv_port_attr *)&attr))
		return;
	port->mtu = MTU_LEAST << attr.active_mtu;
	port->no_gid = attr.link_layer == IBV_LINK_LAYER_ETHERNET &&
		       !has_gid(port, rail->port);
}

/*
 * Asked for a dma-buf that is none: whoever registers them says that it is
 * none, and not that he registers none.
 */
static int gpu_error(const struct wfs_verbs *verbs, struct ibv_context *context)
{
	struct ibv_pd *pd;
	int error;

	if (!verbs->ibv_reg_dmabuf_mr)
		return ENOSYS;
	pd = verbs->ibv_alloc_pd(context);
	if (!pd)
		return errno;
	verbs->ibv_reg_dmabuf_mr(pd, 0, PAGE, 0, -1, IBV_ACCESS_LOCAL_WRITE);
	error = errno;
	verbs->ibv_dealloc_pd(pd);
	return wfs_rings_is_final(error) ? error : 0;
}

static void describe(const struct wfs_verbs *verbs, const struct wfs_rail *rail,
		     struct wfs_rdma_port *port)
{
	struct ibv_device_attr attr = { 0 };

	memcpy(port->device, rail->device, sizeof(port->device));
	memcpy(port->address, rail->address, sizeof(port->address));
	read_state(port, rail->port);
	read_link(verbs, rail, port);
	if (verbs->ibv_query_device(rail->id->verbs, &attr))
		return;
	port->reads = (unsigned)attr.max_qp_rd_atom;
	port->region_max = attr.max_mr_size;
	port->gpu_error = gpu_error(verbs, rail->id->verbs);
}

int wfs_rdma_ports(struct wfs_rdma_port **ret_ports, size_t *ret_count,
		   struct wfs_err *err)
{
	struct wfs_rail rails[WFS_RAILS_MAX];
	struct rdma_event_channel *channel;
	const struct wfs_verbs *verbs;
	struct wfs_rdma_port *ports;
	size_t n;

	verbs = wfs_verbs_load(err);
	if (!verbs)
		return err ? err->code : -ENOENT;
	channel = wfs_verbs_channel(verbs);
	if (!channel)
		return wfs_err_set(err, -ENODEV,
				   "RDMA connections cannot be made: %s; "
				   "modprobe rdma_ucm, and look at who may "
				   "open /dev/infiniband",
				   strerror(errno));
	n = wfs_rails_bind(verbs, channel, rails);
	ports = wfs_calloc(n + 1, sizeof(*ports));
	for (size_t i = 0; i < n; i++) {
		describe(verbs, &rails[i], &ports[i]);
		verbs->rdma_destroy_id(rails[i].id);
	}
	verbs->rdma_destroy_event_channel(channel);
	if (!n) {
		free(ports);
		return wfs_err_set(err, -ENODEV,
				   "no RDMA device has an IP address; give its "
				   "network interface one");
	}
	*ret_ports = ports;
	*ret_count = n;
	return 0;
}

uint64_t wfs_rdma_lockable(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) ||
	    limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur;
}
