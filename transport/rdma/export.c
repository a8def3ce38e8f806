/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exporter's life.
 */
#include "transport/rdma/export.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "core/base/cond.h"
#include "core/base/log.h"
#include "core/base/mem.h"
#include "transport/rdma/export_inner.h"
#include "transport/rdma/rdma.h"

#define NS_PER_S 1000000000ull
#define LEASE_NS (300 * NS_PER_S)
#define FIRST_AT (1ull << 40) /* what nodes see: no address of ours */

int wfs_exporter_open(const struct wfs_export_config *config,
		      struct wfs_exporter **ret_exporter, struct wfs_err *err)
{
	struct wfs_rdma_port *ports wfs_autofree = NULL;
	struct wfs_exporter *exporter;
	size_t n;
	int rc = wfs_rdma_ports(&ports, &n, err);

	if (rc)
		return rc;
	exporter = wfs_calloc(1, sizeof(*exporter));
	exporter->verbs = wfs_verbs_load(err);
	exporter->stock = *config->stock;
	exporter->memory = config->memory;
	exporter->lease_ns = config->lease_ns ? config->lease_ns : LEASE_NS;
	exporter->next_at = FIRST_AT;
	pthread_mutex_init(&exporter->lock, NULL);
	pthread_mutex_init(&exporter->domains_lock, NULL);
	wfs_cond_init(&exporter->stopped);
	exporter->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = exporter->stop_fd < 0 ? wfs_err_set(err, -errno, "no eventfd") :
				     wfs_export_open_rails(exporter, err);
	if (rc)
		wfs_exporter_close(exporter);
	else
		*ret_exporter = exporter;
	return rc;
}

int wfs_exporter_start(struct wfs_exporter *exporter, struct wfs_err *err)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&exporter->connector, NULL, wfs_export_connect,
			    exporter);
	exporter->connecting = !rc;
	if (!rc && exporter->stock.list)
		rc = pthread_create(&exporter->filler, NULL, wfs_export_fill,
				    exporter);
	exporter->filling = exporter->stock.list && !rc;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc ? wfs_err_set(err, -rc, "cannot start a thread: %s",
				strerror(rc)) :
		    0;
}

void wfs_exporter_stop(struct wfs_exporter *exporter)
{
	uint64_t one = 1;

	if (!exporter)
		return;
	pthread_mutex_lock(&exporter->lock);
	atomic_store(&exporter->stop, true);
	pthread_cond_broadcast(&exporter->stopped);
	pthread_mutex_unlock(&exporter->lock);
	if (exporter->connecting &&
	    write(exporter->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(exporter->connector, NULL);
	if (exporter->filling)
		pthread_join(exporter->filler, NULL);
	exporter->connecting = exporter->filling = false;
}

void wfs_exporter_close(struct wfs_exporter *exporter)
{
	if (!exporter)
		return;
	wfs_exporter_stop(exporter);
	wfs_export_clear_domains(exporter);
	wfs_export_clear_regions(exporter);
	wfs_export_clear_loans(exporter);
	wfs_export_close_rails(exporter);
	if (exporter->events)
		exporter->verbs->rdma_destroy_event_channel(exporter->events);
	if (exporter->stop_fd >= 0)
		close(exporter->stop_fd);
	pthread_cond_destroy(&exporter->stopped);
	pthread_mutex_destroy(&exporter->lock);
	pthread_mutex_destroy(&exporter->domains_lock);
	free(exporter);
}
