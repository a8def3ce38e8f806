/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan, parsed: what the files of core/plan share and nobody else sees.
 *
 *   lex.c       text -> words
 *   parse.c     words -> statements, each rule with its conditions
 *   syntax.c    words -> expressions
 *   config.c    config.json
 *   evaluate.c  expressions -> numbers, texts, lists
 *   operate.c   expressions -> views: the operations
 *   choose.c    which plan fits a model
 *   expand.c    rules -> the tensors of a layout
 *   mend.c      the config.json of a layout
 *   invert.c    views read backwards; inverse*.c a plan, over what an engine
 *               saved
 *   layout.c    a layout as a model; layout_*.c its ranks and files
 *
 * The language is described in weightfs-plan(5).  The code knows operations,
 * not engines: what an engine does is in the plans.
 */
#ifndef WFS_CORE_PLAN_PLAN_H
#define WFS_CORE_PLAN_PLAN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/model/pool.h"
#include "core/plan/plans.h"

/* What a hostile or broken plan can ask for at most. */
#define WFS_PLAN_BYTES	  (1u << 20)
#define WFS_PLAN_DEPTH	  48u	 /* nested brackets */
#define WFS_PLAN_NODES	  65536u /* of expressions */
#define WFS_PLAN_RULES	  4096u
#define WFS_PLAN_NAMES	  512u /* lets, defs */
#define WFS_PLAN_INDICES  16u
#define WFS_PLAN_ARGS	  16u
#define WFS_PLAN_BINDINGS 3u /* indices in one tensor's name */

enum wfs_node_kind {
	WFS_NODE_NULL,
	WFS_NODE_BOOL,
	WFS_NODE_INT,
	WFS_NODE_FLOAT,
	WFS_NODE_TEXT,	  /* parts: literals and places */
	WFS_NODE_LIST,	  /* args */
	WFS_NODE_LET,	  /* slot: index in lets */
	WFS_NODE_INDEX,	  /* slot: index in indices */
	WFS_NODE_PARAM,	  /* slot: argument of the def around it */
	WFS_NODE_BUILTIN, /* slot: enum wfs_builtin */
	WFS_NODE_CONFIG,  /* text: dotted path in config.json */
	WFS_NODE_CALL,	  /* slot: index in defs; args */
	WFS_NODE_APPLY,	  /* slot: enum wfs_op; args */
	WFS_NODE_UNARY,	  /* slot: '-' or '!' */
	WFS_NODE_BINARY,  /* slot: enum wfs_binary */
};

enum wfs_builtin {
	WFS_BUILTIN_TP,
	WFS_BUILTIN_PP,
	WFS_BUILTIN_RANK,
	WFS_BUILTIN_STAGE,
	WFS_BUILTIN_ARCHITECTURE,
	WFS_BUILTIN_QUANTISATION,
	WFS_BUILTIN_COUNT,
};

enum wfs_op {
	WFS_OP_SPLIT,
	WFS_OP_SHARE,
	WFS_OP_CONCAT,
	WFS_OP_SLICE,
	WFS_OP_STACK,
	WFS_OP_PAD,
	WFS_OP_TRANSPOSE,
	WFS_OP_RESHAPE,
	WFS_OP_CAST,
	WFS_OP_CONST,
	WFS_OP_REPLICATE,
	WFS_OP_IF,
	WFS_OP_DIM,
	WFS_OP_EXISTS,
	WFS_OP_SAME,
	WFS_OP_MODULES,
	WFS_OP_MATCHES,
	WFS_OP_ITEM,
	WFS_OP_COUNT,
};

enum wfs_binary {
	WFS_BINARY_OR,
	WFS_BINARY_AND,
	WFS_BINARY_ELSE, /* ?? */
	WFS_BINARY_EQ,
	WFS_BINARY_NE,
	WFS_BINARY_LT,
	WFS_BINARY_LE,
	WFS_BINARY_GT,
	WFS_BINARY_GE,
	WFS_BINARY_IN,
	WFS_BINARY_ADD,
	WFS_BINARY_SUB,
	WFS_BINARY_MUL,
	WFS_BINARY_DIV,	  /* exact */
	WFS_BINARY_FLOOR, /* // */
	WFS_BINARY_MOD,
};

struct wfs_node {
	enum wfs_node_kind kind;
	int slot;
	uint32_t line;
	const char *file;	      /* as it is called in messages */
	uint32_t count;		      /* args or parts */
	const struct wfs_node **args; /* TEXT: LITERAL is a TEXT of no
					   parts, a place is any other node */
	const char *text;	      /* TEXT without places, CONFIG */
	int64_t number;		      /* INT, BOOL */
	double real;		      /* FLOAT */
};

