/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See tally.h.
 */
#include "transport/rdma/tally.h"

#include <errno.h>
#include <infiniband/verbs.h>

#define NS_PER_US 1000

static void count(atomic_ullong *counter, uint64_t by)
{
	atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

static uint64_t look(const atomic_ullong *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

uint64_t wfs_tally_bound(unsigned bucket)
{
	return (uint64_t)WFS_TALLY_FIRST_US << bucket;
}

void wfs_tally_read(struct wfs_tally *tally, uint64_t bytes, uint64_t ns)
{
	unsigned bucket = 0;

	while (bucket < WFS_TALLY_BUCKETS - 1 &&
	       ns / NS_PER_US >= wfs_tally_bound(bucket))
		bucket++;
	count(&tally->reads, 1);
	count(&tally->bytes, bytes);
	count(&tally->ns, ns);
	count(&tally->latency[bucket], 1);
}

void wfs_tally_landed(struct wfs_tally *tally, uint64_t bytes)
{
	count(&tally->device_bytes, bytes);
}

static enum wfs_tally_error kind_of(int status)
{
	switch (status) {
	case IBV_WC_WR_FLUSH_ERR:
		return WFS_TALLY_FLUSHED;
	case IBV_WC_RETRY_EXC_ERR:
	case IBV_WC_RNR_RETRY_EXC_ERR:
	case IBV_WC_RESP_TIMEOUT_ERR:
		return WFS_TALLY_UNREACHABLE;
	case IBV_WC_REM_ACCESS_ERR:
		return WFS_TALLY_REMOTE_ACCESS;
	case IBV_WC_REM_INV_REQ_ERR:
	case IBV_WC_REM_OP_ERR:
	case IBV_WC_REM_ABORT_ERR:
	case IBV_WC_BAD_RESP_ERR:
		return WFS_TALLY_REMOTE;
	case IBV_WC_LOC_LEN_ERR:
	case IBV_WC_LOC_QP_OP_ERR:
	case IBV_WC_LOC_PROT_ERR:
	case IBV_WC_LOC_ACCESS_ERR:
	case IBV_WC_FATAL_ERR:
		return WFS_TALLY_LOCAL;
	default:
		return WFS_TALLY_OTHER;
	}
}

void wfs_tally_status(struct wfs_tally *tally, int status)
{
	count(&tally->errors[kind_of(status)], 1);
}

void wfs_tally_wait(struct wfs_tally *tally, int error)
{
	if (error == -ETIMEDOUT)
		count(&tally->errors[WFS_TALLY_LATE], 1);
	else if (error == -ENETDOWN)
		count(&tally->errors[WFS_TALLY_UNREACHABLE], 1);
	else if (error == -ECONNRESET)
		count(&tally->errors[WFS_TALLY_ENDED], 1);
	else if (error != -ECANCELED) /* that was us */
		count(&tally->errors[WFS_TALLY_OTHER], 1);
}

void wfs_tally_retry(struct wfs_tally *tally, unsigned requests)
{
	count(&tally->retries, requests);
}

const char *wfs_tally_error_name(enum wfs_tally_error error)
{
	static const char *const names[WFS_TALLY_ERRORS] = {
		[WFS_TALLY_FLUSHED] = "flushed",
		[WFS_TALLY_UNREACHABLE] = "unreachable",
		[WFS_TALLY_REMOTE_ACCESS] = "remote_access",
		[WFS_TALLY_REMOTE] = "remote",
		[WFS_TALLY_LOCAL] = "local",
		[WFS_TALLY_OTHER] = "other",
		[WFS_TALLY_LATE] = "late",
		[WFS_TALLY_ENDED] = "ended",
	};

	return names[error];
}

uint64_t wfs_tally_below(const struct wfs_tally *tally, double part)
{
	uint64_t all = 0, seen = 0;

	for (unsigned i = 0; i < WFS_TALLY_BUCKETS; i++)
		all += look(&tally->latency[i]);
	if (!all)
		return 0;
	for (unsigned i = 0; i < WFS_TALLY_BUCKETS; i++) {
		seen += look(&tally->latency[i]);
		if ((double)seen >= part * (double)all)
			return wfs_tally_bound(i);
	}
	return wfs_tally_bound(WFS_TALLY_BUCKETS);
}
