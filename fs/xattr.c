/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes: what a file is, and how it is served, as text.
 *
 * `security.*` and `system.*` are answered EOPNOTSUPP, which makes `ls -l`
 * stop asking; any other name that is not ours is ENODATA.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/limits.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/base/text.h"
#include "core/digest/digest_tree.h"
#include "core/live.h"
#include "core/plan/layout.h"
#include "fs/hashes.h"
#include "fs/residence.h"

#define PREFIX "user.weightfs."

struct subject {
	struct wfs_fs *fs;
	struct wfs_node node;
	const struct wfs_tensor *tensor;     /* or NULL */
	const struct wfs_model_entry *entry; /* or NULL */
};

/* Adds the value; 0 or -ENODATA where the attribute says nothing here. */
typedef int value_fn(const struct subject *s, struct wfs_text *t);

/*
 * Is it listed?  Who copies attributes (rsync -X) asks for the length of each
 * value and then for as much, and takes nothing that is no more than on its
 * way, or begins only as it is asked for.
 */
typedef bool has_fn(const struct subject *s);

static int value_dtype(const struct subject *s, struct wfs_text *t)
{
	wfs_text_add(t, "%s", wfs_dtype_name(s->tensor->dtype));
	return 0;
}

static int value_shape(const struct subject *s, struct wfs_text *t)
{
	wfs_shape_add(t, s->tensor->shape, s->tensor->ndim);
	return 0;
}

/* A tensor of a checkpoint is served as it was saved, one of a layout cut by
   its plan: `source` says how. */
static int value_split(const struct subject *s, struct wfs_text *t)
{
	const struct wfs_model *m = s->node.model;

	if (m->virtual)
		return wfs_layout_split(m, s->node.rank, s->node.index, t,
					NULL);
	if (m->format == WFS_FORMAT_SHARDED_STATE)
		wfs_text_add(t, "as saved, rank %s of %u",
			     m->ranks[s->node.rank].name, m->rank_count);
	else
		wfs_text_add(t, "none");
	return 0;
}

static int value_source(const struct subject *s, struct wfs_text *t)
{
	struct wfs_region *region = wfs_node_region(&s->node);
	struct wfs_source *of = s->node.model->source;

	if (!region && s->tensor)
		return wfs_layout_describe(s->node.model, s->node.rank,
					   s->node.index, t, NULL);
	if (!region) {
		wfs_text_add(t, "plan:%s of %s:%s",
			     wfs_layout_plan(s->node.model), of->ops->name,
			     of->label);
		return 0;
	}
	if (!region->source->ops->far) /* a URL says it by itself */
		wfs_text_add(t, "%s:", region->source->ops->name);
	wfs_text_add(t, "%s/%s", region->source->label, region->path);
	if (s->tensor)
		wfs_text_add(t, "@%" PRIu64 "+%" PRIu64, s->tensor->off,
			     s->tensor->size);
	return 0;
}

static int value_digest(const struct subject *s, struct wfs_text *t)
{
	char digest[48] = "pending";

	if (!wfs_node_digest(s->fs, &s->node, digest) && s->fs->config.digest)
		wfs_hashes_want(s->fs->hashes, &s->node);
	wfs_text_add(t, "%s", digest);
	return 0;
}

static bool has_digest(const struct subject *s)
{
	char digest[48];

	return wfs_node_digest(s->fs, &s->node, digest);
}

static int value_trust(const struct subject *s, struct wfs_text *t)
{
	wfs_text_add(t, "%s", wfs_trust_name(wfs_node_trust(&s->node)));
	return 0;
}

static int value_resident_bytes(const struct subject *s, struct wfs_text *t)
{
	uint64_t bytes;
	int r = wfs_resident_bytes(s->fs, &s->node, &bytes);

	if (r == 0)
		wfs_text_add(t, "%" PRIu64, bytes);
	return r;
}

static int value_resident(const struct subject *s, struct wfs_text *t)
{
	uint64_t size = wfs_node_size(&s->node), bytes = 0;
	int r = size ? wfs_resident_bytes(s->fs, &s->node, &bytes) : 0;

	if (r == 0)
		wfs_text_add(t, "%u",
			     size ? (unsigned)((double)bytes * 100.0 /
					       (double)size) :
				    100);
	return r;
}

