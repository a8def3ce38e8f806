/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seed's life, and what it tells libmicrohttpd.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "core/base/log.h"
#include "transport/seed/inner.h"

#define NS_PER_S      1000000000ull
#define CONNECTIONS   256
#define PER_CLIENT    64
#define HEADER_NS     (20 * NS_PER_S)
#define STALL_NS      (30 * NS_PER_S)
#define STALL_MAX     (24 * 3600 * NS_PER_S) /* poll(2) counts in an int */
#define LINGER_NS     (60 * NS_PER_S)
#define SPARE	      16 /* connections that are only refused */
#define BACKSTOP_S    30 /* the keeper cuts off before, tells and counts */
#define HEADER_BYTES  (16 * 1024) /* of a request's head, and an answer's */
#define PEM_BYTES_MAX (1024 * 1024)

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
	return value ? value : otherwise;
}

static int add_connection(void *ctx, int fd)
{
	/* Nobody asks for it: a client has its own. */
	static const struct sockaddr address = { .sa_family = AF_UNIX };
	struct wfs_seed *seed = ctx;
	int rc = -ECANCELED;

	/* Not into a server that is being taken down. */
	pthread_mutex_lock(&seed->lock);
	if (atomic_load(&seed->stopping))
		close(fd);
	else
		rc = MHD_add_connection(seed->daemon, fd, &address,
					sizeof(address)) == MHD_YES ?
			     0 :
			     -EIO;
	pthread_mutex_unlock(&seed->lock);
	return rc;
}

static int open_tls(const struct wfs_seed_config *config, struct wfs_seed *seed,
		    struct wfs_err *err)
{
	struct wfs_tls_config tls = {
		.cert = config->tls_cert,
		.key = config->tls_key,
		.client_ca = config->tls_client_ca,
		.clients = &seed->clients,
		.add = add_connection,
		.ctx = seed,
	};

	if (!config->tls_cert != !config->tls_key)
		return wfs_err_set(err, -EINVAL,
				   "TLS needs both a certificate (tls_cert) "
				   "and its key (tls_key)");
	if (config->tls_client_ca && !config->tls_cert)
		return wfs_err_set(err, -EINVAL,
				   "tls_client_ca needs TLS: tls_cert and "
				   "tls_key");
	seed->mutual = config->tls_client_ca != NULL;
	return config->tls_cert ? wfs_tls_new(&tls, &seed->tls, err) : 0;
}

static int read_files(const struct wfs_seed_config *config,
		      struct wfs_seed *seed, struct wfs_err *err)
{
	seed->has_token = config->token_file != NULL;
	if (config->token_file) {
		int rc = wfs_token_load(config->token_file, &seed->token, err);

		if (rc)
			return rc;
	}
	return open_tls(config, seed, err);
}

static int open_listener(const struct wfs_seed_config *config,
			 struct wfs_seed *seed, struct wfs_err *err)
{
	const char *at = config->listen ? config->listen : WFS_SEED_LISTEN;
	int rc = wfs_listener_open(at, &seed->listener, err);

	if (rc)
		return rc;
	snprintf(seed->url, sizeof(seed->url), "%s://%s",
		 seed->tls ? "https" : "http", seed->listener.name);
	if (seed->listener.loopback || seed->has_token || seed->mutual)
		return 0;
	if (config->insecure) {
		wfs_warn("'%s' is served to whoever gets there: there is no "
			 "token",
			 seed->url);
		return 0;
	}
	return wfs_err_set(err, -EPERM,
			   "'%s' can be reached from other machines: give a "
			   "token (token_file=FILE) or say 'insecure'",
			   seed->listener.name);
}

int wfs_seed_open(const struct wfs_seed_config *config,
		  struct wfs_registry *registry, struct wfs_seed **ret_seed,
		  struct wfs_err *err)
{
	struct wfs_seed *seed = wfs_calloc(1, sizeof(*seed));
	struct wfs_stock_config stock = {
		.registry = registry,
		.book = config->book,
		.holder = config->holder,
		.linger_ns = or_default(config->linger_ns, LINGER_NS),
	};
	int rc;

	seed->listener.fd = -1;
	seed->rate = wfs_rate_new(config->rate);
	seed->capped = config->rate != 0;
	wfs_turns_init(&seed->turns, config->senders);
	seed->measure = config->measure;
	seed->measure_ctx = config->measure_ctx;
	seed->stall_ns = or_default(config->stall_timeout_ns, STALL_NS);
	if (seed->stall_ns > STALL_MAX)
		seed->stall_ns = STALL_MAX;
	wfs_clients_init(&seed->clients);
	seed->clients.max =
		(unsigned)or_default(config->connections, CONNECTIONS);
	seed->clients.per_address =
		(unsigned)or_default(config->per_client, PER_CLIENT);
	seed->clients.spare = SPARE;
	seed->clients.header_ns =
		or_default(config->header_timeout_ns, HEADER_NS);
	seed->clients.stall_ns = seed->stall_ns;
	pthread_mutex_init(&seed->lock, NULL);
	pthread_cond_init(&seed->quiet, NULL);
	rc = read_files(config, seed, err);
	if (!rc)
		rc = open_listener(config, seed, err);
	if (!rc && wfs_stock_new(&stock, &seed->stock))
		rc = wfs_err_set(err, -EIO, "there is no randomness");
	if (rc) {
		wfs_seed_close(seed);
		return rc;
	}
	*ret_seed = seed;
	return 0;
}

int wfs_seed_descriptor(struct wfs_seed *seed,
			const uint8_t id[WFS_WIRE_ID_BYTES], uint64_t *ret_size)
{
	struct wfs_stock_model *model;
	struct wfs_stock_file *file;
	int fd, rc = wfs_stock_region(seed->stock, id, &model, &file);

	if (rc)
		return rc;
	fd = wfs_stock_lend(model, file);
	if (fd >= 0)
		*ret_size = file->region->size;
	wfs_stock_put(model);
	return fd;
}

