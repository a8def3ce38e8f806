/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seed of <weightfs/seed.h>: an ordinary one, over the memory of this
 * process, whose threads stay out of its way.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "core/base/mem.h"
#include "tools/lib/seed_inner.h"
#include "transport/live/direct.h"

#define LISTEN	    "127.0.0.1:0"
#define NICE	    10
#define NICE_MAX    19
#define CONNECTIONS 64
#define THREADS	    1

int wfs_face_check(const struct weightfs_seed *seed, struct wfs_err *err)
{
	return wfs_forkable_is_ours(&seed->forkable) ?
		       0 :
		       wfs_err_set(err, -ECHILD,
				   "this process was forked from the one that "
				   "serves: it may make a seed of its own");
}

static uint64_t held(void *ctx, struct wfs_region *region)
{
	(void)ctx;
	return region->size;
}

static bool holds(void *ctx, struct wfs_region *region, uint64_t off,
		  uint64_t len)
{
	(void)ctx;
	(void)off;
	(void)len;
	return wfs_live_holds(region);
}

static void put_bounce(void *own)
{
	wfs_bounce_put(own);
}

static int take(void *ctx, struct wfs_region *region, uint64_t off, size_t len,
		struct wfs_stretch *ret_stretch)
{
	struct wfs_bounce *bounce;
	int rc;

	(void)ctx;
	if (len > WFS_CHUNK)
		len = WFS_CHUNK;
	rc = wfs_live_take(region, off, len, &bounce);
	if (rc)
		return rc;
	*ret_stretch = (struct wfs_stretch){
		.len = len,
		.fd = -1,
		.bytes = bounce->bytes,
		.release = put_bounce,
		.own = bounce,
	};
	return 0;
}

static ssize_t send_direct(void *own, int socket, size_t at, size_t len)
{
	return wfs_live_direct_send(own, socket, at, len);
}

static void free_direct(void *own)
{
	wfs_live_direct_free(own);
}

static int direct(void *ctx, struct wfs_region *region, uint64_t off,
		  size_t len, struct wfs_stretch *ret_stretch)
{
	struct wfs_live_direct *chunk = wfs_live_direct_new(region, off, len);

	(void)ctx;
	if (!chunk)
		return -ENOTSUP;
	*ret_stretch = (struct wfs_stretch){
		.len = len,
		.fd = -1,
		.send = send_direct,
		.release = free_direct,
		.own = chunk,
	};
	return 0;
}

/* A copy of what the caller knows of the options. */
static int read_options(const struct weightfs_seed_options *options,
			struct weightfs_seed_options *ret, struct wfs_err *err)
{
	struct weightfs_seed_options known = { 0 };
	int rc = options ? wfs_face_take(options, "options", &known,
					 sizeof(known), err) :
			   0;

	if (rc)
		return rc;
	if (known.nice < 0 || known.nice > NICE_MAX)
		return wfs_err_set(err, -EINVAL, "nice %d is none of 1 to %d",
				   known.nice, NICE_MAX);
	if (!known.listen)
		known.listen = LISTEN;
	if (!known.nice)
		known.nice = NICE;
	if (!known.threads)
		known.threads = THREADS;
	if (!known.connections)
		known.connections = CONNECTIONS;
	*ret = known;
	return 0;
}

static uint16_t port_of(const char *url)
{
	return (uint16_t)strtoul(strrchr(url, ':') + 1, NULL, 10);
}

static int open_memory(const struct weightfs_seed_options *options,
		       struct weightfs_seed *seed, struct wfs_err *err)
{
	static const struct wfs_book_config kept_nowhere;
	int rc = wfs_bounces_new(&seed->bounces, err);

	if (!rc && options->digests)
		rc = wfs_book_open(&kept_nowhere, &seed->book, err);
	return rc;
}

