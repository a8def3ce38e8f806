/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may read: a protection domain on each rail for each kind of client, and
 * memory registered in it.  A key opens memory of its domain alone, and a
 * domain goes, and with it every key, when nobody has a session in it.
 *
 * To register costs time and entries of a device's tables, no memory, so it is
 * done once for a domain, not for each session.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/text.h"
#include "transport/rdma/export_inner.h"

#define AGAIN_NS 1000000000ull /* until what was refused is asked for again */

static unsigned index_of(const struct wfs_exporter *exporter,
			 const struct export_domain *domain)
{
	return (unsigned)(domain - exporter->domains);
}

static void say_refused(struct export_domain *domain, const char *device,
			uint64_t bytes, int error)
{
	char size[32];

	if (domain->refused)
		return;
	domain->refused = true;
	wfs_warn("cannot register %s for RDMA on '%s': %s; what cannot is "
		 "served over TCP: ulimit -l unlimited, or "
		 "LimitMEMLOCK=infinity of a service",
		 wfs_size_format(bytes, size, sizeof(size)), device,
		 strerror(error));
}

static bool deregister_on(struct wfs_exporter *exporter,
			  struct export_region *region, unsigned domain,
			  unsigned rail)
{
	struct ibv_mr *mr = region->mrs[domain][rail];
	int error = mr ? exporter->verbs->ibv_dereg_mr(mr) : 0;

	region->mrs[domain][rail] = NULL;
	if (error)
		wfs_warn("'%s' does not let go of memory: %s",
			 exporter->rails[rail].base.device, strerror(error));
	return !error;
}

static bool deregister_in(struct wfs_exporter *exporter,
			  struct export_region *region, unsigned domain)
{
	bool gone = true;

	for (unsigned i = 0; i < exporter->rail_count; i++)
		gone &= deregister_on(exporter, region, domain, i);
	return gone;
}

/* Where there is a domain, and memory; once. */
static bool register_on(struct wfs_exporter *exporter,
			struct export_region *region, unsigned at,
			unsigned rail)
{
	struct export_domain *domain = &exporter->domains[at];

	if (!region->map || !domain->pds[rail] || region->mrs[at][rail])
		return true;
	region->mrs[at][rail] = exporter->verbs->ibv_reg_mr_iova(
		domain->pds[rail], region->map, region->map_len,
		region->address, IBV_ACCESS_REMOTE_READ);
	if (region->mrs[at][rail])
		return true;
	say_refused(domain, exporter->rails[rail].base.device, region->map_len,
		    errno);
	domain->again_at = wfs_now_ns() + AGAIN_NS;
	return false;
}

/* On all rails, or on none; what is registered already stays so. */
static void register_in(struct wfs_exporter *exporter,
			struct export_region *region, unsigned at)
{
	for (unsigned i = 0; i < exporter->rail_count; i++) {
		if (register_on(exporter, region, at, i))
			continue;
		deregister_in(exporter, region, at);
		return;
	}
}

void wfs_export_register(struct wfs_exporter *exporter,
			 struct export_region *region)
{
	for (unsigned i = 0; i < WFS_EXPORT_DOMAINS; i++)
		if (exporter->domains[i].who)
			register_in(exporter, region, i);
}

bool wfs_export_deregister(struct wfs_exporter *exporter,
			   struct export_region *region)
{
	bool gone = true;

	for (unsigned i = 0; i < WFS_EXPORT_DOMAINS; i++)
		gone &= deregister_in(exporter, region, i);
	return gone;
}

bool wfs_export_reaches(const struct wfs_exporter *exporter,
			const struct export_region *region, unsigned domain)
{
	for (size_t i = 0; i < exporter->rail_count; i++)
		if (exporter->rails[i].up && !region->mrs[domain][i])
			return false;
	return region->map;
}

static void end(struct wfs_exporter *exporter, struct export_domain *domain)
{
	struct export_cursor all = wfs_export_all(exporter);
	struct export_region *region;

	while ((region = wfs_export_next(&all)))
		deregister_in(exporter, region, index_of(exporter, domain));
	for (size_t i = 0; i < exporter->rail_count; i++)
		if (domain->pds[i])
			exporter->verbs->ibv_dealloc_pd(domain->pds[i]);
	free(domain->who);
	pthread_mutex_lock(&exporter->lock);
	*domain = (struct export_domain){ 0 };
	pthread_mutex_unlock(&exporter->lock);
}

