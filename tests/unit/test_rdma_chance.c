/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever befalls READs, registrations, connections and the seed at once, by
 * chance, over FAKE devices: no read fails, and none gives a wrong byte.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/chance.h"
#include "tests/unit/rdma_bench.h"

#define READERS	 4
#define REACH	 (12 * WFS_CHUNK) /* of the file */
#define READS	 25
#define MAX_READ (2 * WFS_CHUNK)

/* Each lands in a part of the ground of its own, or reads elsewhere. */
struct reader {
	struct rdma_bench *b;
	pthread_t thread;
	struct chance chance;
	atomic_uint *left;
	unsigned index;
	int rc;
};

static int read_one(struct reader *r, uint64_t off, size_t len)
{
	uint8_t *to = r->b->ground + r->index * MAX_READ;
	int rc;

	if (chance_below(&r->chance, 2))
		return fetch_bench_read(r->b->fetch, off, len);
	memset(to, 0x5a, len);
	rc = wfs_far_read(r->b->fetch->far, to, len, off);
	if (rc || memcmp(to, r->b->fetch->bytes + off, len) != 0)
		return rc ? rc : -EBADMSG;
	/* Nobody writes there any more. */
	memset(to, 0x5a, len);
	usleep((useconds_t)chance_below(&r->chance, 2000));
	for (size_t i = 0; i < len; i++)
		if (to[i] != 0x5a)
			return -EBUSY;
	return 0;
}

static void *read_many(void *arg)
{
	struct reader *r = arg;

	for (int i = 0; i < READS && !r->rc; i++) {
		uint64_t off = chance_below(&r->chance, REACH - MAX_READ);

		r->rc = read_one(r, off,
				 1 + chance_below(&r->chance, MAX_READ));
	}
	atomic_fetch_sub(r->left, 1);
	return NULL;
}

/* Not those that make a rail pause, which would be the end of it all. */
static const enum ibv_wc_status statuses[] = {
	IBV_WC_LOC_PROT_ERR, IBV_WC_WR_FLUSH_ERR, IBV_WC_REM_ACCESS_ERR,
	IBV_WC_REM_OP_ERR,   IBV_WC_GENERAL_ERR,  IBV_WC_RNR_RETRY_EXC_ERR,
	IBV_WC_BAD_RESP_ERR,
};

static void inject(struct chance *chance)
{
	/* What is lost costs a lane for longer than this takes. */
	static const enum fake_kind kinds[] = {
		FAKE_STATUS, FAKE_STATUS,  FAKE_STATUS, FAKE_HELD,
		FAKE_HELD,   FAKE_SWAPPED, FAKE_LOST,
	};
	const struct fake_fault fault = {
		.kind = kinds[chance_below(chance, 7)],
		.status = statuses[chance_below(chance, 7)],
		.device = FAKE_ANY,
		.least = chance_below(chance, 2) ? WFS_CHUNK / 2 : 0,
		.skip = (unsigned)chance_below(chance, 4),
		.times = 1 + (unsigned)chance_below(chance, 2),
	};

	fake_rdma_heal();
	fake_rdma_inject(&fault);
}

static void befall(struct rdma_bench *b, struct chance *chance)
{
	if (chance_below(chance, 2))
		fake_rdma_release();
	switch (chance_below(chance, 16)) {
	case 0:
		fake_rdma_heal();
		break;
	case 1:
		fake_rdma_refuse(chance_below(chance, 2) ? ENOMEM : EPERM, 0,
				 (unsigned)chance_below(chance, 3));
		break;
	case 2:
		fake_rdma_answer(chance_below(chance, 2) ? FAKE_UNREACHABLE :
							   FAKE_NO_DEPTH,
				 (unsigned)chance_below(chance, 3));
		break;
	case 3:
		atomic_store(&b->seed.stock.gone, chance_below(chance, 2));
		break;
	case 4:
		atomic_store(&b->seed.mute, chance_below(chance, 2));
		break;
	default:
		inject(chance);
	}
}

static void no_read_fails_whatever_befalls(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 2, 1);
	struct chance chance = chance_new();
	struct reader readers[READERS];
	atomic_uint left = READERS;

	(void)state;
	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){
			.b = b,
			.chance.state = 1 + chance_below(&chance, 1u << 30),
			.index = i,
			.left = &left,
		};
		pthread_create(&readers[i].thread, NULL, read_many,
			       &readers[i]);
	}
	while (atomic_load(&left)) {
		befall(b, &chance);
		usleep(3000);
	}
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(readers[i].thread, NULL);
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(readers[i].rc, 0);
	assert_int_equal(rdma_bench_stats(b).wrong, 0);
	rdma_bench_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(no_read_fails_whatever_befalls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
