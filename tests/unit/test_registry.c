/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and slots: what is served, and when a name moves.
 */
#include "tests/unit/t.h"

#include <string.h>

#include "core/base/text.h"
#include "core/model/registry.h"
#include "tests/unit/ckpt.h"

#define NEVER (3600ull * 1000000000)

struct told {
	int renamed, retired;
	uint32_t last_slot;
};

static void on_renamed(void *ctx, const char *name)
{
	struct told *told = ctx;

	assert_non_null(name);
	told->renamed++;
}

static void on_retired(void *ctx, uint32_t slot)
{
	struct told *told = ctx;

	told->retired++;
	told->last_slot = slot;
}

static struct wfs_model *model_of(const char *name, const char *config)
{
	struct ckpt *ckpt = ckpt_new("test");
	struct wfs_source *source;
	struct wfs_model *model;
	struct wfs_err err;

	ckpt_add_text(ckpt, "config.json", config);
	ckpt_add_safetensors(ckpt, "model.safetensors",
			     "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],"
			     "\"data_offsets\":[0,4]}}",
			     4);
	source = ckpt_source(ckpt);
	assert_int_equal(wfs_model_load(source, name, 1, &model, &err), 0);
	wfs_source_put(source);
	return model;
}

static struct wfs_registry *registry_of(uint64_t switch_after,
					struct told *told)
{
	struct wfs_registry *reg = wfs_registry_new(switch_after);

	wfs_registry_hook(reg, (struct wfs_registry_hooks){
				       .ctx = told,
				       .renamed = on_renamed,
				       .retired = on_retired,
			       });
	return reg;
}

static uint32_t slot_of(struct wfs_registry *reg, const char *name)
{
	uint32_t slot = 0;
	struct wfs_model *m = wfs_registry_by_name(reg, name, &slot);

	wfs_model_put(m);
	return m ? slot : 0;
}

static void a_model_is_found_by_name_and_by_slot(void **state)
{
	struct told told = { 0 };
	struct wfs_registry *reg = registry_of(NEVER, &told);
	struct wfs_model *m;
	uint32_t slot;

	(void)state;
	assert_null(wfs_registry_by_name(reg, "llama", &slot));
	wfs_registry_offer(reg, model_of("llama", "{}"));
	m = wfs_registry_by_name(reg, "llama", &slot);
	assert_non_null(m);
	assert_int_not_equal(slot, 0);
	wfs_model_put(m);
	m = wfs_registry_by_slot(reg, slot);
	assert_string_equal(m->name, "llama");
	wfs_model_put(m);
	assert_null(wfs_registry_by_slot(reg, slot + 1));
	assert_int_equal(told.renamed, 1);
	wfs_registry_free(reg);
}

static void the_same_checkpoint_has_the_same_slot_again(void **state)
{
	struct told told = { 0 };
	struct wfs_registry *reg = registry_of(NEVER, &told);
	uint32_t slot, other;

	(void)state;
	wfs_registry_offer(reg, model_of("llama", "{}"));
	slot = slot_of(reg, "llama");
	wfs_registry_free(reg);
	reg = registry_of(NEVER, &told);
	wfs_registry_offer(reg, model_of("qwen", "{}"));
	wfs_registry_offer(reg, model_of("llama", "{}"));
	assert_int_equal(slot_of(reg, "llama"), slot);
	other = slot_of(reg, "qwen");
	assert_int_not_equal(other, slot);
	wfs_registry_free(reg);
}

static void an_offer_of_what_is_served_already_changes_nothing(void **state)
{
	struct told told = { 0 };
	struct wfs_registry *reg = registry_of(0, &told);
	uint32_t slot;

	(void)state;
	wfs_registry_offer(reg, model_of("llama", "{}"));
	slot = slot_of(reg, "llama");
	wfs_registry_offer(reg, model_of("llama", "{}"));
	wfs_registry_tick(reg);
	assert_int_equal(slot_of(reg, "llama"), slot);
	assert_int_equal(told.renamed, 1);
	assert_int_equal(told.retired, 0);
	wfs_registry_free(reg);
}

static void a_name_stays_while_the_old_version_was_opened_lately(void **state)
{
	struct told told = { 0 };
	struct wfs_registry *reg = registry_of(NEVER, &told);
	uint32_t slot;

	(void)state;
	wfs_registry_offer(reg, model_of("llama", "{}"));
	slot = slot_of(reg, "llama");
	wfs_registry_note_open(reg, slot, 1);
	wfs_registry_note_open(reg, slot, -1);
	wfs_registry_offer(reg, model_of("llama", "{ }"));
	wfs_registry_tick(reg);
	assert_int_equal(slot_of(reg, "llama"), slot);
	wfs_registry_free(reg);
}

