/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists and manifests, checked as they are read.
 */
#include "transport/remote/manifest.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/types.h>

#include "core/base/hex.h"
#include "core/base/ids.h"
#include "core/base/json.h"
#include "core/base/text.h"
#include "core/digest/digests.h"
#include "core/model/model.h"
#include "core/model/names.h"

#define PATH_BYTES 4095

/* A string without NULs, or NULL. */
static const char *text_of(yyjson_val *object, const char *key)
{
	yyjson_val *val = yyjson_obj_get(object, key);
	const char *text = yyjson_get_str(val);

	return text && strlen(text) == yyjson_get_len(val) ? text : NULL;
}

static int parse_hex(const char *text, uint8_t *bytes, size_t n)
{
	return text ? wfs_hex_parse(text, strlen(text), bytes, n) : -EINVAL;
}

int wfs_manifest_take_version(yyjson_val *object, char *ret_version)
{
	const char *text = text_of(object, "version");

	if (!text || !*text || strlen(text) >= WFS_VERSION_MAX)
		return -EINVAL;
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p > '~' || *p == '"' || *p == '\\')
			return -EINVAL;
	memcpy(ret_version, text, strlen(text) + 1);
	return 0;
}

/* What both texts begin with: an object of our protocol. */
static int check_top(yyjson_val *top, const char *what, struct wfs_err *err)
{
	yyjson_val *protocol = yyjson_obj_get(top, "protocol");
	yyjson_val *chunk = yyjson_obj_get(top, "chunk_bytes");

	if (!yyjson_is_obj(top) || !yyjson_is_uint(protocol))
		return wfs_err_set(err, -EBADMSG,
				   "%s: says no protocol: is it a seed?", what);
	if (yyjson_get_uint(protocol) != WFS_PROTOCOL)
		return wfs_err_set(
			err, -EPROTONOSUPPORT,
			"%s: the seed speaks protocol %llu, this "
			"node %d: use the same weightfs on both",
			what, (unsigned long long)yyjson_get_uint(protocol),
			WFS_PROTOCOL);
	if (yyjson_get_uint(chunk) != WFS_CHUNK)
		return wfs_err_set(err, -EBADMSG,
				   "%s: its chunks are not of %u bytes", what,
				   WFS_CHUNK);
	return 0;
}

static int by_name(const void *x, const void *y)
{
	const struct wfs_listed *a = x, *b = y;

	return strcmp(a->name, b->name);
}

/* The nodes that a model comes by; one that has it itself says nothing. */
static int parse_via(yyjson_val *nodes, char **ret_via)
{
	struct wfs_text text = { 0 };
	uint8_t id[WFS_NODE_ID_BYTES / 2];
	yyjson_arr_iter iter;
	yyjson_val *node;

	if (nodes &&
	    (!yyjson_is_arr(nodes) || yyjson_arr_size(nodes) > WFS_VIA_MAX))
		return -EINVAL;
	yyjson_arr_iter_init(nodes, &iter);
	while ((node = yyjson_arr_iter_next(&iter))) {
		const char *word = yyjson_get_str(node);

		if (parse_hex(word, id, sizeof(id))) {
			free(text.data);
			return -EINVAL;
		}
		wfs_text_add(&text, text.len ? " %s" : "%s", word);
	}
	*ret_via = text.data;
	return 0;
}

static int parse_listed(yyjson_val *val, const char *what,
			struct wfs_listed *ret, struct wfs_err *err)
{
	const char *name = text_of(val, "name");
	struct wfs_err why = { 0 };

	if (!name)
		return wfs_err_set(err, -EBADMSG, "%s: a model without a name",
				   what);
	if (wfs_model_name_check(name, &why))
		return wfs_err_set(err, -EBADMSG, "%s: %s", what, why.text);
	if (wfs_manifest_take_version(val, ret->version))
		return wfs_err_set(err, -EBADMSG,
				   "%s: model '%s' has no version", what, name);
	if (parse_via(yyjson_obj_get(val, "via"), &ret->via))
		return wfs_err_set(err, -EBADMSG,
				   "%s: model '%s' comes by what are no ids of "
				   "nodes, or by more than %d",
				   what, name, WFS_VIA_MAX);
	ret->name = wfs_strdup(name);
	return 0;
}

