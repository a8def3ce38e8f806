/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By which of this node's ports a lane reads from which of a seed's rails.
 *
 * Ports near to this process's memory go before others, those in the rail's own
 * network before those that it is to be routed from, and among equals who has
 * the fewest connections; so all of them are used, and a bad one is not.
 */
#include <errno.h>
#include <string.h>

#include "core/base/least.h"
#include "core/base/log.h"
#include "core/base/mem.h"
#include "transport/rdma/peer.h"

#define NS_PER_S  1000000000ull
#define PAUSE_NS  (30 * NS_PER_S)
#define AVOID_NS  (600 * NS_PER_S)
#define NEVER	  UINT64_MAX
#define COST_FAR  (1ull << 32) /* more than all connections */
#define COST_NET  (1ull << 33)
#define COST_LOST (1ull << 34)

struct ways {
	const struct wfs_rdma_peer *peer;
	struct wfs_local locals[WFS_LOCALS_MAX];
	size_t count;
	uint64_t now;
};

/* What was found before the port came back says nothing of it since. */
static bool is_paused(const struct wfs_rdma_path *path,
		      const struct wfs_local *local, uint64_t now)
{
	return path->paused > now &&
	       (!local || path->chosen >= local->up_since);
}

static uint64_t cost_of(const struct ways *ways,
			const struct wfs_rdma_rail *rail, unsigned at,
			const union wfs_rdma_address *to)
{
	const struct wfs_local *local = &ways->locals[at];
	const struct wfs_rdma_path *path = &ways->peer->paths[rail->place][at];
	uint64_t cost = local->links;

	if (!local->up || is_paused(path, local, ways->now))
		return NEVER;
	if (path->no_route > ways->now)
		cost += COST_LOST;
	if (!wfs_local_reaches(local, to))
		cost += COST_NET;
	return local->near ? cost : cost + COST_FAR;
}

/* The best of ours to that rail, from `first` on; what it costs. */
static uint64_t choose(const struct ways *ways,
		       const struct wfs_rdma_rail *rail, unsigned first,
		       struct wfs_rdma_way *way)
{
	union wfs_rdma_address to;
	uint64_t best = NEVER;

	if (wfs_rdma_address_parse(rail->address, rail->port, &to))
		return NEVER;
	for (unsigned i = 0; i < ways->count; i++) {
		unsigned at = (first + i) % (unsigned)ways->count;
		uint64_t cost = cost_of(ways, rail, at, &to);

		if (cost >= best)
			continue;
		best = cost;
		way->local = at;
	}
	/* None of ours is known: the kernel chooses. */
	if (!ways->count) {
		way->local = WFS_LOCALS_MAX;
		return is_paused(&ways->peer->paths[rail->place][0], NULL,
				 ways->now) ?
			       NEVER :
			       0;
	}
	if (best != NEVER) {
		const struct wfs_local *local = &ways->locals[way->local];

		way->from = local->from;
		memcpy(way->by, local->device, sizeof(way->by));
	}
	return best;
}

static int choose_locked(struct wfs_rdma_peer *peer, const struct ways *ways,
			 struct wfs_rdma_way *ret)
{
	const struct wfs_rdma_table *table = &peer->table;
	unsigned first = peer->next_rail++;
	uint64_t best = NEVER;

	for (size_t i = 0; i < table->rail_count; i++) {
		const struct wfs_rdma_rail *rail =
			&table->rails[(first + i) % table->rail_count];
		struct wfs_rdma_way way = {
			.to = *rail,
			.rail = rail->place,
			.session = table->session,
			.expires = table->expires,
			.chosen = ways->now,
		};
		uint64_t cost = choose(ways, rail, first, &way);

		if (cost >= best)
			continue;
		best = cost;
		way.no_route = cost >= COST_LOST;
		memcpy(way.key, table->key, sizeof(way.key));
		*ret = way;
	}
	return best == NEVER ? -ENETUNREACH : 0;
}

static bool any_up(const struct ways *ways)
{
	for (size_t i = 0; i < ways->count; i++)
		if (ways->locals[i].up)
			return true;
	return !ways->count;
}

int wfs_rdma_peer_way(struct wfs_rdma_peer *peer, const atomic_bool *stop,
		      struct wfs_rdma_way *ret_way, struct wfs_err *err)
{
	const struct wfs_verbs *verbs = wfs_verbs_load(err);
	struct ways ways = { .peer = peer };
	int rc;

	if (!verbs)
		return err ? err->code : -ENODEV;
	rc = wfs_rdma_peer_renew(peer, stop, err);
	if (rc)
		return rc;
	ways.count = wfs_locals(verbs, ways.locals);
	ways.now = wfs_now_ns();
	pthread_mutex_lock(&peer->lock);
	rc = choose_locked(peer, &ways, ret_way);
	pthread_mutex_unlock(&peer->lock);
	if (!rc)
		return 0;
	if (!any_up(&ways))
		return wfs_err_set(err, rc,
				   "seed '%s': no RDMA port of this node is up",
				   peer->label);
	return wfs_err_set(err, rc,
			   "seed '%s': no rail to its memory works: all are "
			   "paused",
			   peer->label);
}

static struct wfs_rdma_path *path_of(struct wfs_rdma_peer *peer,
				     const struct wfs_rdma_way *way)
{
	return &peer->paths[way->rail]
			   [way->local < WFS_LOCALS_MAX ? way->local : 0];
}

void wfs_rdma_peer_pause(struct wfs_rdma_peer *peer,
			 const struct wfs_rdma_way *way)
{
	uint64_t now = wfs_now_ns();
	struct wfs_rdma_path *path = path_of(peer, way);
	bool fresh;

	pthread_mutex_lock(&peer->lock);
	fresh = path->paused <= now;
	path->paused = now + PAUSE_NS;
	path->chosen = wfs_most(path->chosen, way->chosen);
	pthread_mutex_unlock(&peer->lock);
	if (fresh) /* all its lanes find that out at once */
		wfs_warn("seed '%s': its rail %u, at %s, is not tried for %llu "
			 "s by '%s'",
			 peer->label, way->rail, way->to.address,
			 PAUSE_NS / NS_PER_S, way->by[0] ? way->by : "any");
}

void wfs_rdma_peer_no_route(struct wfs_rdma_peer *peer,
			    const struct wfs_rdma_way *way)
{
	pthread_mutex_lock(&peer->lock);
	path_of(peer, way)->no_route = wfs_now_ns() + AVOID_NS;
	pthread_mutex_unlock(&peer->lock);
}

bool wfs_rdma_peer_is_paused_locked(const struct wfs_rdma_peer *peer,
				    unsigned rail,
				    const struct wfs_local *locals,
				    size_t count)
{
	uint64_t now = wfs_now_ns();

	for (size_t i = 0; i < count; i++)
		if (!is_paused(&peer->paths[rail][i], &locals[i], now))
			return false;
	return count || is_paused(&peer->paths[rail][0], NULL, now);
}
