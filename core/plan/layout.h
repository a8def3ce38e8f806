/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layouts: one way of cutting a model, computed by a plan as it is read.
 *
 * `llama@tp4` is the checkpoint `llama` as an engine with four
 * tensor-parallel ranks would have saved it.  A layout is a model like any
 * other (struct wfs_model: entries, ranks, tensors), whose tensors and shard
 * files have recipes instead of places; it borrows the regions of its base
 * and holds a reference to it.
 */
#ifndef WFS_CORE_PLAN_LAYOUT_H
#define WFS_CORE_PLAN_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/model/model.h"
#include "core/plan/plans.h"

struct wfs_layout_spec {
	unsigned tp; /* 1 … */
	unsigned pp; /* 1 … */
	bool hf;     /* the checkpoint's own tensors, cut, not the engine's */
	bool whole;  /* "hf": as tp1+hf, in a file as a checkpoint has it */
};

/*
 * "tp4", "tp2pp2", "tp4+hf", "hf" -> spec.  -EINVAL for anything else (leading
 * zeros, 0, over 4096).
 */
int wfs_layout_parse(const char *text, struct wfs_layout_spec *ret_spec);

/* An engine, and which version of it. */
struct wfs_engine {
	const char *name; /* `name_len` bytes */
	size_t name_len;
	const char *version; /* NULL: the newest that a plan knows */
};

/*
 * "vllm", "vllm-0.32" -> engine, which points into `text`.  -EINVAL: no name,
 * or what follows the '-' does not begin with a digit.
 */
int wfs_engine_parse(const char *text, struct wfs_engine *ret_engine,
		     struct wfs_err *err);

#define WFS_PART_SIZE (512ull << 20)

#define WFS_LAYOUT_MAX 4096u /* tp, pp and their product */

/* Ranks of a layout that this node serves, by number; none named: all. */
struct wfs_rank_set {
	bool named;
	uint64_t bits[WFS_LAYOUT_MAX / 64];
};

/* Adds "3" or "0-3"; -EINVAL for anything else. */
int wfs_rank_set_add(struct wfs_rank_set *set, const char *text);

static inline bool wfs_rank_set_has(const struct wfs_rank_set *set,
				    unsigned rank)
{
	return !set->named || set->bits[rank / 64] >> rank % 64 & 1;
}

struct wfs_layout_options {
	const struct wfs_plans *plans; /* user's first, then built-in */
	const char *engine; /* as wfs_engine_parse takes it; NULL: "vllm" */
	uint64_t part_size; /* bytes; 0: one part a rank.  Cut between
			       tensors; a larger tensor has a part alone */
	/* Whose bytes are kept for each other; NULL: all.  Copied. */
	const struct wfs_rank_set *ranks;
};

/*
 * Compiles `base` to a layout named `<base name>@<spec>`.  Takes a reference
 * to `base`, which is a checkpoint, or what an engine saved of one: then the
 * checkpoint is put together again first (core/plan/inverse.h).  Refused with
 * one sentence that names the tensor, the dim, N and the remedy: a dim that N
 * does not divide, a tensor that no rule covers, a rule that matches nothing,
 * no plan for the architecture or quantisation, a config.json that is missing
 * or contradicts the tensors.  `hf`, which does without some of that, is named
 * when it can be had.
 *
 * Files: the base's entries less its weights and indices, then
 * `model-rank-<r>-part-<p>.safetensors`, or with stages
 * `model-pp-<p>-tp-<t>-part-<k>.safetensors`, their headers byte for byte as
 * the engine writes them; of "hf" `model.safetensors` alone.  Ranks: "0" …,
 * or "pp-<P>-tp-<T>".
 */
int wfs_layout_compile(struct wfs_model *base,
		       const struct wfs_layout_spec *spec,
		       const struct wfs_layout_options *options,
		       struct wfs_model **ret_layout, struct wfs_err *err);

/* The name of the plan that a layout was compiled with, or NULL. */
const char *wfs_layout_plan(const struct wfs_model *layout);

/* What a rule of that plan covers. */
struct wfs_layout_rule {
	char *target;	  /* as the plan has it, "model.norm.weight" */
	const char *file; /* where the rule stands; the plan's */
	uint32_t line;
	uint32_t tensors; /* names of the layout, whatever the rank */
};

/* All rules, in the order of the plan; their number. */
size_t wfs_layout_rules(const struct wfs_model *layout,
			struct wfs_layout_rule **ret_rules);
void wfs_layout_rules_free(struct wfs_layout_rule *rules, size_t count);

/* What it was made of: a checkpoint, or one put together of a dump. */
const struct wfs_model *wfs_layout_base(const struct wfs_model *layout);

/*
 * What a layout that was made of a dump (core/plan/inverse.h) cannot have as
 * the checkpoint had it.
 */
enum wfs_loss_kind {
	WFS_LOSS_GONE,	/* not in the dump, if the checkpoint had it; `name`
			  may be a pattern: '*' is any text, "{n}" a number */
	WFS_LOSS_CAST,	/* there, but as the engine cast it */
	WFS_LOSS_SHAPE, /* there, but in the shape that the engine gave it */
};

struct wfs_layout_loss {
	const char *name;
	const char *reason; /* "cast to F32 by built-in/experts.fragment:18" */
	enum wfs_loss_kind kind;
};

/*
 * All of them, borrowed, and how many; -1 where the layout is not made of a
 * dump.
 */
ssize_t wfs_layout_losses(const struct wfs_model *layout,
			  const struct wfs_layout_loss **ret_losses);

/* How a tensor is put together, readable, added to `text`. */
struct wfs_text;
int wfs_layout_describe(const struct wfs_model *layout, uint32_t rank,
			uint32_t index, struct wfs_text *text,
			struct wfs_err *err);
/* Which parts of which tensors it has, as wfs_view_split says it. */
int wfs_layout_split(const struct wfs_model *layout, uint32_t rank,
		     uint32_t index, struct wfs_text *text,
		     struct wfs_err *err);

#endif