static int value_served(const struct subject *s, struct wfs_text *t)
{
	wfs_text_add(t, "%s",
		     wfs_is_passed_through(s->fs, &s->node) ? "passthrough" :
							      "cached");
	return 0;
}

static int value_position(const struct subject *s, struct wfs_text *t)
{
	uint32_t position = wfs_intent_position(s->fs->intent, &s->node);

	if (position == UINT32_MAX)
		return -ENODATA;
	wfs_text_add(t, "%" PRIu32, position);
	return 0;
}

/* The next load may change it. */
static bool has_position(const struct subject *s)
{
	(void)s;
	return false;
}

/* The true name, bytes as they are: a NUL, held as C0 80, is one again. */
static int value_name(const struct subject *s, struct wfs_text *t)
{
	const char *name = s->tensor ? s->tensor->name : s->entry->path;

	for (; *name; name++) {
		bool nul = s->tensor && memcmp(name, "\xc0\x80", 2) == 0;

		wfs_text_add_bytes(t, nul ? "" : name, 1);
		name += nul;
	}
	return 0;
}

static int value_version(const struct subject *s, struct wfs_text *t)
{
	wfs_text_add(t, "%016" PRIx64, s->node.model->fingerprint);
	return 0;
}

/* A layout is other bytes than those that the digest stands for. */
static int find_model_digest(const struct subject *s, bool start,
			     uint8_t ret_root[WFS_ROOT_BYTES])
{
	const struct wfs_fs_config *config = &s->fs->config;
	struct wfs_model *model = s->node.model;
	const struct wfs_source_ops *ops = model->source->ops;
	const uint8_t *root;

	if (model->virtual)
		return -ENODATA;
	root = ops->tree ? ops->tree(model->source) : NULL;
	if (root)
		memcpy(ret_root, root, WFS_ROOT_BYTES);
	else if (config->digest)
		return config->digest(config->digest_ctx, model, start,
				      ret_root);
	return root ? 0 : -ENODATA;
}

static int value_model_digest(const struct subject *s, struct wfs_text *t)
{
	char hex[2 * WFS_ROOT_BYTES + 1];
	uint8_t root[WFS_ROOT_BYTES];
	int rc = find_model_digest(s, true, root);

	if (!rc)
		wfs_text_add(t, "sha256:%s",
			     wfs_hex_format(root, sizeof(root), hex));
	else
		wfs_text_add(t, rc == -EINPROGRESS ? "pending" : "unknown");
	return 0;
}

static bool has_model_digest(const struct subject *s)
{
	uint8_t root[WFS_ROOT_BYTES];

	return find_model_digest(s, false, root) == 0;
}

static int value_ranks(const struct subject *s, struct wfs_text *t)
{
	wfs_text_add(t, "%u", s->node.model->rank_count);
	return 0;
}

static int value_plan(const struct subject *s, struct wfs_text *t)
{
	const char *plan = wfs_layout_plan(s->node.model);

	wfs_text_add(t, "%s", plan ? plan : "as saved");
	return 0;
}

static int value_format(const struct subject *s, struct wfs_text *t)
{
	wfs_text_add(t, "%s", wfs_model_format_name(s->node.model->format));
	return 0;
}

/* Whose memory it is. */
static int value_engine(const struct subject *s, struct wfs_text *t)
{
	const struct wfs_live *live = s->node.model->source->live;
	char *engine wfs_autofree = NULL;

	if (!live)
		return -ENODATA;
	engine = wfs_live_text(live);
	wfs_text_add(t, "%s, epoch %" PRIu64, engine, live->epoch);
	return 0;
}

static bool has_engine(const struct subject *s)
{
	return s->node.model->source->live != NULL;
}

enum applies {
	TO_TENSOR = 1,
	TO_FILE = 2,
	TO_MODEL = 4,
};

