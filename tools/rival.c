/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rival.h.
 */
#include "tools/rival.h"

#include <errno.h>
#include <string.h>

#include "core/base/least.h"
#include "core/digest/digest_tree.h"
#include "transport/origin/origin.h"

/* The region of that path, or NULL. */
static struct wfs_region *find(struct wfs_source *source, const char *path)
{
	const struct wfs_source_entry *found =
		wfs_source_entry_of(source, path);

	return found ? found->region : NULL;
}

/* How two files of one path are seen not to be the same, or NULL. */
static const char *compare(const struct wfs_region *a,
			   const struct wfs_region *b)
{
	uint64_t head = wfs_least(a->head_len, b->head_len);

	if (a->size != b->size)
		return "has another size";
	if (head && memcmp(a->head, b->head, head) != 0)
		return "begins with other bytes";
	return NULL;
}

/* The first file that shows that they are two versions. */
static const char *find_odd(struct wfs_source *served, struct wfs_source *from,
			    const char **ret_path)
{
	const struct wfs_source_entry *list;
	const char *how = NULL;
	size_t n;

	list = wfs_source_list(served, &n);
	for (size_t i = 0; i < n && !how; i++) {
		const struct wfs_region *region = list[i].region, *other;

		if (!region)
			continue;
		*ret_path = region->path;
		other = find(from, region->path);
		if (other)
			how = compare(region, other);
		else if (region->head_len) /* a shard, or what proves it */
			how = "is missing";
	}
	return how;
}

static int load_root(struct wfs_source *source, uint8_t root[WFS_ROOT_BYTES],
		     struct wfs_err *err)
{
	struct wfs_digest_tree tree = { 0 };
	int rc = wfs_digest_tree_load(source, &tree, err);

	if (!rc)
		wfs_digest_tree_root(&tree, root);
	wfs_digest_tree_clear(&tree);
	return rc;
}

static int compare_roots(struct wfs_source *served, struct wfs_source *from,
			 bool *ret_same, struct wfs_err *err)
{
	uint8_t a[WFS_ROOT_BYTES], b[WFS_ROOT_BYTES];
	int rc;

	*ret_same = true;
	if (!find(served, WFS_DIGEST_TREE_FILE) ||
	    !find(from, WFS_DIGEST_TREE_FILE))
		return 0;
	rc = load_root(served, a, err);
	if (!rc)
		rc = load_root(from, b, err);
	if (!rc)
		*ret_same = !memcmp(a, b, sizeof(a));
	return rc;
}

bool wfs_rival_is_same(struct wfs_source *served, struct wfs_source *from)
{
	const uint8_t *root, *tree;
	uint8_t has[WFS_ROOT_BYTES];
	struct wfs_err err = { 0 };

	if (!wfs_origin_is_source(served) || !served->ops->tree || from->live)
		return false;
	root = served->ops->tree(served);
	tree = from->ops->tree ? from->ops->tree(from) : NULL;
	if (!root)
		return false;
	if (!tree && find(from, WFS_DIGEST_TREE_FILE) &&
	    !load_root(from, has, &err))
		tree = has;
	return tree && !memcmp(tree, root, WFS_ROOT_BYTES);
}

static int check(struct wfs_source *served, struct wfs_source *from,
		 struct wfs_err *err)
{
	const char *path = NULL, *how = find_odd(served, from, &path);
	bool same = true;
	int rc = how ? 0 : compare_roots(served, from, &same, err);

	if (!rc && !same) {
		path = WFS_DIGEST_TREE_FILE;
		how = "names another version";
	}
	if (!how)
		return rc;
	return wfs_err_set(err, -EEXIST,
			   "'%s' is another version than '%s', which keeps "
			   "the name: '%s' %s (have both offer the same, or "
			   "one of them under another name)",
			   from->label, served->label, path, how);
}

int wfs_rival_check(struct wfs_registry *registry,
		    const struct wfs_model *model, struct wfs_err *err)
{
	uint32_t slot;
	struct wfs_model *served =
		wfs_registry_by_name(registry, model->name, &slot);
	int rc = served && wfs_origin_is_source(served->source) ?
			 check(served->source, model->source, err) :
			 0;

	wfs_model_put(served);
	return rc;
}
