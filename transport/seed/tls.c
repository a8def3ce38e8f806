/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS in front of the HTTP server, see tls.h.
 */
#include "transport/seed/tls_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "core/base/log.h"
#include "core/base/mem.h"

#define PEM_BYTES_MAX (1024 * 1024)
#define NO_ROOM_MS    100 /* to wait when there is no descriptor, no thread */

static int read_pem(const char *path, const char *what,
		    gnutls_datum_t *ret_text, struct wfs_err *err)
{
	char *text;
	size_t len;
	int rc = wfs_file_slurp(path, PEM_BYTES_MAX, &text, &len);

	if (rc)
		return wfs_err_set(err, rc, "cannot read %s '%s': %s", what,
				   path, strerror(-rc));
	ret_text->data = (unsigned char *)text;
	ret_text->size = (unsigned)len;
	return 0;
}

static int load(struct wfs_tls *tls, struct wfs_err *err)
{
	const struct wfs_tls_config *config = &tls->config;
	gnutls_datum_t cert = { 0 }, key = { 0 }, ca = { 0 };
	int rc = read_pem(config->cert, "certificate", &cert, err);

	if (!rc)
		rc = read_pem(config->key, "key", &key, err);
	if (!rc && config->client_ca)
		rc = read_pem(config->client_ca, "authorities", &ca, err);
	if (!rc) {
		int bad = gnutls_certificate_set_x509_key_mem(
			tls->credentials, &cert, &key, GNUTLS_X509_FMT_PEM);

		if (bad < 0)
			rc = wfs_err_set(err, -EINVAL,
					 "'%s' and '%s' must be a certificate "
					 "and its key, both PEM: %s",
					 config->cert, config->key,
					 gnutls_strerror(bad));
	}
	if (!rc && config->client_ca &&
	    gnutls_certificate_set_x509_trust_mem(tls->credentials, &ca,
						  GNUTLS_X509_FMT_PEM) <= 0)
		rc = wfs_err_set(err, -EINVAL,
				 "there is no certificate (PEM) in '%s'",
				 config->client_ca);
	free(cert.data);
	free(key.data);
	free(ca.data);
	return rc;
}

int wfs_tls_new(const struct wfs_tls_config *config, struct wfs_tls **ret_tls,
		struct wfs_err *err)
{
	struct wfs_tls *tls = wfs_calloc(1, sizeof(*tls));
	int rc = 0;

	tls->config = *config;
	pthread_mutex_init(&tls->lock, NULL);
	pthread_cond_init(&tls->quiet, NULL);
	tls->stop = eventfd(0, EFD_CLOEXEC);
	if (tls->stop < 0)
		rc = wfs_err_set(err, -errno, "cannot make an eventfd: %s",
				 strerror(errno));
	else if (gnutls_certificate_allocate_credentials(&tls->credentials))
		rc = wfs_err_set(err, -ENOMEM, "no memory for TLS");
	else
		rc = load(tls, err);
	if (rc) {
		wfs_tls_free(tls);
		return rc;
	}
	*ret_tls = tls;
	return 0;
}

static void *run(void *arg)
{
	struct wfs_tls *tls = arg;
	struct pollfd fds[2] = { { .fd = tls->listener, .events = POLLIN },
				 { .fd = tls->stop, .events = POLLIN } };

	for (;;) {
		int fd;

		poll(fds, 2, -1);
		if (fds[1].revents)
			return NULL;
		fd = accept4(tls->listener, NULL, NULL,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0 && wfs_clients_full(tls->config.clients)) {
			close(fd);
			continue;
		}
		if (fd >= 0 ? wfs_tls_relay(tls, fd) :
			      errno == EMFILE || errno == ENFILE)
			poll(&fds[1], 1, NO_ROOM_MS);
	}
}

int wfs_tls_start(struct wfs_tls *tls, int listener)
{
	int rc;

	tls->listener = listener;
	/* accept4 must not wait for one that is gone again. */
	fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK);
	rc = pthread_create(&tls->thread, NULL, run, tls);
	tls->started = rc == 0;
	return -rc;
}

void wfs_tls_quiesce(struct wfs_tls *tls)
{
	if (!tls->started)
		return;
	eventfd_write(tls->stop, 1);
	pthread_join(tls->thread, NULL);
	tls->started = false;
}

void wfs_tls_free(struct wfs_tls *tls)
{
	if (!tls)
		return;
	wfs_tls_quiesce(tls);
	pthread_mutex_lock(&tls->lock);
	while (tls->relays)
		pthread_cond_wait(&tls->quiet, &tls->lock);
	pthread_mutex_unlock(&tls->lock);
	if (tls->credentials)
		gnutls_certificate_free_credentials(tls->credentials);
	if (tls->stop >= 0)
		close(tls->stop);
	pthread_cond_destroy(&tls->quiet);
	pthread_mutex_destroy(&tls->lock);
	free(tls);
}
