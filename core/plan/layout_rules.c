/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each rule of a plan covers in a layout, for those who look into it.
 */
#include "core/base/text.h"
#include "core/plan/inner.h"

/* "model.layers.{layer}.mlp.down_proj.weight", as the plan has it. */
static char *pattern_of(const struct wfs_plan *plan,
			const struct wfs_node *target)
{
	struct wfs_text text = { 0 };

	if (!target->count)
		return wfs_strdup(target->text ? target->text : "");
	for (uint32_t i = 0; i < target->count; i++) {
		const struct wfs_node *part = target->args[i];

		if (part->kind == WFS_NODE_TEXT && !part->count)
			wfs_text_add(&text, "%s", part->text ? part->text : "");
		else if (part->kind == WFS_NODE_INDEX)
			wfs_text_add(&text, "{%s}",
				     plan->indices[part->slot].name);
		else if (part->kind == WFS_NODE_LET)
			wfs_text_add(&text, "{%s}",
				     plan->lets[part->slot].name);
		else
			wfs_text_add(&text, "{…}");
	}
	return text.data;
}

size_t wfs_layout_rules(const struct wfs_model *layout,
			struct wfs_layout_rule **ret_rules)
{
	const struct wfs_layout *l = layout->virtual_ctx;
	const struct wfs_plan *plan = l->plan;
	struct wfs_layout_rule *rules =
		wfs_calloc((size_t)plan->rule_count + 1, sizeof(*rules));

	for (uint32_t i = 0; i < plan->rule_count; i++) {
		rules[i].file = plan->rules[i].target->file;
		rules[i].line = plan->rules[i].target->line;
		rules[i].target = pattern_of(plan, plan->rules[i].target);
	}
	for (uint32_t i = 0; i < l->count; i++)
		if (l->targets[i].rule != WFS_RULE_NONE &&
		    l->targets[i].rank <= 0)
			rules[l->targets[i].rule].tensors++;
	*ret_rules = rules;
	return plan->rule_count;
}

void wfs_layout_rules_free(struct wfs_layout_rule *rules, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(rules[i].target);
	free(rules);
}
