/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See registry.h.  A node serves tens of models, so records live in a plain
 * array; a reader-writer lock guards it, since every FUSE request looks up a
 * slot and only the watcher changes anything.  Counters inside a record are
 * atomic and change under the read lock.
 */
#include "core/model/registry.h"

#include <pthread.h>
#include <string.h>

#include "core/base/events.h"
#include "core/base/log.h"
#include "core/base/text.h"

#define SLOT_MASK ((1u << WFS_SLOT_BITS) - 1)

struct record {
	uint32_t slot;
	struct wfs_model *model;
	struct wfs_model *waiting; /* newer one of that name, or NULL */
	bool named;
	bool withdrawn; /* the checkpoint is gone */
	atomic_bool stale;
	atomic_uint opens;
	atomic_ullong last_open_ns; /* 0 = never */
};

struct wfs_registry {
	pthread_rwlock_t lock;
	struct record **records;
	size_t count, cap;
	uint64_t switch_after_ns;
	struct timespec changed; /* CLOCK_REALTIME */
	struct wfs_registry_hooks hooks;
};

/* What changed while the lock was held; told to the hooks afterwards. */
struct changes {
	char **names;
	size_t name_count;
	uint32_t *slots;
	size_t slot_count;
};

struct wfs_registry *wfs_registry_new(uint64_t switch_after_ns)
{
	struct wfs_registry *reg = wfs_calloc(1, sizeof(*reg));

	pthread_rwlock_init(&reg->lock, NULL);
	clock_gettime(CLOCK_REALTIME, &reg->changed);
	reg->switch_after_ns = switch_after_ns;
	return reg;
}

static void record_free(struct record *rec)
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

static void changes_name(struct changes *ch, const char *name)
{
	ch->names = wfs_realloc(ch->names,
				(ch->name_count + 1) * sizeof(*ch->names));
	ch->names[ch->name_count++] = wfs_strdup(name);
}

static void changes_slot(struct changes *ch, uint32_t slot)
{
	ch->slots = wfs_realloc(ch->slots,
				(ch->slot_count + 1) * sizeof(*ch->slots));
	ch->slots[ch->slot_count++] = slot;
}

/* Tells the hooks, with no lock held, and frees the list. */
static void changes_tell(struct wfs_registry *reg, struct changes *ch)
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

static struct record *find_slot(const struct wfs_registry *reg, uint32_t slot)
{
	for (size_t i = 0; i < reg->count; i++)
		if (reg->records[i]->slot == slot)
			return reg->records[i];
	return NULL;
}

static struct record *find_name(const struct wfs_registry *reg,
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
	while (slot == 0 || find_slot(reg, slot))
		slot = (slot + 1) & SLOT_MASK;
	return slot;
}

static void note_change(struct wfs_registry *reg, const char *name,
			struct changes *ch)
{
	clock_gettime(CLOCK_REALTIME, &reg->changed);
	changes_name(ch, name);
}

/* Takes over the caller's reference to `model`. */
static void add_record(struct wfs_registry *reg, struct wfs_model *model,
		       struct changes *ch)
{
	struct record *rec = wfs_calloc(1, sizeof(*rec));

	rec->slot = free_slot(reg, model);
	rec->model = model;
	rec->named = true;
	if (reg->count == reg->cap) {
		reg->cap = reg->cap ? 2 * reg->cap : 16;
		reg->records = wfs_realloc(reg->records,
					   reg->cap * sizeof(*reg->records));
	}
	reg->records[reg->count++] = rec;
	note_change(reg, model->name, ch);
}

static bool is_quiet(const struct wfs_registry *reg, struct record *rec)
{
	uint64_t last = atomic_load(&rec->last_open_ns);

	return last == 0 || atomic_load(&rec->stale) ||
	       wfs_now_ns() - last >= reg->switch_after_ns;
}

/* The name leaves `rec`, and goes to the model that waits, if any. */
static void move_name(struct wfs_registry *reg, struct record *rec,
		      struct changes *ch)
{
	struct wfs_model *next = wfs_steal_ptr(&rec->waiting);

