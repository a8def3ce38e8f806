/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within TLS: who listens, and the relays that it starts.
 */
#ifndef WFS_TRANSPORT_SEED_TLS_INNER_H
#define WFS_TRANSPORT_SEED_TLS_INNER_H

#include <gnutls/gnutls.h>

#include "transport/seed/tls.h"

struct wfs_tls {
	struct wfs_tls_config config;
	gnutls_certificate_credentials_t credentials;
	int listener, stop; /* stop: an eventfd */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards relays */
	pthread_cond_t quiet;
	unsigned relays;
};

/*
 * Takes the connection `fd` over, which a thread of its own serves from then
 * on: 0, or -errno when that cannot be.  `relays` counts it until its end.
 */
int wfs_tls_relay(struct wfs_tls *tls, int fd);

#endif
