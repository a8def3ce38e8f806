/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json of a checkpoint, which says what its tensors' shapes do not.
 */
#include <errno.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/mem.h"
#include "core/plan/evaluate.h"

#define CONFIG	   "config.json"
#define CONFIG_MAX (16u << 20)

int wfs_plan_config_read(const struct wfs_model *base, struct wfs_config *ret,
			 struct wfs_err *err)
{
	int64_t at = wfs_model_find_entry(base, 0, CONFIG);
	struct wfs_config config = { 0 };
	struct wfs_region *region;
	yyjson_val *root;
	int rc;

	if (at < 0 || base->entries[at].is_dir)
		return wfs_err_set(err, -EINVAL,
				   "model '%s' has no " CONFIG ", which says "
				   "how its tensors are to be cut: add the "
				   "checkpoint's own",
				   base->name);
	region = base->entries[at].region;
	if (region->size > CONFIG_MAX)
		return wfs_err_set(err, -EINVAL,
				   "model '%s': " CONFIG " is larger than %u "
				   "bytes: put the checkpoint's own there",
				   base->name, CONFIG_MAX);
	config.text = wfs_malloc(region->size + WFS_JSON_PADDING);
	rc = wfs_region_read_parsed(region, config.text, region->size, 0);
	if (rc)
		wfs_err_set(err, rc, "model '%s': cannot read " CONFIG ": %s",
			    base->name, strerror(-rc));
	if (!rc)
		rc = wfs_json_parse(config.text, region->size, "'" CONFIG "'",
				    &config.doc, err);
	if (rc) {
		if (rc == -EBADMSG) {
			wfs_err_prefix(err, "model '%s'", base->name);
			rc = wfs_err_set(err, -EINVAL,
					 "%s: put the checkpoint's own there",
					 err ? err->text : "");
		}
		wfs_config_clear(&config);
		return rc;
	}
	root = yyjson_doc_get_root(config.doc);
	if (!yyjson_is_obj(root) || wfs_json_repeated_key(root)) {
		rc = wfs_err_set(err, -EINVAL,
				 "model '%s': " CONFIG " is no object, or has "
				 "a key twice: put the checkpoint's own there",
				 base->name);
		wfs_config_clear(&config);
		return rc;
	}
	*ret = config;
	return 0;
}

void wfs_config_clear(struct wfs_config *config)
{
	yyjson_doc_free(config->doc);
	free(config->text);
	memset(config, 0, sizeof(*config));
}

yyjson_val *wfs_config_find(yyjson_val *root, const char *path)
{
	while (root) {
		size_t len = strcspn(path, ".");

		root = yyjson_obj_getn(root, path, len);
		if (!path[len])
			break;
		path += len + 1;
	}
	return root;
}