void wfs_seed_set_socket(struct wfs_seed *seed, const char *path)
{
	wfs_stock_set_socket(seed->stock, path);
}

void wfs_seed_refresh(struct wfs_seed *seed)
{
	wfs_stock_refresh(seed->stock);
}

const char *wfs_seed_url(const struct wfs_seed *seed)
{
	return seed->url;
}

__attribute__((format(printf, 2, 0))) static void
log_http(void *cls, const char *fmt, va_list args)
{
	char text[512];

	(void)cls;
	vsnprintf(text, sizeof(text), fmt, args);
	text[strcspn(text, "\n")] = '\0';
	wfs_debug("http: %s", text);
}

static void note_connection(void *cls, struct MHD_Connection *connection,
			    void **own,
			    enum MHD_ConnectionNotificationCode code)
{
	struct wfs_seed *seed = cls;
	int fd;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (seed->tls)
			wfs_client_give_back(&seed->clients, *own);
		else
			wfs_client_release(&seed->clients, *own);
		return;
	}
	fd = MHD_get_connection_info(connection,
				     MHD_CONNECTION_INFO_CONNECTION_FD)
		     ->connect_fd;
	*own = seed->tls ? wfs_client_find(&seed->clients, fd) :
			   wfs_client_add(&seed->clients, fd, false);
}

static struct MHD_Daemon *start_http(struct wfs_seed *seed)
{
	unsigned flags = MHD_USE_POLL_INTERNAL_THREAD |
			 MHD_USE_THREAD_PER_CONNECTION | MHD_ALLOW_UPGRADE;
	struct MHD_OptionItem listen[] = {
		{ MHD_OPTION_LISTEN_SOCKET, seed->listener.fd, NULL },
		{ MHD_OPTION_END, 0, NULL },
	};

	if (seed->tls) {
		/* It would log three times a request that this is no TCP. */
		flags |= MHD_USE_NO_LISTEN_SOCKET;
		listen[0].option = MHD_OPTION_END;
	} else {
		flags |= MHD_USE_ERROR_LOG;
	}
	return MHD_start_daemon(
		flags, 0, NULL, NULL, wfs_seed_access, seed,
		MHD_OPTION_EXTERNAL_LOGGER, log_http, NULL,
		MHD_OPTION_CONNECTION_LIMIT, seed->clients.max + SPARE,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES,
		MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)(seed->stall_ns / NS_PER_S + BACKSTOP_S),
		MHD_OPTION_NOTIFY_COMPLETED, wfs_seed_completed, seed,
		MHD_OPTION_NOTIFY_CONNECTION, note_connection, seed,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, listen,
		MHD_OPTION_END);
}

/* Once a second: who is slow, and what is in stock. */
static void *keep(void *arg)
{
	struct wfs_seed *seed = arg;
	struct timespec when;

	pthread_mutex_lock(&seed->lock);
	while (!atomic_load(&seed->stopping)) {
		clock_gettime(CLOCK_REALTIME, &when);
		when.tv_sec++;
		pthread_cond_timedwait(&seed->quiet, &seed->lock, &when);
		pthread_mutex_unlock(&seed->lock);
		wfs_clients_look(&seed->clients, false);
		wfs_stock_refresh(seed->stock);
		pthread_mutex_lock(&seed->lock);
	}
	pthread_mutex_unlock(&seed->lock);
	return NULL;
}

int wfs_seed_start(struct wfs_seed *seed, struct wfs_err *err)
{
	int rc;

	seed->daemon = start_http(seed);
	if (!seed->daemon)
		return wfs_err_set(err, -EIO,
				   "cannot serve '%s': the HTTP server did not "
				   "start",
				   seed->url);
	rc = seed->tls ? -wfs_tls_start(seed->tls, seed->listener.fd) : 0;
	if (!rc)
		rc = pthread_create(&seed->keeper, NULL, keep, seed);
	if (rc)
		return wfs_err_set(err, -rc, "cannot start a thread: %s",
				   strerror(rc));
	seed->kept = true;
	return 0;
}

/* Nobody may be left in a stream when libmicrohttpd ends. */
static void end_streams(struct wfs_seed *seed)
{
	pthread_mutex_lock(&seed->lock);
	atomic_store(&seed->stopping, true);
	pthread_cond_broadcast(&seed->quiet);
	pthread_mutex_unlock(&seed->lock);
	wfs_rate_stop(seed->rate);
	wfs_stock_wake(seed->stock);
	if (seed->kept)
		pthread_join(seed->keeper, NULL);
	wfs_clients_look(&seed->clients, true);
	pthread_mutex_lock(&seed->lock);
	while (seed->streams)
		pthread_cond_wait(&seed->quiet, &seed->lock);
	pthread_mutex_unlock(&seed->lock);
}

void wfs_seed_close(struct wfs_seed *seed)
{
	if (!seed)
		return;
	if (seed->daemon) {
		if (seed->tls)
			wfs_tls_quiesce(seed->tls);
		else
			MHD_quiesce_daemon(seed->daemon);
		end_streams(seed);
		MHD_stop_daemon(seed->daemon);
	}
	wfs_tls_free(seed->tls);
	if (seed->listener.fd >= 0)
		close(seed->listener.fd);
	wfs_stock_free(seed->stock);
	wfs_rate_free(seed->rate);
	wfs_turns_destroy(&seed->turns);
	wfs_clients_clear(&seed->clients);
	pthread_cond_destroy(&seed->quiet);
	pthread_mutex_destroy(&seed->lock);
	free(seed);
}
