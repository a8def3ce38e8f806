/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions of a plan over one model.
 */
#ifndef WFS_CORE_PLAN_EVALUATE_H
#define WFS_CORE_PLAN_EVALUATE_H

#include <yyjson.h>

#include "core/model/model.h"
#include "core/plan/ghosts.h"
#include "core/plan/plan.h"
#include "core/plan/view.h"

enum wfs_value_kind {
	WFS_VALUE_NULL,
	WFS_VALUE_BOOL,
	WFS_VALUE_INT,
	WFS_VALUE_FLOAT,
	WFS_VALUE_TEXT,
	WFS_VALUE_LIST,
	WFS_VALUE_OBJECT, /* of config.json */
	WFS_VALUE_TENSOR,
	WFS_VALUE_ABSENT, /* `hf`: an argument that is not there */
};

/* `source` of a tensor: an index in the base's rank 0, or one of these. */
#define WFS_SOURCE_NONE (-1)
#define WFS_SOURCE_MANY (-2)

struct wfs_value {
	enum wfs_value_kind kind;
	uint32_t count; /* LIST */
	int64_t source; /* TENSOR */
	union {
		int64_t number; /* BOOL, INT */
		double real;
		const char *text;
		const struct wfs_value *items;
		yyjson_val *object;
		const struct wfs_view *view;
	};
};

static inline struct wfs_value wfs_value_int(int64_t number)
{
	return (struct wfs_value){ .kind = WFS_VALUE_INT, .number = number };
}

static inline struct wfs_value wfs_value_bool(bool is)
{
	return (struct wfs_value){ .kind = WFS_VALUE_BOOL, .number = is };
}

static inline struct wfs_value wfs_value_text(const char *text)
{
	return (struct wfs_value){ .kind = WFS_VALUE_TEXT, .text = text };
}

/* "a number" */
const char *wfs_value_kind(const struct wfs_value *v);

struct wfs_eval;

/* A part of a tensor that comes from one source alone, for `hf` output. */
typedef void (*wfs_part_fn)(struct wfs_eval *e, const struct wfs_view *view,
			    uint32_t source);

/*
 * A tensor that is not there, in `hf`, which does without.  Returned like an
 * error, so that operations on it end at once; only those that join several
 * tensors go on with the others.
 */
#define WFS_EVAL_ABSENT 1

struct wfs_eval {
	const struct wfs_plan *plan;
	const struct wfs_model *base;
	yyjson_val *config;
	unsigned tp, pp, rank, stage;
	bool hf;
	const char *architecture, *quantised;
	struct wfs_value *lets; /* by let; valid where let_done */
	bool *let_done;
	struct wfs_value index[WFS_PLAN_INDICES];
	bool bound[WFS_PLAN_INDICES];
	/* Indices that a stack is to take one value of; -1: all. */
	int64_t only[WFS_PLAN_INDICES];
	const struct wfs_value *frame; /* arguments of the def around */
	struct wfs_pool *pool;	       /* views and texts */
	struct wfs_pool *kept;	       /* what lets hold */
	bool *used;		       /* by source tensor; may be NULL */
	uint32_t found;		       /* sources found since it was cleared */
	uint32_t absent;	       /* how many were not there, `hf` */
	uint32_t depth;		       /* of expressions in expressions */
	uint64_t steps;		       /* expressions evaluated */
	bool missing; /* the failure is a tensor that is not there */
	/* The checkpoint is being found out: every tensor is there that a
	   rule asks for.  NULL: it is `base`. */
	struct wfs_ghosts *ghosts;
	wfs_part_fn part; /* may be NULL */
	void *part_ctx;
	struct wfs_err *err;
};

/* 0, or a negative errno with a sentence. */
int wfs_evaluate(struct wfs_eval *e, const struct wfs_node *n,
		 struct wfs_value *ret);
/* As a condition: 0 or 1, or a negative errno.  NULL is true.  What asks for
   an absent tensor is an error. */
int wfs_evaluate_condition(struct wfs_eval *e, const struct wfs_node *n);
int wfs_evaluate_int(struct wfs_eval *e, const struct wfs_node *n,
		     int64_t *ret);
int wfs_evaluate_text(struct wfs_eval *e, const struct wfs_node *n,
		      const char **ret);
/* As a dtype: "BF16", or as config.json says it, "bfloat16". */
int wfs_evaluate_dtype(struct wfs_eval *e, const struct wfs_node *n,
		       enum wfs_dtype *ret);
/* As a tensor: a text is the tensor of that name; or WFS_EVAL_ABSENT. */
int wfs_evaluate_tensor(struct wfs_eval *e, const struct wfs_node *n,
			struct wfs_value *ret);
/* The tensor number `at` of the base, whole. */
int wfs_eval_source(struct wfs_eval *e, uint32_t at, struct wfs_value *ret);
/* value.c, arithmetic.c and operate.c, for evaluate.c */
struct wfs_value wfs_value_from_json(struct wfs_eval *e, yyjson_val *json);
int wfs_evaluate_binary(struct wfs_eval *e, const struct wfs_node *n,
			struct wfs_value *ret);
int wfs_evaluate_unary(struct wfs_eval *e, const struct wfs_node *n,
		       struct wfs_value *ret);
int wfs_operate(struct wfs_eval *e, const struct wfs_node *n,
		struct wfs_value *ret);
bool wfs_values_equal(const struct wfs_value *a, const struct wfs_value *b);

/* Sets the error: "plan 'x', line n: sentence". */
int wfs_eval_fail(struct wfs_eval *e, const struct wfs_node *n, const char *fmt,
		  ...) __attribute__((format(printf, 3, 4)));

/* How many values an index takes. */
int wfs_eval_index_count(struct wfs_eval *e, uint32_t index, uint64_t *ret);
/* Gives an index its value number `at`. */
int wfs_eval_bind(struct wfs_eval *e, uint32_t index, uint64_t at);

/* Index in the base's rank 0 of the tensor of that name, or -1. */
int64_t wfs_source_find(const struct wfs_model *base, const char *name);

/* Does `s` fit the pattern?  '*' is any text, WFS_GLOB_DIGITS a number. */
#define WFS_GLOB_DIGITS '\x01'
bool wfs_glob(const char *s, const char *pattern);

/* config.c: config.json of a checkpoint. */
struct wfs_config {
	char *text;
	yyjson_doc *doc;
};
int wfs_plan_config_read(const struct wfs_model *base, struct wfs_config *ret,
			 struct wfs_err *err);
void wfs_config_clear(struct wfs_config *config);
/* choose.c: the one architecture that config.json names. */
int wfs_plan_architecture(const struct wfs_model *base, yyjson_val *config,
			  const char **ret, struct wfs_err *err);
/* The value at a dotted path, or NULL. */
yyjson_val *wfs_config_find(yyjson_val *root, const char *path);

#endif
