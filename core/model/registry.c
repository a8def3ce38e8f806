/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See registry.h.  A node serves tens of models, so records live in a plain
 * array; a reader-writer lock guards it, since every FUSE request looks up a
 * slot and only the watcher changes anything.  Counters inside a record are
 * atomic and change under the read lock.
 */
#include "core/model/registry_inner.h"

#include <pthread.h>
#include <string.h>

#include "core/base/events.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/store/chunks.h"

#define SLOT_MASK ((1u << WFS_SLOT_BITS) - 1)

struct wfs_registry *wfs_registry_new(uint64_t switch_after_ns)
{
	struct wfs_registry *reg = wfs_calloc(1, sizeof(*reg));

	pthread_rwlock_init(&reg->lock, NULL);
	pthread_mutex_init(&reg->compiling, NULL);
	clock_gettime(CLOCK_REALTIME, &reg->changed);
	reg->switch_after_ns = switch_after_ns;
	return reg;
}

static void record_free(struct wfs_record *rec)
{
	wfs_model_put(rec->waiting);
	wfs_model_put(rec->model);
	free(rec);
}

void wfs_registry_free(struct wfs_registry *reg)
{
	if (!reg)
		return;
	for (size_t i = 0; i < reg->count; i++)
		record_free(reg->records[i]);
	free(reg->records);
	wfs_layouts_free(reg);
	pthread_mutex_destroy(&reg->compiling);
	pthread_rwlock_destroy(&reg->lock);
	free(reg);
}

void wfs_registry_hook(struct wfs_registry *reg,
		       struct wfs_registry_hooks hooks)
{
	pthread_rwlock_wrlock(&reg->lock);
	reg->hooks = hooks;
	pthread_rwlock_unlock(&reg->lock);
}

static void add_name(struct wfs_changes *ch, const char *name)
{
	ch->names = wfs_realloc(ch->names,
				(ch->name_count + 1) * sizeof(*ch->names));
	ch->names[ch->name_count++] = wfs_strdup(name);
}

static void add_slot(struct wfs_changes *ch, uint32_t slot)
{
	ch->slots = wfs_realloc(ch->slots,
				(ch->slot_count + 1) * sizeof(*ch->slots));
	ch->slots[ch->slot_count++] = slot;
}

/* Tells the hooks, with no lock held, and frees the list. */
void wfs_changes_tell(struct wfs_registry *reg, struct wfs_changes *ch)
{
	struct wfs_registry_hooks hooks;

	pthread_rwlock_rdlock(&reg->lock);
	hooks = reg->hooks;
	pthread_rwlock_unlock(&reg->lock);
	for (size_t i = 0; i < ch->name_count; i++) {
		if (hooks.renamed)
			hooks.renamed(hooks.ctx, ch->names[i]);
		free(ch->names[i]);
	}
	for (size_t i = 0; i < ch->slot_count; i++)
		if (hooks.retired)
			hooks.retired(hooks.ctx, ch->slots[i]);
	free(ch->names);
	free(ch->slots);
}

struct wfs_record *wfs_record_by_slot_locked(const struct wfs_registry *reg,
					     uint32_t slot)
{
	for (size_t i = 0; i < reg->count; i++)
		if (reg->records[i]->slot == slot)
			return reg->records[i];
	return NULL;
}

struct wfs_record *wfs_record_by_name_locked(const struct wfs_registry *reg,
					     const char *name)
{
	for (size_t i = 0; i < reg->count; i++)
		if (reg->records[i]->named &&
		    strcmp(reg->records[i]->model->name, name) == 0)
			return reg->records[i];
	return NULL;
}

static uint32_t free_slot(const struct wfs_registry *reg,
			  const struct wfs_model *model)
{
	uint64_t h = wfs_hash(model->name, strlen(model->name), WFS_HASH_SEED);
	uint32_t slot;

	h = wfs_hash(&model->fingerprint, sizeof(model->fingerprint), h);
	slot = (uint32_t)(h ^ (h >> WFS_SLOT_BITS)) & SLOT_MASK;
	while (slot == 0 || wfs_record_by_slot_locked(reg, slot))
		slot = (slot + 1) & SLOT_MASK;
	return slot;
}

void wfs_changes_name(struct wfs_registry *reg, const char *name,
		      struct wfs_changes *ch)
{
	clock_gettime(CLOCK_REALTIME, &reg->changed);
	add_name(ch, name);
}