static const struct attribute {
	const char *name;
	unsigned applies;
	value_fn *value;
	has_fn *has; /* NULL: always */
} attributes[] = {
	{ PREFIX "dtype", TO_TENSOR, value_dtype, NULL },
	{ PREFIX "shape", TO_TENSOR, value_shape, NULL },
	{ PREFIX "split", TO_TENSOR, value_split, NULL },
	{ PREFIX "source", TO_TENSOR | TO_FILE, value_source, NULL },
	{ PREFIX "digest", TO_TENSOR, value_digest, has_digest },
	{ PREFIX "trust", TO_TENSOR | TO_FILE | TO_MODEL, value_trust, NULL },
	{ PREFIX "resident", TO_TENSOR | TO_FILE, value_resident, NULL },
	{ PREFIX "resident_bytes", TO_TENSOR | TO_FILE, value_resident_bytes,
	  NULL },
	{ PREFIX "served", TO_TENSOR | TO_FILE, value_served, NULL },
	{ PREFIX "position", TO_TENSOR | TO_FILE, value_position,
	  has_position },
	{ PREFIX "name", TO_TENSOR | TO_FILE, value_name, NULL },
	{ PREFIX "version", TO_MODEL, value_version, NULL },
	{ PREFIX "digest", TO_MODEL, value_model_digest, has_model_digest },
	{ PREFIX "ranks", TO_MODEL, value_ranks, NULL },
	{ PREFIX "plan", TO_MODEL, value_plan, NULL },
	{ PREFIX "format", TO_MODEL, value_format, NULL },
	{ PREFIX "engine", TO_MODEL, value_engine, has_engine },
};

#define COUNT (sizeof(attributes) / sizeof(attributes[0]))

static int subject_resolve(struct wfs_fs *fs, uint64_t id, struct subject *s,
			   unsigned *ret_applies)
{
	int r;

	s->fs = fs;
	r = wfs_node_resolve(fs->registry, id, &s->node);
	if (r < 0)
		return r;
	s->tensor = wfs_node_tensor(&s->node);
	s->entry = wfs_node_entry(&s->node);
	*ret_applies = 0;
	if (s->tensor)
		*ret_applies = TO_TENSOR;
	else if (s->entry && !s->entry->is_dir)
		*ret_applies = TO_FILE;
	else if (s->entry && s->node.index == 0)
		*ret_applies = TO_MODEL;
	return 0;
}

/* What is made of thousands of tensors says more than a value can hold. */
static void cut_text(struct wfs_text *t)
{
	static const char more[] = " ...";

	if (t->len <= XATTR_SIZE_MAX)
		return;
	t->len = XATTR_SIZE_MAX - (sizeof(more) - 1);
	wfs_text_add(t, "%s", more);
}

static void reply_text(fuse_req_t req, const struct wfs_text *t, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, t->len);
	else if (t->len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, t->data ? t->data : "", t->len);
}

static int get_value(struct wfs_fs *fs, uint64_t id, const char *name,
		     struct wfs_text *t)
{
	struct subject s = { 0 };
	unsigned applies;
	int r = subject_resolve(fs, id, &s, &applies);

	if (r < 0)
		return r;
	r = -ENODATA;
	for (size_t i = 0; i < COUNT; i++)
		if ((attributes[i].applies & applies) &&
		    strcmp(attributes[i].name, name) == 0)
			r = attributes[i].value(&s, t);
	wfs_node_clear(&s.node);
	return r;
}

void wfs_op_getxattr(fuse_req_t req, fuse_ino_t id, const char *name,
		     size_t size)
{
	struct wfs_text t = { 0 };
	int r;

	if (wfs_starts_with(name, "security.") ||
	    wfs_starts_with(name, "system.")) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	r = get_value(wfs_fs_of(req), id, name, &t);
	cut_text(&t);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		reply_text(req, &t, size);
	free(t.data);
}

void wfs_op_listxattr(fuse_req_t req, fuse_ino_t id, size_t size)
{
	struct wfs_text t = { 0 };
	struct subject s = { 0 };
	unsigned applies;
	int r = subject_resolve(wfs_fs_of(req), id, &s, &applies);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	for (size_t i = 0; i < COUNT; i++)
		if (attributes[i].applies & applies &&
		    (!attributes[i].has || attributes[i].has(&s)))
			wfs_text_add_bytes(&t, attributes[i].name,
					   strlen(attributes[i].name) + 1);
	wfs_node_clear(&s.node);
	reply_text(req, &t, size);
	free(t.data);
}
