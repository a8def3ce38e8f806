/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: made over the control channel, valid for a lease, proven by whoever
 * connects.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "core/base/mem.h"
#include "transport/rdma/export_inner.h"

static struct export_session *find_locked(struct wfs_exporter *exporter,
					  uint64_t id)
{
	uint64_t now = wfs_now_ns();

	for (size_t i = 0; i < exporter->session_count; i++)
		if (exporter->sessions[i].id == id &&
		    exporter->sessions[i].until > now)
			return &exporter->sessions[i];
	return NULL;
}

/* A free place, or that of the session which ends first. */
static struct export_session *place_locked(struct wfs_exporter *exporter)
{
	struct export_session *first = &exporter->sessions[0];

	if (exporter->session_count < WFS_SESSIONS_MAX)
		return &exporter->sessions[exporter->session_count++];
	for (size_t i = 1; i < exporter->session_count; i++)
		if (exporter->sessions[i].until < first->until)
			first = &exporter->sessions[i];
	return first;
}

static void draw(void *bytes, size_t len)
{
	if (getrandom(bytes, len, 0) != (ssize_t)len)
		abort(); /* it never says no for so few */
}

struct export_session *wfs_export_session_locked(struct wfs_exporter *exporter,
						 uint64_t id)
{
	struct export_session *session = id ? find_locked(exporter, id) : NULL;

	if (!session) {
		session = place_locked(exporter);
		do
			draw(&session->id, sizeof(session->id));
		while (!session->id);
		draw(session->key, sizeof(session->key));
	}
	session->until = wfs_now_ns() + exporter->lease_ns;
	return session;
}

bool wfs_export_may_connect(struct wfs_exporter *exporter,
			    const struct wfs_hello *hello, uint32_t queue_pair)
{
	const struct export_session *session;
	bool may;

	pthread_mutex_lock(&exporter->lock);
	session = find_locked(exporter, hello->session);
	may = session && hello->expires > wfs_now_ns() &&
	      hello->expires <= session->until &&
	      wfs_hello_is_signed(hello, session->key, queue_pair);
	exporter->refused += !may;
	pthread_mutex_unlock(&exporter->lock);
	return may;
}

bool wfs_export_is_over(struct wfs_exporter *exporter, uint64_t id)
{
	bool over;

	pthread_mutex_lock(&exporter->lock);
	over = !find_locked(exporter, id);
	for (size_t i = 0; over && i < exporter->session_count; i++)
		if (exporter->sessions[i].id == id)
			exporter->sessions[i] =
				exporter->sessions[--exporter->session_count];
	pthread_mutex_unlock(&exporter->lock);
	return over;
}