/* Takes over the caller's reference to `model`. */
struct wfs_record *wfs_record_add_locked(struct wfs_registry *reg,
					 struct wfs_model *model,
					 struct wfs_changes *ch)
{
	struct wfs_record *rec = wfs_calloc(1, sizeof(*rec));

	rec->slot = free_slot(reg, model);
	rec->model = model;
	rec->named = true;
	if (reg->count == reg->cap) {
		reg->cap = reg->cap ? 2 * reg->cap : 16;
		reg->records = wfs_realloc(reg->records,
					   reg->cap * sizeof(*reg->records));
	}
	reg->records[reg->count++] = rec;
	wfs_changes_name(reg, model->name, ch);
	return rec;
}

static bool is_quiet(const struct wfs_registry *reg, struct wfs_record *rec)
{
	uint64_t last = atomic_load(&rec->last_open_ns);

	return last == 0 || atomic_load(&rec->stale) ||
	       wfs_now_ns() - last >= reg->switch_after_ns;
}

/* The name leaves `rec`, and goes to the model that waits, if any. */
static void move_name(struct wfs_registry *reg, struct wfs_record *rec,
		      struct wfs_changes *ch)
{
	struct wfs_model *next = wfs_steal_ptr(&rec->waiting);

	rec->named = false;
	wfs_layouts_drop_locked(reg, rec->slot, ch);
	if (next) {
		wfs_info("model '%s' switched to a new version: %u ranks, "
			 "%llu bytes",
			 next->name, next->rank_count,
			 (unsigned long long)next->file_bytes);
		wfs_event("switch", next->name, "serving a new version");
		wfs_record_add_locked(reg, next, ch);
	} else {
		wfs_info("model '%s' is gone", rec->model->name);
		wfs_event("gone", rec->model->name, "no longer served");
		wfs_changes_name(reg, rec->model->name, ch);
	}
}

void wfs_registry_offer(struct wfs_registry *reg, struct wfs_model *model)
{
	struct wfs_changes ch = { 0 };
	struct wfs_record *rec;

	pthread_rwlock_wrlock(&reg->lock);
	rec = wfs_record_by_name_locked(reg, model->name);
	if (!rec) {
		wfs_event("model", model->name, "serving %u ranks, %llu bytes",
			  model->rank_count,
			  (unsigned long long)model->file_bytes);
		wfs_record_add_locked(reg, model, &ch);
	} else {
		bool same = rec->model->fingerprint == model->fingerprint &&
			    !atomic_load(&rec->stale);

		wfs_model_put(rec->waiting);
		rec->withdrawn = false;
		rec->waiting = same ? NULL : model;
		if (same)
			wfs_model_put(model);
		else if (is_quiet(reg, rec))
			move_name(reg, rec, &ch);
	}
	pthread_rwlock_unlock(&reg->lock);
	wfs_changes_tell(reg, &ch);
}

void wfs_registry_withdraw(struct wfs_registry *reg, const char *name)
{
	struct wfs_record *rec;

	pthread_rwlock_wrlock(&reg->lock);
	rec = wfs_record_by_name_locked(reg, name);
	if (rec) {
		wfs_model_put(wfs_steal_ptr(&rec->waiting));
		rec->withdrawn = true;
	}
	pthread_rwlock_unlock(&reg->lock);
	wfs_registry_tick(reg);
}

/* A layout's are those of the checkpoint that it is made of. */
static void drop_chunks(const struct wfs_model *model)
{
	struct wfs_source *source = model->source;

	if (!model->virtual && source->chunks)
		wfs_chunks_drop(source->chunks, source);
}

void wfs_registry_tick(struct wfs_registry *reg)
{
	struct wfs_changes ch = { 0 };
	size_t n, kept = 0;

	pthread_rwlock_wrlock(&reg->lock);
	n = reg->count;
	for (size_t i = 0; i < n; i++) {
		struct wfs_record *rec = reg->records[i];

		if (rec->named && (rec->waiting || rec->withdrawn) &&
		    is_quiet(reg, rec))
			move_name(reg, rec, &ch);
	}
	for (size_t i = 0; i < reg->count; i++) {
		struct wfs_record *rec = reg->records[i];

		if (!rec->named && atomic_load(&rec->opens) == 0) {
			add_slot(&ch, rec->slot);
			drop_chunks(rec->model);
			record_free(rec);
		} else {
			reg->records[kept++] = rec;
		}
	}
	reg->count = kept;
	pthread_rwlock_unlock(&reg->lock);
	wfs_changes_tell(reg, &ch);
	wfs_layouts_list(reg);
}

