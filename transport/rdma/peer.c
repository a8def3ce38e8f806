/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See peer.h.
 */
#include "transport/rdma/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/text.h"
#include "transport/rdma/device.h"

#define NS_PER_S  1000000000ull
#define AGAIN_NS  (NS_PER_S / 2) /* the seed is not asked more often … */
#define SILENT_NS (5 * NS_PER_S) /* … when it answered, or did not */

struct wfs_rdma_peer *wfs_rdma_peer_new(const struct wfs_control *control)
{
	struct wfs_rdma_peer *peer = wfs_calloc(1, sizeof(*peer));

	wfs_rdma_devices_hold();
	peer->control = *control;
	peer->label = wfs_strdup(control->label);
	pthread_mutex_init(&peer->lock, NULL);
	pthread_mutex_init(&peer->asking, NULL);
	return peer;
}

void wfs_rdma_peer_free(struct wfs_rdma_peer *peer)
{
	if (!peer)
		return;
	wfs_rdma_table_clear(&peer->table);
	pthread_mutex_destroy(&peer->lock);
	pthread_mutex_destroy(&peer->asking);
	free(peer->label);
	free(peer);
	wfs_rdma_devices_release();
}

/* Its place, a new one if need be; false: there are too many. */
static bool place_locked(struct wfs_rdma_peer *peer, struct wfs_rdma_rail *rail)
{
	unsigned i = 0;

	while (i < peer->rail_count && strcmp(peer->rails[i], rail->address))
		i++;
	if (i == WFS_PEER_RAILS) {
		if (!peer->crowded)
			wfs_warn("seed '%s': its RDMA address %s is not read "
				 "from: %d others came before; give it fewer, "
				 "or mount again once it has others",
				 peer->label, rail->address, WFS_PEER_RAILS);
		peer->crowded = true;
		return false;
	}
	if (i == peer->rail_count) {
		memcpy(peer->rails[i], rail->address, sizeof(peer->rails[i]));
		peer->rail_count++;
	}
	rail->place = i;
	return true;
}

/* Each rail's key goes from its row of the answer to its place. */
static void sort_keys(const struct wfs_rdma_table *table,
		      const size_t row_of[WFS_PEER_RAILS],
		      uint32_t keys[WFS_PEER_RAILS])
{
	uint32_t sorted[WFS_PEER_RAILS] = { 0 };

	for (size_t k = 0; k < table->rail_count; k++)
		sorted[table->rails[k].place] = keys[row_of[k]];
	memcpy(keys, sorted, sizeof(sorted));
}

/* Ports come and go: keys are those of a place, not of a row of the answer. */
static void adopt_locked(struct wfs_rdma_peer *peer,
			 struct wfs_rdma_table *table)
{
	size_t row_of[WFS_PEER_RAILS], kept = 0;

	for (size_t i = 0; i < table->rail_count; i++) {
		struct wfs_rdma_rail rail = table->rails[i];

		if (!place_locked(peer, &rail))
			continue;
		row_of[kept] = i;
		table->rails[kept++] = rail;
	}
	table->rail_count = kept;
	for (size_t i = 0; i < table->place_count; i++)
		sort_keys(table, row_of, table->places[i].rkeys);
	for (size_t i = 0; i < table->memory_count; i++)
		sort_keys(table, row_of, table->memory[i].rkeys);
	wfs_rdma_table_clear(&peer->table);
	peer->table = *table;
}

/* Asks the seed, which prolongs the session that there is. */
static int ask_seed(struct wfs_rdma_peer *peer, const atomic_bool *stop,
		    struct wfs_err *err)
{
	char *what wfs_autofree = wfs_asprintf("seed '%s'", peer->label);
	char *text wfs_autofree = NULL;
	char *path wfs_autofree = NULL;
	struct wfs_rdma_table table;
	uint64_t now = wfs_now_ns();
	size_t len;
	int rc;

	pthread_mutex_lock(&peer->lock);
	path = wfs_asprintf("/v1/rdma?session=%llu",
			    (unsigned long long)peer->table.session);
	pthread_mutex_unlock(&peer->lock);
	rc = peer->control.get(peer->control.ctx, path, stop, &text, &len, err);
	if (!rc)
		rc = wfs_rdma_table_parse(text, len, what, &table, err);
	pthread_mutex_lock(&peer->lock);
	peer->again_at = wfs_now_ns() + (rc ? SILENT_NS : AGAIN_NS);
	if (rc) {
		pthread_mutex_unlock(&peer->lock);
		return rc;
	}
	adopt_locked(peer, &table);
	peer->until = now + table.lease_ns;
	pthread_mutex_unlock(&peer->lock);
	return 0;
}

static bool is_valid_locked(const struct wfs_rdma_peer *peer, uint64_t now)
{
	return peer->table.session && peer->until > now;
}

int wfs_rdma_peer_renew(struct wfs_rdma_peer *peer, const atomic_bool *stop,
			struct wfs_err *err)
{
	bool valid;
	int rc = 0;

	pthread_mutex_lock(&peer->asking);
	pthread_mutex_lock(&peer->lock);
	valid = is_valid_locked(peer, wfs_now_ns());
	pthread_mutex_unlock(&peer->lock);
	if (!valid)
		rc = ask_seed(peer, stop, err);
	pthread_mutex_unlock(&peer->asking);
	return rc;
}

void wfs_rdma_peer_forget(struct wfs_rdma_peer *peer, uint64_t session)
{
	pthread_mutex_lock(&peer->lock);
	if (peer->table.session == session)
		wfs_rdma_table_clear(&peer->table);
	pthread_mutex_unlock(&peer->lock);
}

/* Also whether the table should be asked for anew. */
static int find(struct wfs_rdma_peer *peer, uint64_t session,
		const struct wfs_rdma_want *want, struct wfs_rdma_plan *plan,
		bool *ret_again)
{
	uint64_t now = wfs_now_ns();
	int rc = -EPERM;

	pthread_mutex_lock(&peer->lock);
	if (peer->table.session == session && peer->until > now)
		rc = wfs_rdma_table_plan(&peer->table, want, plan);
	/* Half of the lease is over: it is prolonged by asking. */
	*ret_again = now >= peer->again_at &&
		     (rc == -ENODATA ||
		      (!rc && peer->until - now < peer->table.lease_ns / 2));
	pthread_mutex_unlock(&peer->lock);
	return rc;
}

int wfs_rdma_peer_find(struct wfs_rdma_peer *peer, uint64_t session,
		       const struct wfs_rdma_want *want,
		       struct wfs_rdma_plan *ret_plan)
{
	static const atomic_bool never;
	bool again;
	int rc = find(peer, session, want, ret_plan, &again);

	if (!again || pthread_mutex_trylock(&peer->asking))
		return rc;
	/* What is valid stays so when the seed does not answer. */
	ask_seed(peer, &never, NULL);
	pthread_mutex_unlock(&peer->asking);
	return find(peer, session, want, ret_plan, &again);
}