	rec->named = false;
	if (next) {
		wfs_info("model '%s' switched to a new version: %u ranks, "
			 "%llu bytes",
			 next->name, next->rank_count,
			 (unsigned long long)next->file_bytes);
		wfs_event("switch", next->name, "serving a new version");
		add_record(reg, next, ch);
	} else {
		wfs_info("model '%s' is gone", rec->model->name);
		wfs_event("gone", rec->model->name, "no longer served");
		note_change(reg, rec->model->name, ch);
	}
}

void wfs_registry_offer(struct wfs_registry *reg, struct wfs_model *model)
{
	struct changes ch = { 0 };
	struct record *rec;

	pthread_rwlock_wrlock(&reg->lock);
	rec = find_name(reg, model->name);
	if (!rec) {
		wfs_event("model", model->name, "serving %u ranks, %llu bytes",
			  model->rank_count,
			  (unsigned long long)model->file_bytes);
		add_record(reg, model, &ch);
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
	changes_tell(reg, &ch);
}

void wfs_registry_withdraw(struct wfs_registry *reg, const char *name)
{
	struct record *rec;

	pthread_rwlock_wrlock(&reg->lock);
	rec = find_name(reg, name);
	if (rec) {
		wfs_model_put(wfs_steal_ptr(&rec->waiting));
		rec->withdrawn = true;
	}
	pthread_rwlock_unlock(&reg->lock);
	wfs_registry_tick(reg);
}

void wfs_registry_tick(struct wfs_registry *reg)
{
	struct changes ch = { 0 };
	size_t n, kept = 0;

	pthread_rwlock_wrlock(&reg->lock);
	n = reg->count;
	for (size_t i = 0; i < n; i++) {
		struct record *rec = reg->records[i];

		if (rec->named && (rec->waiting || rec->withdrawn) &&
		    is_quiet(reg, rec))
			move_name(reg, rec, &ch);
	}
	for (size_t i = 0; i < reg->count; i++) {
		struct record *rec = reg->records[i];

		if (!rec->named && atomic_load(&rec->opens) == 0) {
			changes_slot(&ch, rec->slot);
			record_free(rec);
		} else {
			reg->records[kept++] = rec;
		}
	}
	reg->count = kept;
	pthread_rwlock_unlock(&reg->lock);
	changes_tell(reg, &ch);
}

struct wfs_model *wfs_registry_by_name(struct wfs_registry *reg,
				       const char *name, uint32_t *ret_slot)
{
	struct wfs_model *model = NULL;
	struct record *rec;

	pthread_rwlock_rdlock(&reg->lock);
	rec = find_name(reg, name);
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
	struct record *rec;

	pthread_rwlock_rdlock(&reg->lock);
	rec = find_slot(reg, slot);
	if (rec)
		model = wfs_model_get(rec->model);
	pthread_rwlock_unlock(&reg->lock);
	return model;
}

void wfs_registry_note_open(struct wfs_registry *reg, uint32_t slot, int delta)
{
	struct record *rec;

	pthread_rwlock_rdlock(&reg->lock);
	rec = find_slot(reg, slot);
	if (rec && delta > 0) {
		atomic_fetch_add(&rec->opens, 1);
		atomic_store(&rec->last_open_ns, wfs_now_ns());
	} else if (rec) {
		atomic_fetch_sub(&rec->opens, 1);
	}
	pthread_rwlock_unlock(&reg->lock);
}

void wfs_registry_note_stale(struct wfs_registry *reg, uint32_t slot)
{
	struct record *rec;

	pthread_rwlock_rdlock(&reg->lock);
	rec = find_slot(reg, slot);
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
		struct record *rec = reg->records[i];
		struct wfs_registry_row *row = &rows[i];

		strncpy(row->name, rec->model->name, sizeof(row->name) - 1);
		row->slot = rec->slot;
		row->model = wfs_model_get(rec->model);
		row->opens = atomic_load(&rec->opens);
		row->named = rec->named;
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
