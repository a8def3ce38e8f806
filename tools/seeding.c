/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `weightfs seed` and a mount that seeds have in common.
 */
#include "tools/seeding.h"

#include "core/base/log.h"
#include "core/base/text.h"
#include "tools/path.h"

static void complain(void *ctx, const char *text)
{
	/* In front the log is on stderr already. */
	wfs_daemon_tell(ctx, text);
}

int wfs_offer_first(const struct wfs_options *options,
		    const struct wfs_load_config *load,
		    struct wfs_daemon *daemon, struct wfs_registry *registry,
		    struct wfs_watch **ret_watch, struct wfs_err *err)
{
	struct wfs_watch_config config = {
		.registry = registry,
		.models_dir = options->models_dir,
		.models = options->models,
		.model_count = options->model_count,
		.rescan_ns = options->rescan_ns,
		.elsewhere = wfs_seeds_any(options),
		.load = *load,
		.complain = complain,
		.ctx = daemon,
	};
	int rc;

	*ret_watch = wfs_watch_new(&config);
	rc = wfs_watch_first(*ret_watch, err);
	if (rc == 0)
		wfs_registry_tick(registry);
	return rc;
}

int wfs_open_book(const char *dir, struct wfs_book **ret_book,
		  struct wfs_err *err)
{
	char *usual wfs_autofree = wfs_usual_cache("digests");
	struct wfs_book_config config = { .dir = dir };
	struct wfs_err why = { 0 };

	if (dir)
		return wfs_book_open(&config, ret_book, err);
	config.dir = usual;
	if (wfs_book_open(&config, ret_book, &why) == 0)
		return 0;
	wfs_warn("digests are computed anew after each start: %s", why.text);
	config.dir = NULL;
	return wfs_book_open(&config, ret_book, err);
}

static int lend(void *ctx, const uint8_t id[WFS_WIRE_ID_BYTES],
		uint64_t *ret_size)
{
	return wfs_seed_descriptor(ctx, id, ret_size);
}

/* Without it processes of this host are sent bytes like any other. */
static void open_lender(struct wfs_seeding *seeding)
{
	struct wfs_lender_config config = { .descriptor = lend,
					    .ctx = seeding->seed };
	struct wfs_err why = { 0 };

	if (wfs_lender_start(&config, &seeding->lender, &why)) {
		seeding->lender = NULL;
		wfs_info("no descriptors are lent on this host: %s", why.text);
		return;
	}
	wfs_seed_set_socket(seeding->seed, wfs_lender_path(seeding->lender));
}

static size_t list_regions(void *ctx, struct wfs_wire_region **ret_regions)
{
	return wfs_seed_regions(ctx, ret_regions);
}

static int read_chunk(void *ctx, const uint8_t id[WFS_WIRE_ID_BYTES],
		      uint64_t off, uint32_t len, void *buf,
		      uint8_t ret_digest[WFS_WIRE_HASH_SIZE])
{
	return wfs_seed_chunk(ctx, id, off, len, buf, ret_digest);
}

static int tell_rdma(void *ctx, const char *who, uint64_t session,
		     struct wfs_text *ret_text)
{
	return wfs_exporter_tell(ctx, who, session, ret_text);
}

static void measure_rdma(void *ctx, struct wfs_text *text)
{
	wfs_exporter_measure(ctx, text);
}

/* Asked for by hand, so that it must be had. */
static int open_exporter(const struct wfs_options *options,
			 struct wfs_seeding *seeding, struct wfs_err *err)
{
	struct wfs_export_stock stock = { .ctx = seeding->seed,
					  .list = list_regions,
					  .read = read_chunk };
	struct wfs_export_config config = { .stock = &stock,
					    .memory = options->rdma_memory };
	struct wfs_seed_fabric fabric = { .tell = tell_rdma,
					  .measure = measure_rdma };
	int rc;

	if (!options->rdma_memory)
		return 0;
	rc = wfs_exporter_open(&config, &seeding->exporter, err);
	if (rc)
		return wfs_err_prefix(err, "rdma_memory");
	fabric.ctx = seeding->exporter;
	wfs_seed_set_fabric(seeding->seed, &fabric);
	return 0;
}

int wfs_seeding_open(const struct wfs_options *options,
		     struct wfs_registry *registry,
		     const struct wfs_holder *holder, struct wfs_seeds *seeds,
		     struct wfs_seeding *ret_seeding, struct wfs_err *err)
{
	struct wfs_seeding seeding = { 0 };
	struct wfs_seed_config config = {
		.listen = options->listen,
		.token_file = options->token_file,
		.tls_cert = options->tls_cert,
		.tls_key = options->tls_key,
		.tls_client_ca = options->tls_client_ca,
		.insecure = options->insecure,
		.rate = options->rate,
		.connections = options->connections,
		.per_client = options->per_client,
		.stall_timeout_ns = options->client_timeout_ns,
		.header_timeout_ns = options->client_timeout_ns,
		.holder = holder,
		.measure = seeds ? wfs_seeds_measure_open : NULL,
		.measure_ctx = seeds,
	};
	int rc = wfs_open_book(options->digest_cache, &seeding.book, err);

	if (rc)
		return rc;
	config.book = seeding.book;
	rc = wfs_seed_open(&config, registry, &seeding.seed, err);
	if (!rc)
		rc = open_exporter(options, &seeding, err);
	if (rc) {
		wfs_seeding_close(&seeding);
		return rc;
	}
	if (options->same_host)
		open_lender(&seeding);
	*ret_seeding = seeding;
	return 0;
}

int wfs_seeding_start(struct wfs_seeding *seeding, struct wfs_err *err)
{
	int rc = wfs_seed_start(seeding->seed, err);

	if (!rc && seeding->exporter)
		rc = wfs_exporter_start(seeding->exporter, err);
	return rc;
}

void wfs_seeding_close(struct wfs_seeding *seeding)
{
	wfs_lender_stop(seeding->lender);
	/* Its threads read of the seed, which tells of it. */
	wfs_exporter_stop(seeding->exporter);
	wfs_seed_close(seeding->seed);
	wfs_exporter_close(seeding->exporter);
	wfs_book_close(seeding->book);
	*seeding = (struct wfs_seeding){ 0 };
}