enum wfs_stage {
	WFS_STAGE_NONE,
	WFS_STAGE_FIRST,
	WFS_STAGE_LAST,
	WFS_STAGE_ALL
};

struct wfs_rule {
	const struct wfs_node *target; /* TEXT */
	const struct wfs_node *value;
	const struct wfs_node *when; /* NULL: always */
	const struct wfs_node *as;   /* dtype, NULL: as it comes */
	const char *storage;	     /* NULL: its own */
	enum wfs_stage stage;
	bool optional;
	uint32_t line;	     /* of its target */
	uint8_t index_count; /* distinct indices in the target */
	uint8_t indices[WFS_PLAN_BINDINGS];
	uint32_t uses_rank; /* the value says `rank` itself */
};

struct wfs_drop {
	const struct wfs_node *pattern; /* TEXT; '*' is any text, an index
					   in braces is any of its values */
	const struct wfs_node *when;
	bool optional;
};

/* "expect NAME [dims]": what config.json says about a shape. */
struct wfs_expect {
	const struct wfs_node *target;
	const struct wfs_node *when;
	const struct wfs_node *shape; /* a list of numbers */
	uint8_t index_count;
	uint8_t indices[WFS_PLAN_BINDINGS];
};

/* "require CONDITION TEXT" */
struct wfs_require {
	const struct wfs_node *condition;
	const struct wfs_node *when;
	const struct wfs_node *sentence;
};

/* "mend PATH = VALUE": what config.json beside a layout says there. */
struct wfs_mend {
	const struct wfs_node *path;
	const struct wfs_node *when;
	const struct wfs_node *value;
};

struct wfs_let {
	const char *name;
	const struct wfs_node *value;
};

struct wfs_def {
	const char *name;
	const struct wfs_node *value;
	uint32_t params;
};

struct wfs_index_name {
	const char *name;
	const struct wfs_node *count; /* a number or a list of texts; NULL:
					 bound by a stack */
};

struct wfs_quantisation {
	const char *name;
	const struct wfs_node *when; /* NULL: always */
};

enum wfs_leftover { WFS_LEFT_BEFORE_LAST, WFS_LEFT_FIRST, WFS_LEFT_LAST };

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): by meaning */
struct wfs_plan {
	atomic_uint refs;
	struct wfs_pool pool;
	const char *name;
	const char *file; /* "built-in" or the path */
	bool builtin;
	uint64_t hash; /* of its text and of what it includes */

	const char *engine;
	const char *version_from, *version_below; /* NULL: any */
	const char **architectures;
	uint32_t architecture_count;
	struct wfs_quantisation *quantisations;
	uint32_t quantisation_count;
	char *engine_words, *architecture_words, *quantisation_words;

	struct wfs_let *lets;
	uint32_t let_count;
	struct wfs_def *defs;
	uint32_t def_count;
	struct wfs_index_name *indices;
	uint32_t index_count;
	int pipeline; /* the index that stages share out, -1: none */
	enum wfs_leftover leftover;

	struct wfs_rule *rules;
	uint32_t rule_count;
	struct wfs_drop *drops;
	uint32_t drop_count;
	struct wfs_expect *expects;
	uint32_t expect_count;
	struct wfs_require *requires;
	uint32_t require_count;
	struct wfs_mend *mends;
	uint32_t mend_count;
};

/*
 * Parses `text` (NUL-terminated) of the file `file` as it is called in
 * messages.  -EINVAL with "<file>:<line>:<column>: sentence".
 */
int wfs_plan_parse(const char *text, const char *file, bool builtin,
		   struct wfs_plan **ret_plan, struct wfs_err *err);

struct wfs_plan *wfs_plan_get(struct wfs_plan *plan);
void wfs_plan_put(struct wfs_plan *plan); /* NULL is fine */

/* Dotted versions: < 0, 0, > 0; "0.32" and "0.32.0" are equal. */
int wfs_version_compare(const char *a, const char *b);

/* Which of `pp` stages has layer `at` of `layers`. */
unsigned wfs_plan_stage(enum wfs_leftover leftover, uint64_t layers,
			unsigned pp, uint64_t at);

/* A built-in text, generated from core/plan/builtin. */
struct wfs_builtin_plan {
	const char *name; /* "llama.plan", or "qkv.fragment" for include */
	const char *text;
};
extern const struct wfs_builtin_plan wfs_builtin_plans[]; /* ends: NULL */

#endif