static int open_seed(const struct weightfs_seed_options *options,
		     struct weightfs_seed *seed, struct wfs_err *err)
{
	static const struct wfs_holder holder = {
		.held = held,
		.holds = holds,
		.take = take,
		.direct = direct,
	};
	struct wfs_seed_config config = {
		.listen = options->listen,
		.token_file = options->token_file,
		.tls_cert = options->tls_cert,
		.tls_key = options->tls_key,
		.tls_client_ca = options->tls_client_ca,
		.insecure = options->insecure != 0,
		.rate = options->rate,
		.senders = options->threads,
		.book = seed->book,
		.connections = options->connections,
		.per_client = options->connections,
		/* Its memory is not what it was: nothing to linger for. */
		.linger_ns = 1,
		.holder = &holder,
	};
	int rc;

	seed->registry = wfs_registry_new(0);
	rc = wfs_seed_open(&config, seed->registry, &seed->served, err);
	if (rc)
		return rc;
	seed->forkable.bounces = seed->bounces;
	seed->forkable.port = port_of(wfs_seed_url(seed->served));
	return 0;
}

/* What the thread that starts the others is told. */
struct start {
	struct weightfs_seed *seed;
	int nice;
	struct wfs_err *err;
	int rc;
};

/*
 * Threads have their priority and the signals that they take from who starts
 * them: ours are behind all others, and take none.
 */
static void *start(void *arg)
{
	struct start *it = arg;
	struct sched_param param = { 0 };
	sigset_t every;

	sigfillset(&every);
	pthread_sigmask(SIG_BLOCK, &every, NULL);
	/* Where it is not permitted they are as the others are. */
	pthread_setschedparam(pthread_self(), SCHED_BATCH, &param);
	setpriority(PRIO_PROCESS, 0, it->nice); /* 0: of this thread alone */
	it->rc = wfs_seed_start(it->seed->served, it->err);
	if (!it->rc && it->seed->exporter)
		it->rc = wfs_exporter_start(it->seed->exporter, it->err);
	return NULL;
}

static int start_seed(struct weightfs_seed *seed, int nice, struct wfs_err *err)
{
	struct start it = { .seed = seed, .nice = nice, .err = err };
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, start, &it);

	if (rc)
		return wfs_err_set(err, -rc, "cannot start a thread: %s",
				   strerror(rc));
	pthread_join(thread, NULL);
	return it.rc;
}

static void free_seed(struct weightfs_seed *seed)
{
	/* Nobody asks the exporter any more, nor is anything told by it. */
	wfs_seed_close(wfs_steal_ptr(&seed->served));
	while (seed->models)
		weightfs_seed_model_free(seed->models);
	wfs_exporter_close(seed->exporter);
	wfs_registry_free(seed->registry);
	/* Its thread may be in the middle of memory that was revoked. */
	wfs_book_close(seed->book);
	wfs_bounces_free(seed->bounces);
	wfs_gpu_reader_close(seed->gpus);
	pthread_mutex_destroy(&seed->lock);
	free(seed);
}

int weightfs_seed_new(const struct weightfs_seed_options *options,
		      struct weightfs_seed **ret_seed)
{
	struct wfs_err *err = wfs_face_err();
	struct weightfs_seed_options known = { 0 };
	struct weightfs_seed *seed;
	int rc = read_options(options, &known, err);

	if (rc)
		return rc;
	seed = wfs_calloc(1, sizeof(*seed));
	pthread_mutex_init(&seed->lock, NULL);
	rc = open_memory(&known, seed, err);
	if (!rc)
		rc = open_seed(&known, seed, err);
	if (!rc)
		rc = wfs_face_open_rdma(seed, known.rdma, err);
	if (!rc) {
		wfs_forkable_add(&seed->forkable);
		rc = start_seed(seed, known.nice, err);
		if (rc)
			wfs_forkable_remove(&seed->forkable);
	}
	if (rc)
		free_seed(seed);
	else
		*ret_seed = seed;
	return rc;
}

const char *weightfs_seed_url(const struct weightfs_seed *seed)
{
	return wfs_seed_url(seed->served);
}

void weightfs_seed_free(struct weightfs_seed *seed)
{
	/* In a child its threads are not there, and its locks may be held. */
	if (!seed || !wfs_forkable_is_ours(&seed->forkable))
		return;
	wfs_forkable_remove(&seed->forkable);
	free_seed(seed);
}
