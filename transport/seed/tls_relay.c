/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection with TLS: what is encrypted on one side is plain on the
 * other, where the HTTP server has it.
 */
#include "transport/seed/tls_inner.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/hex.h"
#include "core/base/log.h"
#include "core/base/mem.h"

#define BUFFER_BYTES 65536
#define PRIORITIES   "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* One connection. */
struct relay {
	struct wfs_tls *tls;
	struct wfs_client *client; /* owns the descriptor below */
	int fd;			   /* encrypted */
	int pair[2];		   /* plain: ours, the server's */
	gnutls_session_t session;
	bool over;
	size_t in_len, in_at, out_len, out_at;
	char in[BUFFER_BYTES], out[BUFFER_BYTES]; /* from and to the client */
};

static int open_session(struct relay *relay)
{
	const struct wfs_tls *tls = relay->tls;
	int rc = gnutls_init(&relay->session, GNUTLS_SERVER | GNUTLS_NONBLOCK |
						      GNUTLS_NO_SIGNAL);

	if (rc) {
		relay->session = NULL;
		return rc;
	}
	gnutls_transport_set_int(relay->session, relay->fd);
	rc = gnutls_priority_set_direct(relay->session, PRIORITIES, NULL);
	if (!rc)
		rc = gnutls_credentials_set(relay->session,
					    GNUTLS_CRD_CERTIFICATE,
					    tls->credentials);
	if (tls->config.client_ca)
		gnutls_certificate_server_set_request(relay->session,
						      GNUTLS_CERT_REQUEST);
	return rc;
}

/* Waits for what the session waits for. */
static void wait_session(const struct relay *relay)
{
	struct pollfd poll_fd = {
		.fd = relay->fd,
		.events = gnutls_record_get_direction(relay->session) ?
				  POLLOUT :
				  POLLIN,
	};

	poll(&poll_fd, 1, -1);
}

/*
 * Whose it is: its subject, or where that is long (or none) the SHA-256 of its
 * key, so that two are never taken for one.
 */
static bool identify(struct relay *relay)
{
	char *identity = relay->client->identity, name[128];
	const gnutls_datum_t *chain =
		gnutls_certificate_get_peers(relay->session, NULL);
	size_t len = sizeof(name);
	gnutls_x509_crt_t crt;
	uint8_t sha256[32];
	char hex[65];

	if (!chain || gnutls_x509_crt_init(&crt))
		return false;
	if (!gnutls_x509_crt_import(crt, chain, GNUTLS_X509_FMT_DER) &&
	    !gnutls_x509_crt_get_dn(crt, name, &len) && len) {
		snprintf(identity, sizeof(relay->client->identity),
			 "certificate of '%s'", name);
	} else {
		len = sizeof(sha256);
		if (!gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256,
						sha256, &len))
			snprintf(identity, sizeof(relay->client->identity),
				 "certificate of key %s",
				 wfs_hex_format(sha256, sizeof(sha256), hex));
	}
	gnutls_x509_crt_deinit(crt);
	return identity[0] != '\0';
}

/* Has no deadline of its own: the keeper of the clients has. */
static int shake_hands(struct relay *relay)
{
	unsigned status = 0;
	int rc = open_session(relay);

	if (rc)
		return rc;
	while ((rc = gnutls_handshake(relay->session)) &&
	       !gnutls_error_is_fatal(rc))
		wait_session(relay);
	if (rc)
		return rc;
	relay->client->certified = relay->tls->config.client_ca &&
				   gnutls_certificate_verify_peers2(
					   relay->session, &status) == 0 &&
				   status == 0 && identify(relay);
	return 0;
}

/* From the client: what there is, if there is room. */
static void receive(struct relay *relay)
{
	ssize_t n;

	if (relay->in_len)
		return;
	n = gnutls_record_recv(relay->session, relay->in, sizeof(relay->in));
	if (n > 0) {
		relay->in_len = (size_t)n;
		relay->in_at = 0;
	} else if (n == 0 || gnutls_error_is_fatal((int)n)) {
		relay->over = true;
	}
}

