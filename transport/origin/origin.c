/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listing as a source: one fetch with one peer, the server.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/secret.h"
#include "core/base/text.h"
#include "core/digest/sign.h"
#include "transport/origin/inner.h"
#include "transport/origin/s3.h"

#define LANES	    8
#define SEED_PATH   "/v1/models/"
#define TOKEN_MAX   8192
#define DEADLINE_NS (60 * 1000000000ull)

bool wfs_origin_is_url(const char *text)
{
	const char *path;

	if (wfs_s3_is_url(text))
		return true;
	if (!strncmp(text, "http://", 7))
		text += 7;
	else if (!strncmp(text, "https://", 8))
		text += 8;
	else
		return false;
	path = strchr(text, '/');
	/* What a user's name and password are in is no URL to show around. */
	return path && path[1] && !memchr(text, '@', (size_t)(path - text)) &&
	       strncmp(path, SEED_PATH, strlen(SEED_PATH)) != 0;
}

static int open_aws(struct wfs_origins *o,
		    const struct wfs_origins_config *config,
		    struct wfs_err *err)
{
	struct wfs_aws_config aws = {
		.endpoint = config->s3_endpoint,
		.region = config->s3_region,
		.profile = config->s3_profile,
		.credentials_file = config->s3_credentials,
		.stop = &o->stop,
	};

	return wfs_aws_open(&aws, &o->aws, err);
}

int wfs_origins_open(const struct wfs_origins_config *config,
		     struct wfs_origins **ret_origins, struct wfs_err *err)
{
	struct wfs_origins *o;
	char *token = NULL;
	int rc;

	if (config->token_file) {
		rc = wfs_token_read(config->token_file, TOKEN_MAX, &token, err);
		if (rc)
			return rc;
	}
	o = wfs_calloc(1, sizeof(*o));
	o->token = token;
	o->ca_file = wfs_strdup_or_null(config->ca_file);
	o->trust_key = wfs_strdup_or_null(config->trust_key);
	o->lanes = config->lanes ? config->lanes : LANES;
	o->deadline_ns = config->deadline_ns ? config->deadline_ns :
					       DEADLINE_NS;
	pthread_mutex_init(&o->lock, NULL);
	/* Not thread-safe where libcurl is old: not by the first lane. */
	curl_global_init(CURL_GLOBAL_DEFAULT);
	rc = config->s3 ? open_aws(o, config, err) : 0;
	if (rc) {
		wfs_origins_close(o);
		return rc;
	}
	*ret_origins = o;
	return 0;
}

void wfs_origins_stop(struct wfs_origins *origins)
{
	if (!origins)
		return;
	atomic_store(&origins->stop, true);
	pthread_mutex_lock(&origins->lock);
	for (struct origin *o = origins->sources; o; o = o->next)
		wfs_fetch_stop(o->fetch);
	pthread_mutex_unlock(&origins->lock);
}

void wfs_origins_close(struct wfs_origins *origins)
{
	if (!origins)
		return;
	pthread_mutex_destroy(&origins->lock);
	wfs_aws_close(origins->aws);
	wfs_token_free(origins->token);
	free(origins->ca_file);
	free(origins->trust_key);
	free(origins);
}

void wfs_origin_tell(struct wfs_origins *origins, const char *fmt, ...)
{
	char text[WFS_ERR_TEXT];
	uint64_t hash;
	bool told = false;
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	hash = wfs_hash(text, strlen(text), WFS_HASH_SEED);
	pthread_mutex_lock(&origins->lock);
	for (unsigned i = 0; i < TOLD_MAX; i++)
		told |= origins->told[i] == hash;
	if (!told)
		origins->told[origins->told_next++ % TOLD_MAX] = hash;
	pthread_mutex_unlock(&origins->lock);
	if (!told && !atomic_load(&origins->stop))
		wfs_error("%s", text);
}

static const struct wfs_source_entry *origin_list(struct wfs_source *src,
						  size_t *ret_count)
{
	struct origin *o = (struct origin *)src;

	*ret_count = o->entry_count;
	return o->entries;
}