struct wfs_model *wfs_registry_by_name(struct wfs_registry *reg,
				       const char *name, uint32_t *ret_slot)
{
	struct wfs_model *model = NULL;
	struct wfs_record *rec;

	pthread_rwlock_rdlock(&reg->lock);
	rec = wfs_record_by_name_locked(reg, name);
	if (rec) {
		model = wfs_model_get(rec->model);
		*ret_slot = rec->slot;
	}
	pthread_rwlock_unlock(&reg->lock);
	return model;
}

struct wfs_model *wfs_registry_by_slot(struct wfs_registry *reg, uint32_t slot)
{
	struct wfs_model *model = NULL;
	struct wfs_record *rec;

	pthread_rwlock_rdlock(&reg->lock);
	rec = wfs_record_by_slot_locked(reg, slot);
	if (rec)
		model = wfs_model_get(rec->model);
	pthread_rwlock_unlock(&reg->lock);
	return model;
}

void wfs_registry_note_open(struct wfs_registry *reg, uint32_t slot, int delta)
{
	struct wfs_record *rec;

	pthread_rwlock_rdlock(&reg->lock);
	rec = wfs_record_by_slot_locked(reg, slot);
	if (rec && delta > 0) {
		atomic_fetch_add(&rec->opens, 1);
		atomic_store(&rec->last_open_ns, wfs_now_ns());
	} else if (rec) {
		atomic_fetch_sub(&rec->opens, 1);
	}
	pthread_rwlock_unlock(&reg->lock);
}

bool wfs_registry_is_open(struct wfs_registry *reg, uint32_t slot, uint64_t ns)
{
	struct wfs_record *rec;
	bool open;

	pthread_rwlock_rdlock(&reg->lock);
	rec = wfs_record_by_slot_locked(reg, slot);
	open = rec && (atomic_load(&rec->opens) ||
		       wfs_now_ns() < atomic_load(&rec->last_open_ns) + ns);
	pthread_rwlock_unlock(&reg->lock);
	return open;
}

void wfs_registry_note_stale(struct wfs_registry *reg, uint32_t slot)
{
	struct wfs_record *rec;

	pthread_rwlock_rdlock(&reg->lock);
	rec = wfs_record_by_slot_locked(reg, slot);
	if (rec)
		atomic_store(&rec->stale, true);
	pthread_rwlock_unlock(&reg->lock);
}

static int compare_rows(const void *a, const void *b)
{
	const struct wfs_registry_row *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	if (order == 0)
		order = (int)y->named - (int)x->named;
	return order;
}

size_t wfs_registry_rows(struct wfs_registry *reg,
			 struct wfs_registry_row **ret_rows)
{
	struct wfs_registry_row *rows;
	size_t n;

	pthread_rwlock_rdlock(&reg->lock);
	n = reg->count;
	rows = wfs_calloc(n + 1, sizeof(*rows));
	for (size_t i = 0; i < n; i++) {
		struct wfs_record *rec = reg->records[i];
		struct wfs_registry_row *row = &rows[i];

		strncpy(row->name, rec->model->name, sizeof(row->name) - 1);
		row->slot = rec->slot;
		row->model = wfs_model_get(rec->model);
		row->opens = atomic_load(&rec->opens);
		row->named = rec->named;
		row->listed = rec->named && !rec->unlisted;
		row->stale = atomic_load(&rec->stale);
		row->switching = rec->waiting || rec->withdrawn;
	}
	pthread_rwlock_unlock(&reg->lock);
	qsort(rows, n, sizeof(*rows), compare_rows);
	*ret_rows = rows;
	return n;
}

void wfs_registry_rows_free(struct wfs_registry_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		wfs_model_put(rows[i].model);
	free(rows);
}

struct timespec wfs_registry_changed(struct wfs_registry *reg)
{
	struct timespec changed;

	pthread_rwlock_rdlock(&reg->lock);
	changed = reg->changed;
	pthread_rwlock_unlock(&reg->lock);
	return changed;
}