/* … to the server. */
static void pass_in(struct relay *relay)
{
	ssize_t n;

	if (!relay->in_len)
		return;
	n = send(relay->pair[0], relay->in + relay->in_at, relay->in_len,
		 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0) {
		relay->in_at += (size_t)n;
		relay->in_len -= (size_t)n;
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		relay->over = true;
	}
}

/* From the server, and to the client. */
static void pass_out(struct relay *relay)
{
	ssize_t n;

	if (!relay->out_len) {
		n = recv(relay->pair[0], relay->out, sizeof(relay->out),
			 MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			relay->over = true;
		if (n <= 0)
			return;
		relay->out_len = (size_t)n;
		relay->out_at = 0;
	}
	n = gnutls_record_send(relay->session, relay->out + relay->out_at,
			       relay->out_len);
	if (n > 0) {
		relay->out_at += (size_t)n;
		relay->out_len -= (size_t)n;
	} else if (n < 0 && gnutls_error_is_fatal((int)n)) {
		relay->over = true;
	}
}

static void wait_both(const struct relay *relay)
{
	struct pollfd fds[2] = { { .fd = relay->fd },
				 { .fd = relay->pair[0] } };

	/* What the session has decrypted already, no descriptor tells of. */
	if (!relay->in_len && gnutls_record_check_pending(relay->session))
		return;
	fds[0].events = (short)((relay->in_len ? 0 : POLLIN) |
				(relay->out_len ? POLLOUT : 0));
	fds[1].events = (short)((relay->in_len ? POLLOUT : 0) |
				(relay->out_len ? 0 : POLLIN));
	poll(fds, 2, -1);
	/* A descriptor that is only broken would make this spin. */
	if ((!fds[0].events && fds[0].revents) ||
	    (!fds[1].events && fds[1].revents))
		shutdown(relay->fd, SHUT_RDWR);
}

static void carry(struct relay *relay)
{
	while (!relay->over) {
		wait_both(relay);
		receive(relay);
		pass_in(relay);
		pass_out(relay);
	}
	gnutls_bye(relay->session, GNUTLS_SHUT_WR);
}

static void end(struct relay *relay)
{
	struct wfs_tls *tls = relay->tls;

	if (relay->session)
		gnutls_deinit(relay->session);
	shutdown(relay->fd, SHUT_RDWR);
	close(relay->pair[0]);
	if (relay->pair[1] >= 0)
		close(relay->pair[1]);
	wfs_client_release(tls->config.clients, relay->client);
	free(relay);
	pthread_mutex_lock(&tls->lock);
	if (--tls->relays == 0)
		pthread_cond_broadcast(&tls->quiet);
	pthread_mutex_unlock(&tls->lock);
}

static void *run_relay(void *arg)
{
	struct relay *relay = arg;
	const struct wfs_tls_config *config = &relay->tls->config;
	int rc = shake_hands(relay);

	if (rc) {
		wfs_debug("no TLS with a client: %s", gnutls_strerror(rc));
		end(relay);
		return NULL;
	}
	wfs_client_lend(config->clients, relay->client, relay->pair[1]);
	rc = config->add(config->ctx, wfs_steal_fd(&relay->pair[1]));
	if (rc == 0)
		carry(relay);
	else
		wfs_client_give_back(config->clients, relay->client);
	end(relay);
	return NULL;
}

int wfs_tls_relay(struct wfs_tls *tls, int fd)
{
	struct relay *relay = wfs_malloc(sizeof(*relay));
	pthread_t thread;
	int rc = 0;

	memset(relay, 0, offsetof(struct relay, in));
	relay->tls = tls;
	relay->fd = fd;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, relay->pair)) {
		rc = -errno;
		free(relay);
		close(fd);
		return rc;
	}
	relay->client = wfs_client_add(tls->config.clients, fd, true);
	pthread_mutex_lock(&tls->lock);
	tls->relays++;
	pthread_mutex_unlock(&tls->lock);
	rc = -pthread_create(&thread, NULL, run_relay, relay);
	if (rc)
		end(relay);
	else
		pthread_detach(thread);
	return rc;
}