static void a_quiet_name_moves_at_once_and_the_old_slot_retires(void **state)
{
	struct told told = { 0 };
	struct wfs_registry *reg = registry_of(NEVER, &told);
	uint32_t slot;

	(void)state;
	wfs_registry_offer(reg, model_of("llama", "{}"));
	slot = slot_of(reg, "llama");
	wfs_registry_offer(reg, model_of("llama", "{ }"));
	assert_int_not_equal(slot_of(reg, "llama"), slot);
	assert_int_equal(told.renamed, 2);
	wfs_registry_tick(reg);
	assert_int_equal(told.retired, 1);
	assert_int_equal(told.last_slot, slot);
	assert_null(wfs_registry_by_slot(reg, slot));
	wfs_registry_free(reg);
}

static void an_old_version_lives_while_a_file_of_it_is_open(void **state)
{
	struct told told = { 0 };
	struct wfs_registry *reg = registry_of(0, &told);
	struct wfs_model *m;
	uint32_t slot;

	(void)state;
	wfs_registry_offer(reg, model_of("llama", "{}"));
	slot = slot_of(reg, "llama");
	wfs_registry_note_open(reg, slot, 1);
	wfs_registry_offer(reg, model_of("llama", "{ }"));
	wfs_registry_tick(reg);
	assert_int_not_equal(slot_of(reg, "llama"), slot);
	m = wfs_registry_by_slot(reg, slot);
	assert_non_null(m);
	wfs_model_put(m);
	assert_int_equal(told.retired, 0);
	wfs_registry_note_open(reg, slot, -1);
	wfs_registry_tick(reg);
	assert_null(wfs_registry_by_slot(reg, slot));
	wfs_registry_free(reg);
}

static void a_stale_model_is_replaced_without_waiting(void **state)
{
	struct told told = { 0 };
	struct wfs_registry *reg = registry_of(NEVER, &told);
	uint32_t slot;

	(void)state;
	wfs_registry_offer(reg, model_of("llama", "{}"));
	slot = slot_of(reg, "llama");
	wfs_registry_note_open(reg, slot, 1);
	wfs_registry_note_stale(reg, slot);
	wfs_registry_offer(reg, model_of("llama", "{ }"));
	assert_int_not_equal(slot_of(reg, "llama"), slot);
	wfs_registry_free(reg);
}

static void a_withdrawn_name_goes_when_quiet_and_comes_back(void **state)
{
	struct told told = { 0 };
	struct wfs_registry *reg = registry_of(NEVER, &told);
	uint32_t slot;

	(void)state;
	wfs_registry_offer(reg, model_of("llama", "{}"));
	slot = slot_of(reg, "llama");
	wfs_registry_note_open(reg, slot, 1);
	wfs_registry_withdraw(reg, "llama");
	assert_int_equal(slot_of(reg, "llama"), slot);
	wfs_registry_offer(reg, model_of("llama", "{}"));
	wfs_registry_note_open(reg, slot, -1);
	wfs_registry_tick(reg);
	assert_int_equal(slot_of(reg, "llama"), slot);
	wfs_registry_withdraw(reg, "never was");
	wfs_registry_free(reg);

	reg = registry_of(NEVER, &told);
	wfs_registry_offer(reg, model_of("llama", "{}"));
	wfs_registry_withdraw(reg, "llama");
	assert_int_equal(slot_of(reg, "llama"), 0);
	wfs_registry_free(reg);
}

static void rows_come_in_order_of_the_names(void **state)
{
	struct told told = { 0 };
	struct wfs_registry *reg = registry_of(NEVER, &told);
	struct wfs_registry_row *rows;
	size_t n;

	(void)state;
	wfs_registry_offer(reg, model_of("b", "{}"));
	wfs_registry_offer(reg, model_of("c", "{}"));
	wfs_registry_offer(reg, model_of("a", "{}"));
	n = wfs_registry_rows(reg, &rows);
	assert_int_equal(n, 3);
	assert_string_equal(rows[0].name, "a");
	assert_string_equal(rows[2].name, "c");
	assert_true(rows[1].named && !rows[1].stale && !rows[1].switching);
	wfs_registry_rows_free(rows, n);
	wfs_registry_free(reg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_model_is_found_by_name_and_by_slot),
		T(the_same_checkpoint_has_the_same_slot_again),
		T(an_offer_of_what_is_served_already_changes_nothing),
		T(a_name_stays_while_the_old_version_was_opened_lately),
		T(a_quiet_name_moves_at_once_and_the_old_slot_retires),
		T(an_old_version_lives_while_a_file_of_it_is_open),
		T(a_stale_model_is_replaced_without_waiting),
		T(a_withdrawn_name_goes_when_quiet_and_comes_back),
		T(rows_come_in_order_of_the_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
