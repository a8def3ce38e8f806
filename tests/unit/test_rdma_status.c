/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of each status that a READ can end with: what the lane says of
 * it, what it is counted as, whether the seed is asked anew and whether the
 * rail is left alone; then that a reader has his bytes whatever it was.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/mem.h"
#include "tests/unit/rdma_bench.h"
#include "transport/rdma/lane.h"

#define LAST IBV_WC_TM_RNDV_INCOMPLETE
#define BIG  (WFS_CHUNK / 2) /* of a chunk's READ, not of its digest's */
#define SOME (4 * WFS_CHUNK)

/* By status; all but success have one. */
static const struct meaning {
	int error;
	enum wfs_tally_error kind;
	bool forgets; /* the session: the next one connects with another */
	bool pauses;  /* the rail: nobody connects by it for a while */
} meanings[LAST + 1] = {
	[IBV_WC_LOC_LEN_ERR] = { -EIO, WFS_TALLY_LOCAL },
	[IBV_WC_LOC_QP_OP_ERR] = { -EIO, WFS_TALLY_LOCAL },
	[IBV_WC_LOC_EEC_OP_ERR] = { -EIO, WFS_TALLY_OTHER },
	[IBV_WC_LOC_PROT_ERR] = { -EIO, WFS_TALLY_LOCAL },
	[IBV_WC_WR_FLUSH_ERR] = { -ECONNRESET, WFS_TALLY_FLUSHED,
				  .forgets = true },
	[IBV_WC_MW_BIND_ERR] = { -EIO, WFS_TALLY_OTHER },
	[IBV_WC_BAD_RESP_ERR] = { -EIO, WFS_TALLY_REMOTE },
	[IBV_WC_LOC_ACCESS_ERR] = { -EIO, WFS_TALLY_LOCAL },
	[IBV_WC_REM_INV_REQ_ERR] = { -EIO, WFS_TALLY_REMOTE },
	[IBV_WC_REM_ACCESS_ERR] = { -EKEYREJECTED, WFS_TALLY_REMOTE_ACCESS,
				    .forgets = true },
	[IBV_WC_REM_OP_ERR] = { -EIO, WFS_TALLY_REMOTE },
	[IBV_WC_RETRY_EXC_ERR] = { -EHOSTUNREACH, WFS_TALLY_UNREACHABLE,
				   .pauses = true },
	[IBV_WC_RNR_RETRY_EXC_ERR] = { -EIO, WFS_TALLY_UNREACHABLE },
	[IBV_WC_LOC_RDD_VIOL_ERR] = { -EIO, WFS_TALLY_OTHER },
	[IBV_WC_REM_INV_RD_REQ_ERR] = { -EIO, WFS_TALLY_OTHER },
	[IBV_WC_REM_ABORT_ERR] = { -EIO, WFS_TALLY_REMOTE },
	[IBV_WC_INV_EECN_ERR] = { -EIO, WFS_TALLY_OTHER },
	[IBV_WC_INV_EEC_STATE_ERR] = { -EIO, WFS_TALLY_OTHER },
	[IBV_WC_FATAL_ERR] = { -EIO, WFS_TALLY_LOCAL },
	[IBV_WC_RESP_TIMEOUT_ERR] = { -EIO, WFS_TALLY_UNREACHABLE },
	[IBV_WC_GENERAL_ERR] = { -EIO, WFS_TALLY_OTHER },
	[IBV_WC_TM_ERR] = { -EIO, WFS_TALLY_OTHER },
	[IBV_WC_TM_RNDV_INCOMPLETE] = { -EIO, WFS_TALLY_OTHER },
};

static void inject(enum ibv_wc_status status)
{
	const struct fake_fault fault = { .kind = FAKE_STATUS,
					  .status = status,
					  .device = FAKE_ANY,
					  .least = BIG,
					  .times = 1 };

	fake_rdma_inject(&fault);
}

static int open_lane(struct rdma_bench *b, void **ret_conn)
{
	static const atomic_bool never;
	struct wfs_err err = { 0 };

	return wfs_rdma_lane_ops.open(b->seed.peer, &never, ret_conn, &err);
}

/* Asks for the first chunk; what its answer's head comes to. */
static int read_chunk(void *conn)
{
	struct wfs_lane_ask ask = { .len = WFS_CHUNK };
	struct wfs_wire_answer answer;
	int rc;

	rdma_seed_name(ask.id, 0);
	rc = wfs_rdma_lane_ops.ask(conn, &ask);
	return rc ? rc : wfs_rdma_lane_ops.head(conn, &answer);
}

static uint64_t counted(struct rdma_bench *b, enum wfs_tally_error kind)
{
	uint64_t n = 0;

	for (size_t i = 0; i < WFS_PEER_RAILS; i++)
		n += atomic_load(&b->seed.peer->tallies[i].errors[kind]);
	return n;
}

static uint64_t counted_all(struct rdma_bench *b)
{
	uint64_t n = 0;

	for (unsigned kind = 0; kind < WFS_TALLY_ERRORS; kind++)
		n += counted(b, kind);
	return n;
}

static void ends_as_it_means(enum ibv_wc_status status)
{
	const struct meaning *means = &meanings[status];
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 0);
	unsigned asked;
	void *conn;

	assert_int_equal(open_lane(b, &conn), 0);
	asked = atomic_load(&b->seed.asked);
	inject(status);
	assert_int_equal(read_chunk(conn), means->error);
	wfs_rdma_lane_ops.close(conn);
	assert_int_equal(counted(b, means->kind), 1);
	assert_int_equal(counted_all(b), 1);
	if (means->pauses) {
		assert_int_equal(open_lane(b, &conn), -ENETUNREACH);
	} else {
		assert_int_equal(open_lane(b, &conn), 0);
		assert_int_equal(read_chunk(conn), 0);
		wfs_rdma_lane_ops.close(conn);
	}
	assert_int_equal(atomic_load(&b->seed.asked) - asked, means->forgets);
	rdma_bench_close(b);
}

static void a_status_is_said_counted_and_acted_upon_as_it_means(void **state)
{
	(void)state;
	for (int status = IBV_WC_SUCCESS + 1; status <= LAST; status++) {
		assert_int_not_equal(meanings[status].error, 0);
		ends_as_it_means((enum ibv_wc_status)status);
	}
}

static unsigned bad_ends(void)
{
	return fake_rdma_count(FAKE_FAILS) + fake_rdma_count(FAKE_FLUSHES);
}

static void read_past(struct rdma_bench *b, enum ibv_wc_status status)
{
	unsigned before = bad_ends();

	inject(status);
	/* Others have what is read while this one is left alone. */
	while (bad_ends() == before)
		rdma_bench_reads(b, 0, SOME);
	fake_rdma_heal();
}

/* By another queue pair where there is nobody else to be asked. */
static void whatever_the_status_a_reader_has_his_bytes(void **state)
{
	(void)state;
	for (unsigned others = 0; others < 2; others++) {
		struct rdma_bench *b = rdma_bench_open(NULL, 1, others);

		for (int status = IBV_WC_SUCCESS + 1; status <= LAST;
		     status++) {
			/* The only rail, for longer than a test waits. */
			if (meanings[status].pauses)
				continue;
			read_past(b, (enum ibv_wc_status)status);
			b->lands = !b->lands;
		}
		assert_int_equal(rdma_bench_stats(b).wrong, 0);
		rdma_bench_close(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_status_is_said_counted_and_acted_upon_as_it_means),
		T(whatever_the_status_a_reader_has_his_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