/* Where processes of its host may borrow from it; nobody has to say. */
static void parse_host(yyjson_val *host, struct wfs_listing *list)
{
	const char *boot_id = text_of(host, "boot_id");
	const char *socket = text_of(host, "socket");

	if (!boot_id || !socket || socket[0] != '/')
		return;
	list->boot_id = wfs_strdup(boot_id);
	list->socket = wfs_strdup(socket);
}

static int parse_models(yyjson_val *top, const char *what,
			struct wfs_listing *list, struct wfs_err *err)
{
	yyjson_val *models = yyjson_obj_get(top, "models"), *val;
	const char *node = text_of(top, "node");
	yyjson_arr_iter iter;

	if (!yyjson_is_arr(models) || yyjson_arr_size(models) > WFS_LISTED_MAX)
		return wfs_err_set(err, -EBADMSG,
				   "%s: has no list of models, or one of more "
				   "than %u",
				   what, WFS_LISTED_MAX);
	if (node && strlen(node) == 32)
		memcpy(list->node, node, 33);
	parse_host(yyjson_obj_get(top, "host"), list);
	list->rdma = yyjson_get_bool(yyjson_obj_get(top, "rdma"));
	list->models =
		wfs_calloc(yyjson_arr_size(models) + 1, sizeof(*list->models));
	yyjson_arr_iter_init(models, &iter);
	while ((val = yyjson_arr_iter_next(&iter))) {
		int rc = parse_listed(val, what, &list->models[list->count],
				      err);

		if (rc)
			return rc;
		list->count++;
	}
	qsort(list->models, list->count, sizeof(*list->models), by_name);
	for (size_t i = 1; i < list->count; i++)
		if (!strcmp(list->models[i - 1].name, list->models[i].name))
			return wfs_err_set(err, -EBADMSG,
					   "%s: model '%s' is listed twice",
					   what, list->models[i].name);
	return 0;
}

int wfs_listing_parse(char *text, size_t len, const char *what,
		      struct wfs_listing *ret, struct wfs_err *err)
{
	struct wfs_listing list = { 0 };
	yyjson_doc *doc;
	int rc = wfs_json_parse(text, len, what, &doc, err);

	if (rc)
		return rc;
	rc = check_top(yyjson_doc_get_root(doc), what, err);
	if (!rc)
		rc = parse_models(yyjson_doc_get_root(doc), what, &list, err);
	yyjson_doc_free(doc);
	if (rc)
		wfs_listing_clear(&list);
	else
		*ret = list;
	return rc;
}

void wfs_listing_clear(struct wfs_listing *listing)
{
	for (size_t i = 0; i < listing->count; i++) {
		free(listing->models[i].name);
		free(listing->models[i].via);
	}
	free(listing->models);
	free(listing->boot_id);
	free(listing->socket);
	*listing = (struct wfs_listing){ 0 };
}

/* [seconds, nanoseconds] */
static int parse_time(yyjson_val *val, struct timespec *ret)
{
	yyjson_val *s = yyjson_arr_get(val, 0), *ns = yyjson_arr_get(val, 1);

	if (yyjson_arr_size(val) != 2 || !yyjson_is_int(s) ||
	    !yyjson_is_uint(ns) || yyjson_get_uint(ns) > 999999999 ||
	    (yyjson_is_uint(s) && yyjson_get_uint(s) > INT64_MAX))
		return -EINVAL;
	ret->tv_sec = (time_t)yyjson_get_sint(s);
	ret->tv_nsec = (long)yyjson_get_uint(ns);
	return 0;
}