static int origin_read(struct wfs_region *region, void *buf, size_t len,
		       uint64_t off)
{
	struct origin_region *r = (struct origin_region *)region;
	struct origin *o = (struct origin *)region->source;
	int rc;

	if (r->bytes) {
		memcpy(buf, r->bytes + off, len);
		return 0;
	}
	rc = o->proof ? wfs_origin_await_list(o, r) : 0;
	return rc ? rc : wfs_far_read(r->far, buf, len, off);
}

static const uint8_t *origin_tree(struct wfs_source *src)
{
	const struct origin *o = (struct origin *)src;

	return o->proof ? wfs_origin_proof_root(o->proof) : NULL;
}

static enum wfs_trust origin_trust(struct wfs_region *region)
{
	const struct origin *o = (struct origin *)region->source;

	return o->proof ? wfs_origin_proof_trust(o->proof) : WFS_TRUST_ORIGIN;
}

static void free_origin(struct origin *o)
{
	for (size_t i = 0; o->regions && i < o->listing.count; i++)
		wfs_far_free(o->regions[i].far);
	wfs_origin_part(o);
	wfs_fetch_free(o->fetch);
	wfs_origin_forget_others(o);
	for (size_t i = 0; i < o->dir_count; i++)
		free(o->dirs[i]);
	free(o->dirs);
	free(o->regions);
	free(o->entries);
	wfs_web_listing_clear(&o->listing);
	wfs_origin_proof_free(o->proof);
	pthread_mutex_destroy(&o->list_lock);
	pthread_mutex_destroy(&o->join_lock);
	free(o->site.base);
	free(o->site.label);
	free(o->site.bucket);
	free(o->site.bucket_url);
	free(o);
}

static void origin_close(struct wfs_source *src)
{
	struct origin *o = (struct origin *)src, **at;

	pthread_mutex_lock(&o->origins->lock);
	for (at = &o->origins->sources; *at && *at != o; at = &(*at)->next)
		;
	if (*at)
		*at = o->next;
	pthread_mutex_unlock(&o->origins->lock);
	free_origin(o);
}

static const struct wfs_source_ops origin_ops = {
	.name = "origin",
	.far = true,
	.trust = origin_trust,
	.tree = origin_tree,
	.list = origin_list,
	.read = origin_read,
	.close = origin_close,
};

bool wfs_origin_is_source(const struct wfs_source *source)
{
	return source->ops == &origin_ops;
}

/*
 * The directories that the paths tell of, each once: paths that begin alike
 * follow each other.
 */
static void find_dirs(struct origin *o)
{
	const char *last = "";

	for (size_t i = 0; i < o->listing.count; i++) {
		const char *path = o->listing.files[i].path;

		for (const char *slash = strchr(path, '/'); slash;
		     slash = strchr(slash + 1, '/')) {
			size_t len = (size_t)(slash - path);

			if (!strncmp(last, path, len + 1))
				continue;
			o->dirs = wfs_realloc(o->dirs, (o->dir_count + 1) *
							       sizeof(char *));
			o->dirs[o->dir_count++] =
				wfs_asprintf("%.*s", (int)len, path);
		}
		last = path;
	}
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct wfs_source_entry *)a)->path,
		      ((const struct wfs_source_entry *)b)->path);
}

static uint64_t hash_text(const char *text, uint64_t seed)
{
	return wfs_hash(text, strlen(text) + 1, seed);
}

static void fill_file(struct origin *o, size_t i,
		      struct wfs_source_entry *entry)
{
	const struct wfs_web_file *file = &o->listing.files[i];
	struct origin_region *r = &o->regions[i];

	r->base.source = &o->base;
	r->base.path = file->path;
	r->base.size = file->size;
	r->far = wfs_far_new(o->fetch, o->site.label, file->path, file->size);
	if (o->proof)
		r->bytes = wfs_origin_proof_bytes(o->proof, file->path);
	entry->path = file->path;
	entry->region = &r->base;
	entry->st.st_mode = S_IFREG | 0444;
	entry->st.st_size = (off_t)file->size;
	entry->st.st_blocks = (blkcnt_t)((file->size + 511) / 512);
	entry->st.st_mtim = entry->st.st_ctim = entry->st.st_atim = file->mtime;
	/* The model's fingerprint is made of this: another tag, another. */
	entry->st.st_ino = hash_text(
		file->etag, hash_text(file->modified,
				      hash_text(file->path, WFS_HASH_SEED)));
}

