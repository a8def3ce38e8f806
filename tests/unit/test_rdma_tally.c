/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a rail's READs are counted as.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <infiniband/verbs.h>

#include "transport/rdma/tally.h"

#define US 1000ull

static void a_read_counts_where_its_time_falls(void **state)
{
	struct wfs_tally tally = { 0 };

	(void)state;
	wfs_tally_read(&tally, 10, 0);
	wfs_tally_read(&tally, 20, 16 * US - 1);
	wfs_tally_read(&tally, 30, 16 * US);
	wfs_tally_read(&tally, 40, UINT64_MAX / 2);
	assert_int_equal(tally.reads, 4);
	assert_int_equal(tally.bytes, 100);
	assert_int_equal(tally.latency[0], 2);
	assert_int_equal(tally.latency[1], 1);
	assert_int_equal(tally.latency[WFS_TALLY_BUCKETS - 1], 1);
}

static void half_of_the_reads_stayed_below_their_median(void **state)
{
	struct wfs_tally tally = { 0 };

	(void)state;
	assert_int_equal(wfs_tally_below(&tally, 0.5), 0);
	for (int i = 0; i < 99; i++)
		wfs_tally_read(&tally, 1, 40 * US);
	wfs_tally_read(&tally, 1, 5000 * US);
	assert_int_equal(wfs_tally_below(&tally, 0.5), 64);
	assert_int_equal(wfs_tally_below(&tally, 0.99), 64);
	assert_int_equal(wfs_tally_below(&tally, 1.0), 8192);
}

static void every_status_counts_as_one_kind(void **state)
{
	static const struct {
		int status;
		enum wfs_tally_error kind;
	} rows[] = {
		{ IBV_WC_WR_FLUSH_ERR, WFS_TALLY_FLUSHED },
		{ IBV_WC_RETRY_EXC_ERR, WFS_TALLY_UNREACHABLE },
		{ IBV_WC_REM_ACCESS_ERR, WFS_TALLY_REMOTE_ACCESS },
		{ IBV_WC_REM_OP_ERR, WFS_TALLY_REMOTE },
		{ IBV_WC_LOC_PROT_ERR, WFS_TALLY_LOCAL },
		{ IBV_WC_GENERAL_ERR, WFS_TALLY_OTHER },
		{ 12345, WFS_TALLY_OTHER },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct wfs_tally tally = { 0 };

		wfs_tally_status(&tally, rows[i].status);
		for (int k = 0; k < WFS_TALLY_ERRORS; k++)
			assert_int_equal(tally.errors[k],
					 k == (int)rows[i].kind);
	}
}

static void what_we_cancel_is_no_error(void **state)
{
	struct wfs_tally tally = { 0 };

	(void)state;
	wfs_tally_wait(&tally, -ECANCELED);
	wfs_tally_wait(&tally, -ETIMEDOUT);
	wfs_tally_wait(&tally, -ECONNRESET);
	wfs_tally_retry(&tally, 2);
	assert_int_equal(tally.errors[WFS_TALLY_LATE], 1);
	assert_int_equal(tally.errors[WFS_TALLY_ENDED], 1);
	assert_int_equal(tally.errors[WFS_TALLY_OTHER], 0);
	assert_int_equal(tally.retries, 2);
}

static void every_kind_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < WFS_TALLY_ERRORS; i++)
		for (int k = 0; k < i; k++)
			assert_string_not_equal(
				wfs_tally_error_name((enum wfs_tally_error)i),
				wfs_tally_error_name((enum wfs_tally_error)k));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_read_counts_where_its_time_falls),
		T(half_of_the_reads_stayed_below_their_median),
		T(every_status_counts_as_one_kind),
		T(what_we_cancel_is_no_error),
		T(every_kind_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests_name("rdma_tally", tests, NULL, NULL);
}
