/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layouts in the registry: found by name, compiled at the first look-up, gone
 * with the version that they are made of.
 */
#include <errno.h>
#include <string.h>

#include "core/base/events.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/model/registry_inner.h"
#include "core/plan/layout.h"

void wfs_layouts_drop_locked(struct wfs_registry *reg, uint32_t base,
			     struct wfs_changes *ch)
{
	for (size_t i = 0; i < reg->count; i++) {
		struct wfs_record *rec = reg->records[i];

		if (rec->named && rec->base == base) {
			rec->named = false;
			wfs_changes_name(reg, rec->model->name, ch);
		}
	}
}

void wfs_registry_set_layouts(struct wfs_registry *reg,
			      const struct wfs_layout_options *options,
			      const char *const *names, size_t count)
{
	reg->layouts = options;
	reg->configured = wfs_calloc(count, sizeof(*reg->configured));
	reg->configured_count = count;
	for (size_t i = 0; i < count; i++)
		reg->configured[i].name = wfs_strdup(names[i]);
}

void wfs_layouts_free(struct wfs_registry *reg)
{
	for (size_t i = 0; i < reg->configured_count; i++)
		free(reg->configured[i].name);
	free(reg->configured);
}

/* What a name is before anything is compiled. */
static bool find_present(struct wfs_registry *reg, const char *name, bool list,
			 struct wfs_model **ret_model, uint32_t *ret_slot)
{
	struct wfs_record *rec;

	pthread_rwlock_wrlock(&reg->lock);
	rec = wfs_record_by_name_locked(reg, name);
	if (rec) {
		if (list)
			rec->unlisted = false;
		*ret_model = wfs_model_get(rec->model);
		*ret_slot = rec->slot;
	}
	pthread_rwlock_unlock(&reg->lock);
	return rec != NULL;
}

/*
 * Anybody may look up layouts, and each costs memory: when there are too many
 * the oldest that nobody listed or has open loses its name.
 */
static void make_room_locked(struct wfs_registry *reg, struct wfs_changes *ch)
{
	struct wfs_record *oldest = NULL;
	unsigned count = 0;

	for (size_t i = 0; i < reg->count; i++) {
		struct wfs_record *rec = reg->records[i];

		if (!rec->named || !rec->unlisted)
			continue;
		count++;
		if (!oldest && atomic_load(&rec->opens) == 0)
			oldest = rec;
	}
	if (count < WFS_LAYOUTS_MAX || !oldest)
		return;
	oldest->named = false;
	wfs_changes_name(reg, oldest->model->name, ch);
}

/* Compiles `name` and adds it, unless its base has moved meanwhile. */
static int add_layout(struct wfs_registry *reg, struct wfs_model *base,
		      uint32_t slot, const struct wfs_layout_spec *spec,
		      bool list)
{
	struct wfs_changes ch = { 0 };
	struct wfs_model *layout;
	struct wfs_record *rec;
	struct wfs_err err = { 0 };
	int r = wfs_layout_compile(base, spec, reg->layouts, &layout, &err);

	if (r < 0) {
		wfs_error("no such layout of '%s': %s", base->name, err.text);
		wfs_event("layout", base->name, "%s", err.text);
		return -EINVAL;
	}
	pthread_rwlock_wrlock(&reg->lock);
	rec = wfs_record_by_slot_locked(reg, slot);
	if (rec && rec->named) {
		make_room_locked(reg, &ch);
		rec = wfs_record_add_locked(reg, layout, &ch);
		rec->base = slot;
		rec->unlisted = !list;
	} else {
		wfs_model_put(layout);
		r = -ENOENT;
	}
	pthread_rwlock_unlock(&reg->lock);
	wfs_changes_tell(reg, &ch);
	return r;
}

int wfs_registry_find(struct wfs_registry *reg, const char *name, bool list,
		      struct wfs_model **ret_model, uint32_t *ret_slot)
{
	const char *at = strrchr(name, '@');
	char *base_name wfs_autofree = NULL;
	struct wfs_layout_spec spec;
	struct wfs_model *base;
	uint32_t slot;
	int r = 0;

	if (find_present(reg, name, list, ret_model, ret_slot))
		return 0;
	if (!at || !reg->layouts || wfs_layout_parse(at + 1, &spec) < 0)
		return -ENOENT;
	base_name = wfs_strdup(name);
	base_name[at - name] = '\0';
	pthread_mutex_lock(&reg->compiling);
	if (!find_present(reg, name, list, ret_model, ret_slot)) {
		base = wfs_registry_by_name(reg, base_name, &slot);
		r = base && !base->virtual ?
			    add_layout(reg, base, slot, &spec, list) :
			    -ENOENT;
		wfs_model_put(base);
		if (r == 0 &&
		    !find_present(reg, name, list, ret_model, ret_slot))
			r = -ENOENT;
	}
	pthread_mutex_unlock(&reg->compiling);
	return r;
}

/* The slot of the model that layout `name` would be made of, or 0. */
static uint32_t base_slot(struct wfs_registry *reg, const char *name)
{
	char *base wfs_autofree = wfs_strdup(name);
	char *at = strrchr(base, '@');
	uint32_t slot = 0;

	if (at)
		*at = '\0';
	wfs_model_put(wfs_registry_by_name(reg, base, &slot));
	return slot;
}

void wfs_layouts_list(struct wfs_registry *reg)
{
	for (size_t i = 0; i < reg->configured_count; i++) {
		struct wfs_configured *c = &reg->configured[i];
		uint32_t slot = base_slot(reg, c->name), mine;
		struct wfs_model *layout = NULL;

		/* One that cannot be is said once for each version. */
		if (slot == 0 || slot == c->tried)
			continue;
		c->tried = slot;
		if (wfs_registry_find(reg, c->name, true, &layout, &mine) == 0)
			wfs_model_put(layout);
	}
}