static int parse_region(yyjson_val *val, struct wfs_manifest_file *file)
{
	yyjson_val *size = yyjson_obj_get(val, "size");
	yyjson_val *xxh3 = yyjson_obj_get(val, "xxh3");
	yyjson_val *sha256 = yyjson_obj_get(val, "sha256");

	if (!yyjson_is_uint(size) || yyjson_get_uint(size) > INT64_MAX)
		return -EINVAL;
	file->size = yyjson_get_uint(size);
	if (parse_hex(text_of(val, "region"), file->id, sizeof(file->id)))
		return -EINVAL;
	if (sha256 && !yyjson_is_null(sha256)) {
		file->has_sha256 = true;
		if (parse_hex(text_of(val, "sha256"), file->sha256,
			      sizeof(file->sha256)))
			return -EINVAL;
	}
	if (!xxh3 || yyjson_is_null(xxh3))
		return 0;
	file->has_root = true;
	return parse_hex(text_of(val, "xxh3"), file->root, sizeof(file->root));
}

static int parse_file(yyjson_val *val, const char *what,
		      struct wfs_manifest_file *ret, struct wfs_err *err)
{
	struct wfs_manifest_file file = { 0 };
	const char *path = text_of(val, "path");

	if (!path || strlen(path) > PATH_BYTES || !wfs_name_is_path(path))
		return wfs_err_set(err, -EBADMSG,
				   "%s: the path '%.200s' is none that a file "
				   "of a model can have",
				   what, path ? path : "");
	file.is_dir = yyjson_is_true(yyjson_obj_get(val, "directory"));
	if (parse_time(yyjson_obj_get(val, "mtime"), &file.mtime) ||
	    (!file.is_dir && parse_region(val, &file)))
		return wfs_err_set(err, -EBADMSG,
				   "%s: '%.200s' has a size, a time, a region "
				   "or a digest that cannot be",
				   what, path);
	file.path = wfs_strdup(path);
	*ret = file;
	return 0;
}

static int parse_files(yyjson_val *top, const char *what,
		       struct wfs_manifest *m, struct wfs_err *err)
{
	yyjson_val *files = yyjson_obj_get(top, "files"), *val;
	yyjson_arr_iter iter;

	if (wfs_manifest_take_version(top, m->version))
		return wfs_err_set(err, -EBADMSG, "%s: has no version", what);
	if (!yyjson_is_arr(files) ||
	    yyjson_arr_size(files) >= WFS_MODEL_MAX_ENTRIES)
		return wfs_err_set(err, -EBADMSG,
				   "%s: has no list of files, or one of more "
				   "than %u",
				   what, WFS_MODEL_MAX_ENTRIES - 1);
	m->files = wfs_calloc(yyjson_arr_size(files) + 1, sizeof(*m->files));
	m->rooted = true;
	yyjson_arr_iter_init(files, &iter);
	while ((val = yyjson_arr_iter_next(&iter))) {
		struct wfs_manifest_file *file = &m->files[m->count];
		int rc = parse_file(val, what, file, err);

		if (rc)
			return rc;
		m->rooted &= file->is_dir || file->has_root;
		m->count++;
	}
	return wfs_manifest_check(m, what, err);
}

int wfs_manifest_parse(char *text, size_t len, const char *what,
		       struct wfs_manifest **ret, struct wfs_err *err)
{
	struct wfs_manifest *m;
	yyjson_doc *doc;
	int rc = wfs_json_parse(text, len, what, &doc, err);

	if (rc)
		return rc;
	m = wfs_calloc(1, sizeof(*m));
	atomic_init(&m->refs, 1);
	rc = check_top(yyjson_doc_get_root(doc), what, err);
	if (!rc)
		rc = parse_files(yyjson_doc_get_root(doc), what, m, err);
	if (!rc)
		rc = wfs_manifest_take_live(m, yyjson_doc_get_root(doc), what,
					    err);
	yyjson_doc_free(doc);
	if (rc)
		wfs_manifest_put(m);
	else
		*ret = m;
	return rc;
}
