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

static bool goes_before(const struct export_session *a,
			const struct export_session *b)
{
	if (!a->conns != !b->conns)
		return !a->conns;
	return a->until < b->until;
}

/*
 * A free place, or that of a session which nobody is connected for, and which
 * ends first: who asks for many takes none from who uses his.
 */
static struct export_session *place_locked(struct wfs_exporter *exporter)
{
	struct export_session *first = &exporter->sessions[0];

	if (exporter->session_count < WFS_SESSIONS_MAX)
		return &exporter->sessions[exporter->session_count++];
	for (size_t i = 1; i < exporter->session_count; i++)
		if (goes_before(&exporter->sessions[i], first))
			first = &exporter->sessions[i];
	exporter->domains[first->domain].sessions--;
	return first;
}

static void draw(void *bytes, size_t len)
{
	if (getrandom(bytes, len, 0) != (ssize_t)len)
		abort(); /* it never says no for so few */
}

struct export_session *wfs_export_session_locked(struct wfs_exporter *exporter,
						 uint64_t id, unsigned domain)
{
	struct export_session *session = id ? find_locked(exporter, id) : NULL;

	/* Its number is no secret: it does not open what is another's. */
	if (!session || session->domain != domain) {
		session = place_locked(exporter);
		*session = (struct export_session){ .domain = domain };
		do
			draw(&session->id, sizeof(session->id));
		while (!session->id);
		draw(session->key, sizeof(session->key));
		exporter->domains[domain].sessions++;
	}
	session->until = wfs_now_ns() + exporter->lease_ns;
	return session;
}

/* Was it said before?  Otherwise it is from now on. */
static bool is_repeated_locked(struct wfs_exporter *exporter,
			       const struct export_hello *hello)
{
	uint64_t now = wfs_now_ns();

	for (size_t i = exporter->hello_count; i-- > 0;) {
		struct export_hello *at = &exporter->hellos[i];

		if (at->expires <= now)
			*at = exporter->hellos[--exporter->hello_count];
		else if (at->session == hello->session &&
			 at->nonce == hello->nonce)
			return true;
	}
	if (exporter->hello_count == WFS_EXPORT_HELLOS)
		return true;
	exporter->hellos[exporter->hello_count++] = *hello;
	return false;
}

bool wfs_export_may_connect(struct wfs_exporter *exporter,
			    const struct wfs_hello *hello, uint32_t queue_pair,
			    unsigned *ret_domain)
{
	struct export_hello said = { .session = hello->session,
				     .expires = hello->expires,
				     .nonce = hello->nonce };
	const struct export_session *session;
	bool may;

	pthread_mutex_lock(&exporter->lock);
	session = find_locked(exporter, hello->session);
	may = session && hello->expires > wfs_now_ns() &&
	      hello->expires <= session->until &&
	      wfs_hello_is_signed(hello, session->key, queue_pair) &&
	      !is_repeated_locked(exporter, &said);
	exporter->refused += !may;
	if (may)
		*ret_domain = session->domain;
	pthread_mutex_unlock(&exporter->lock);
	return may;
}

void wfs_export_count_conn_locked(struct wfs_exporter *exporter, uint64_t id,
				  int by)
{
	for (size_t i = 0; i < exporter->session_count; i++)
		if (exporter->sessions[i].id == id)
			exporter->sessions[i].conns += (unsigned)by;
}

void wfs_export_expire(struct wfs_exporter *exporter)
{
	uint64_t now = wfs_now_ns();

	pthread_mutex_lock(&exporter->lock);
	for (size_t i = exporter->session_count; i-- > 0;) {
		struct export_session *session = &exporter->sessions[i];

		if (session->until > now)
			continue;
		exporter->domains[session->domain].sessions--;
		*session = exporter->sessions[--exporter->session_count];
	}
	pthread_mutex_unlock(&exporter->lock);
}

bool wfs_export_is_over(struct wfs_exporter *exporter, uint64_t id)
{
	bool over;

	pthread_mutex_lock(&exporter->lock);
	over = !find_locked(exporter, id);
	pthread_mutex_unlock(&exporter->lock);
	return over;
}