static bool begin_on(struct wfs_exporter *exporter,
		     struct export_domain *domain, unsigned at)
{
	const struct wfs_rail *rail = &exporter->rails[at].base;

	if (!rail->id)
		return true;
	domain->pds[at] = exporter->verbs->ibv_alloc_pd(rail->id->verbs);
	if (!domain->pds[at])
		wfs_warn("'%s' has no protection domain for '%s': %s",
			 rail->device, domain->who, strerror(errno));
	return domain->pds[at];
}

static void register_all(struct wfs_exporter *exporter,
			 struct export_domain *domain)
{
	struct export_cursor all = wfs_export_all(exporter);
	struct export_region *region;

	domain->again_at = 0;
	while ((region = wfs_export_next(&all)))
		register_in(exporter, region, index_of(exporter, domain));
}

/* What was refused may be granted now; not asked for too often. */
static struct export_domain *refresh(struct wfs_exporter *exporter,
				     struct export_domain *domain)
{
	if (domain->again_at && wfs_now_ns() >= domain->again_at)
		register_all(exporter, domain);
	return domain;
}

static bool begin(struct wfs_exporter *exporter, struct export_domain *domain,
		  const char *who)
{
	domain->who = wfs_strdup(who);
	for (unsigned i = 0; i < exporter->rail_count; i++) {
		if (begin_on(exporter, domain, i))
			continue;
		end(exporter, domain);
		return false;
	}
	register_all(exporter, domain);
	return true;
}

bool wfs_export_join_rail(struct wfs_exporter *exporter, unsigned rail)
{
	for (unsigned i = 0; i < WFS_EXPORT_DOMAINS; i++) {
		struct export_cursor all = wfs_export_all(exporter);
		struct export_region *region;

		if (!exporter->domains[i].who)
			continue;
		if (!begin_on(exporter, &exporter->domains[i], rail))
			return false;
		while ((region = wfs_export_next(&all)))
			register_on(exporter, region, i, rail);
	}
	return true;
}

void wfs_export_leave_rail(struct wfs_exporter *exporter, unsigned rail)
{
	for (unsigned i = 0; i < WFS_EXPORT_DOMAINS; i++) {
		struct ibv_pd **pd = &exporter->domains[i].pds[rail];
		struct export_cursor all = wfs_export_all(exporter);
		struct export_region *region;

		while ((region = wfs_export_next(&all)))
			deregister_on(exporter, region, i, rail);
		if (*pd)
			exporter->verbs->ibv_dealloc_pd(*pd);
		*pd = NULL;
	}
}

struct export_domain *wfs_export_domain(struct wfs_exporter *exporter,
					const char *who)
{
	struct export_domain *unused = NULL;

	for (size_t i = 0; i < WFS_EXPORT_DOMAINS; i++) {
		struct export_domain *domain = &exporter->domains[i];

		if (!domain->who)
			unused = unused ? unused : domain;
		else if (strcmp(domain->who, who) == 0)
			return refresh(exporter, domain);
	}
	return unused && begin(exporter, unused, who) ? unused : NULL;
}

/* A session's place may be another's before its queue pairs are ended. */
static bool is_used(struct wfs_exporter *exporter, unsigned domain)
{
	bool used;

	pthread_mutex_lock(&exporter->lock);
	used = exporter->domains[domain].sessions;
	for (size_t i = 0; i < exporter->conn_count; i++)
		used |= exporter->conns[i].domain == domain;
	pthread_mutex_unlock(&exporter->lock);
	return used;
}

void wfs_export_prune_domains(struct wfs_exporter *exporter)
{
	/* Whoever registers now has a session soon. */
	if (pthread_mutex_trylock(&exporter->domains_lock))
		return;
	for (unsigned i = 0; i < WFS_EXPORT_DOMAINS; i++) {
		struct export_domain *domain = &exporter->domains[i];

		if (!domain->who || is_used(exporter, i))
			continue;
		wfs_debug("RDMA: nobody of '%s' has a session: its keys end",
			  domain->who);
		end(exporter, domain);
	}
	pthread_mutex_unlock(&exporter->domains_lock);
}

void wfs_export_clear_domains(struct wfs_exporter *exporter)
{
	for (size_t i = 0; i < WFS_EXPORT_DOMAINS; i++)
		if (exporter->domains[i].who)
			end(exporter, &exporter->domains[i]);
}