static void fill_entries(struct origin *o)
{
	size_t n = 0;

	find_dirs(o);
	o->entry_count = o->dir_count + o->listing.count;
	o->entries = wfs_calloc(o->entry_count + 1, sizeof(*o->entries));
	o->regions = wfs_calloc(o->listing.count + 1, sizeof(*o->regions));
	for (size_t i = 0; i < o->dir_count; i++) {
		struct wfs_source_entry *entry = &o->entries[n++];

		entry->path = o->dirs[i];
		entry->st.st_mode = S_IFDIR | 0555;
	}
	for (size_t i = 0; i < o->listing.count; i++)
		fill_file(o, i, &o->entries[n++]);
	for (size_t i = 0; i < n; i++) {
		o->entries[i].st.st_nlink = 1;
		o->entries[i].st.st_blksize = 4096;
	}
	qsort(o->entries, n, sizeof(*o->entries), by_path);
}

/* A path that is a file's and a directory's would be two things at once. */
static int check_entries(const struct origin *o, struct wfs_err *err)
{
	for (size_t i = 1; i < o->entry_count; i++) {
		if (!strcmp(o->entries[i - 1].path, o->entries[i].path))
			return wfs_err_set(err, -EBADMSG,
					   "'%s' has '%s' as a file and as a "
					   "directory",
					   o->site.label, o->entries[i].path);
	}
	return 0;
}

static int start_fetch(struct origin *o, struct wfs_err *err)
{
	struct wfs_fetch_config config = {
		.deadline_ns = o->origins->deadline_ns,
		.differs = wfs_origin_differs,
	};
	unsigned lanes = o->listing.no_ranges ? 1 : o->origins->lanes;
	int rc;

	wfs_fetch_new(&config, &o->fetch);
	rc = wfs_peer_add(o->fetch, o->site.label, &wfs_origin_lane_ops, o,
			  lanes, &o->peer);
	if (rc)
		return wfs_err_set(err, rc, "cannot start threads: %s",
				   strerror(-rc));
	fill_entries(o);
	for (size_t i = 0; i < o->listing.count; i++) {
		uint8_t id[WFS_WIRE_ID_BYTES];

		wfs_origin_id(i, id);
		wfs_far_hold(o->regions[i].far, o->peer, id);
	}
	return check_entries(o, err);
}

static void find_site(struct origin *o, const char *url)
{
	size_t len = strcspn(url, "?#");

	o->site.ca_file = o->origins->ca_file;
	o->site.stop = &o->origins->stop;
	if (wfs_s3_is_url(url)) {
		o->site.aws = o->origins->aws;
		wfs_s3_site(url, &o->site);
		return;
	}
	o->site.token = o->origins->token;
	o->site.base = wfs_asprintf("%.*s%s", (int)len, url,
				    url[len - 1] == '/' ? "" : "/");
	o->site.label = wfs_strdup(o->site.base);
}

int wfs_origin_source(struct wfs_origins *origins, const char *url,
		      const uint8_t *root, struct wfs_source **ret_source,
		      struct wfs_err *err)
{
	struct origin *o = wfs_calloc(1, sizeof(*o));
	char *label wfs_autofree = NULL;
	int rc;

	o->origins = origins;
	pthread_mutex_init(&o->list_lock, NULL);
	pthread_mutex_init(&o->join_lock, NULL);
	find_site(o, url);
	rc = o->site.aws ? wfs_s3_list(&o->site, &o->listing, err) :
			   wfs_web_list(&o->site, &o->listing, err);
	if (!rc && (root || origins->trust_key))
		rc = wfs_origin_prove(o, root, err);
	if (!rc)
		rc = start_fetch(o, err);
	if (rc) {
		free_origin(o);
		return rc;
	}
	label = wfs_asprintf("%.*s", (int)strlen(o->site.label) - 1,
			     o->site.label);
	wfs_source_init(&o->base, &origin_ops, label);
	pthread_mutex_lock(&origins->lock);
	o->next = origins->sources;
	origins->sources = o;
	if (atomic_load(&origins->stop))
		wfs_fetch_stop(o->fetch);
	pthread_mutex_unlock(&origins->lock);
	*ret_source = &o->base;
	return 0;
}
