/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Learning from the inside: what its steps share.
 *
 *   examples.c  the dumps; their tensors in groups that differ in a number
 *   bytes.c     tensors read as elements, a few at a time
 *   index.c     where in the checkpoint are these eight elements?
 *   explain.c   one tensor of one rank -> pieces of tensors
 *   fit.c       the pieces of all ranks -> a rule for any N
 *   heads.c     which dims are key/value heads
 *   propose.c   rules guessed from names, to be held against the bytes
 *   rule.c      a rule -> the tensor of a rank; is it the dump's?
 *   group.c     one rule for many layers
 *   merge.c     rules for many experts that an engine keeps apart
 *   stage.c     pipeline stages, and names of one storage
 *   number.c    a number in the words of config.json
 *   write.c     rules -> the text of a plan
 *   drops.c     what is in no dump
 *
 * Names are patterns: WFS_AT_LAYER stands for the value of the group's index,
 * WFS_AT_STACK for the number of the tensor in a stack, WFS_AT_SECOND for that
 * of a second index.
 */
#ifndef WFS_CORE_PLAN_LEARN_INNER_H
#define WFS_CORE_PLAN_LEARN_INNER_H

#include "core/plan/evaluate.h"
#include "core/plan/learn/learn.h"
#include "core/plan/view.h"

#define WFS_AT_LAYER	 '\x01'
#define WFS_AT_STACK	 '\x02'
#define WFS_AT_SECOND	 '\x03'
#define WFS_LEARN_WINDOW 8u  /* elements that are looked up together */
#define WFS_LEARN_PIECES 15u /* what concat takes */
#define WFS_LEARN_PLACES 64u /* stages of all examples */

/* One dump. */
struct wfs_example {
	const struct wfs_model *dump;
	unsigned tp, pp;
	unsigned place; /* the bit of its first stage */
};

/* A name in the dumps. */
struct wfs_member {
	const char *name, *file_name;
	uint64_t where; /* bits: places that have it */
	int64_t layer;	/* its index' value, -1: none */
};

enum wfs_how {
	WFS_HOW_WHOLE,
	WFS_HOW_SPLIT,
	WFS_HOW_HEADS, /* key/value heads, repeated when they are too few */
	WFS_HOW_PARTS, /* split, but not into more than there are such heads */
};

/* What a piece takes of one tensor of the checkpoint. */
struct wfs_learnt_piece {
	const char *source; /* pattern */
	bool merged;	    /* its last two dims are one; a scalar has one,
			and a dim of one element is none */
	uint8_t ndim;
	enum wfs_how how[WFS_VIEW_DIMS];
	uint64_t start[WFS_VIEW_DIMS], len[WFS_VIEW_DIMS]; /* before sharing */
	uint64_t full[WFS_VIEW_DIMS];			   /* its shape */
};

enum wfs_learnt_when {
	WFS_WHEN_ALWAYS,
	WFS_WHEN_SOURCES, /* where its sources are: optional */
	WFS_WHEN_EXISTS,  /* where a certain tensor of the checkpoint is */
	WFS_WHEN_LISTED,  /* where it was seen */
};

struct wfs_learnt_rule {
	const char *target; /* pattern */
	enum wfs_dtype dtype;
	bool cast;	 /* the sources have another dtype */
	bool transposed; /* the last two dims of all of it */
	bool constant;
	bool first_only; /* rank 0 has it, the others zeros */
	bool pad_by_tp;	 /* the padding's multiple is for each rank */
	uint8_t dim;	 /* of the concatenation */
	uint8_t ndim;	 /* CONSTANT */
	uint8_t pad_dim;
	uint64_t pad;	/* multiple, 0: none */
	uint64_t stack; /* how many are stacked, 0: none */
	uint8_t bits[8];
	uint64_t shape[WFS_VIEW_DIMS]; /* CONSTANT; times tp where shared */
	bool shared[WFS_VIEW_DIMS];
	uint32_t count;
	struct wfs_learnt_piece *pieces;

	int32_t domain; /* which index, -1: none */
	int32_t second; /* the second one, 0: none */
	enum wfs_learnt_when when;
	const char *exists; /* pattern, EXISTS */
	int64_t *layers;    /* that it holds for */
	uint32_t layer_count;
	enum wfs_stage stage;
	uint32_t storage; /* 0: its own */
	const struct wfs_group *group;
	uint64_t where; /* bits: places that have any of it */
};

/* Members whose names differ in the index' value alone. */
struct wfs_group {
	const char *pattern;
	struct wfs_member *members; /* by layer */
	uint32_t count;
	int32_t domain;
	uint64_t elements; /* of the largest */
	bool *done;	   /* by member: has a rule */
};

/* Groups whose patterns begin alike share an index. */
struct wfs_domain {
	const char *prefix; /* NULL: a second index */
	uint64_t count;
	bool pipeline;
	char name[8];
};

struct wfs_index;

struct wfs_learn {
	struct wfs_model *base;
	struct wfs_example *examples;
	size_t example_count;
	unsigned places;
	struct wfs_config config;
	struct wfs_learn_options options;
	struct wfs_pool pool;
	struct wfs_member *members;
	uint32_t member_count;
	struct wfs_group *groups;
	uint32_t group_count;
	struct wfs_domain *domains;
	uint32_t domain_count;
	struct wfs_learnt_rule *rules;
	uint32_t rule_count;
	struct wfs_index *indices[WFS_DTYPE_COUNT][2];
	bool *used; /* by tensor of the checkpoint */
	bool pipelined, shared;
	enum wfs_leftover leftover;
	struct wfs_learnt *out;
	struct wfs_err *err;
};

/* examples.c */
int wfs_learn_examples(struct wfs_learn *k, struct wfs_model *const *dumps,
		       size_t count);
/* Where a name begins its first whole component of digits, and its value. */
const char *wfs_learn_digits(const char *name, int64_t *ret_value,
			     const char **ret_end);
/* The tensor of a member at a stage and rank, or NULL. */
const struct wfs_tensor *wfs_learn_tensor(const struct wfs_learn *k,
					  const struct wfs_example *ex,
					  const struct wfs_member *m,
					  unsigned stage, unsigned rank);
/* A tensor of the member, of the example with the most ranks. */
const struct wfs_tensor *wfs_learn_sample(const struct wfs_learn *k,
					  const struct wfs_member *m,
					  const struct wfs_example **ret_ex,
					  unsigned *ret_stage);
/* How like two names are, by the words between their dots. */
int wfs_learn_likeness(const char *a, const char *b);
/* A sentence for the report.  Said once. */
void wfs_learn_note(struct wfs_learn *k, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void wfs_learn_unexplained(struct wfs_learn *k, const char *name,
			   const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* bytes.c */
struct wfs_elements {
	struct wfs_recipe *recipe;
	unsigned size; /* bytes of an element */
	unsigned ndim;
	uint64_t shape[WFS_VIEW_DIMS];
	uint64_t count;
};
/* -EINVAL for elements that are no whole bytes, and as recipes have it. */
int wfs_elements_open(const struct wfs_view *view, struct wfs_elements *ret,
		      struct wfs_err *err);
void wfs_elements_close(struct wfs_elements *e);
int wfs_elements_read(const struct wfs_elements *e, void *buf, uint64_t at,
		      uint64_t count);
/* 1: all elements are equal, and the first one's bits; 0 or an error. */
int wfs_elements_constant(const struct wfs_elements *e, uint8_t bits[8]);
uint64_t wfs_elements_flat(const uint64_t *shape, unsigned ndim,
			   const uint64_t *at);
/* A tensor of the dump; of the checkpoint, with or without its last dims
   merged, as `dtype`; NULL where that is not possible. */
const struct wfs_view *wfs_learn_dump_view(struct wfs_pool *pool,
					   const struct wfs_model *dump,
					   const struct wfs_tensor *t);
const struct wfs_view *wfs_learn_source_view(struct wfs_pool *pool,
					     const struct wfs_model *base,
					     uint32_t source, bool merged,
					     enum wfs_dtype dtype);

/* index.c */
struct wfs_index_place {
	uint32_t source;
	uint64_t at; /* element */
};
/* The index of what has a dtype, or (`cast`) can be cast to it; built when
   it is first asked for. */
int wfs_index_get(struct wfs_learn *k, enum wfs_dtype dtype, bool cast,
		  struct wfs_index **ret);
/* Up to `max` places where the window was seen. */
unsigned wfs_index_find(const struct wfs_index *index, const void *window,
			struct wfs_index_place *ret, unsigned max);
/* In how many windows that follow each other one is known, surely enough. */
uint64_t wfs_index_reach(const struct wfs_index *index);
void wfs_index_free(struct wfs_index *index);

/* explain.c */
struct wfs_found_piece {
	int64_t source; /* -1: zeros */
	bool merged;
	uint64_t at; /* where along the dim */
	uint64_t start[WFS_VIEW_DIMS], len[WFS_VIEW_DIMS];
	uint64_t full[WFS_VIEW_DIMS];
};
struct wfs_found {
	unsigned dim, ndim;
	uint32_t count;
	struct wfs_found_piece pieces[WFS_LEARN_PIECES];
};
struct wfs_look {
	struct wfs_learn *learn;
	struct wfs_index *index;
	const char *name; /* the tensor's: like names come first */
	enum wfs_dtype dtype;
	unsigned tp;
};
/* 1: found; 0: not; or an error. */
int wfs_learn_explain(const struct wfs_look *look, const struct wfs_elements *e,
		      struct wfs_found *ret);

/* fit.c: a rule from what one member is made of, at the example with the
   most ranks.  1, 0 or an error; `why` is set when it is 0. */
int wfs_learn_fit(struct wfs_learn *k, const struct wfs_group *g,
		  const struct wfs_member *m, struct wfs_learnt_rule *ret,
		  const char **why);
/* Splits the first piece's pad_dim, padded to the first multiple that fits. */
int wfs_learn_pad(struct wfs_learn *k, const struct wfs_member *m,
		  struct wfs_learnt_rule *rule);
/* heads.c: which shares are of key/value heads, if the bytes allow it. */
void wfs_learn_heads(struct wfs_learn *k, const struct wfs_member *m,
		     struct wfs_learnt_rule *rule);
/* Does any rule say how key/value heads are shared out? */
bool wfs_learn_knows_heads(const struct wfs_learn *k);
/* Once all rules are there: caution that they make needless goes. */
void wfs_learn_trust_heads(struct wfs_learn *k);
/* What a hypothesis decided in a rule, for the report. */
void wfs_learn_note_rule(struct wfs_learn *k,
			 const struct wfs_learnt_rule *rule);

/* propose.c */
int wfs_learn_propose_named(struct wfs_learn *k, const struct wfs_group *g,
			    const struct wfs_member *m,
			    struct wfs_learnt_rule *ret);
int wfs_learn_propose_sibling(struct wfs_learn *k, const struct wfs_group *g,
			      const struct wfs_member *m,
			      struct wfs_learnt_rule *ret);
int wfs_learn_propose_constant(struct wfs_learn *k, const struct wfs_group *g,
			       const struct wfs_member *m,
			       struct wfs_learnt_rule *ret);
int wfs_learn_propose_small(struct wfs_learn *k, const struct wfs_group *g,
			    const struct wfs_member *m,
			    struct wfs_learnt_rule *ret);

/* rule.c */
char *wfs_pattern_fill(struct wfs_pool *pool, const char *pattern,
		       int64_t layer, int64_t stack);
const struct wfs_view *wfs_rule_view(struct wfs_learn *k,
				     const struct wfs_learnt_rule *rule,
				     struct wfs_pool *pool, int64_t layer,
				     unsigned tp, unsigned rank);
/* Is it the member in every example?  Long tensors are compared in places.
   1, 0 or an error. */
int wfs_rule_matches(struct wfs_learn *k, const struct wfs_learnt_rule *rule,
		     const struct wfs_member *m);

/* group.c: rules for what a group has none for yet.  What is left is kept for
   another time, or (`last`) not explained. */
int wfs_learn_group(struct wfs_learn *k, struct wfs_group *g, bool last);

/* merge.c: rules that differ in a second number become one. */
void wfs_learn_merge(struct wfs_learn *k);

/* stage.c: stages, storages, leftover. */
int wfs_learn_stages(struct wfs_learn *k);

/* number.c: "config.intermediate_size", or its digits.  `wanted` are keys
   that are tried first, NULL at the end. */
bool wfs_config_number(const struct wfs_learn *k, const char *key,
		       uint64_t *ret);
void wfs_number_text(const struct wfs_learn *k, uint64_t n,
		     const char *const *wanted, struct wfs_text *text);
/* What config.json may call the number of experts. */
extern const char *const wfs_expert_counts[];
/* heads.c: false: config.json does not say. */
bool wfs_learn_head_counts(const struct wfs_learn *k, uint64_t *ret_heads,
			   uint64_t *ret_kv, uint64_t *ret_dim);
/* How long a region of a source is, as an expression; false: digits. */
bool wfs_region_text(const struct wfs_learn *k,
		     const struct wfs_learnt_rule *rule, uint32_t piece,
		     unsigned dim, struct wfs_text *text);

/* write.c */
int wfs_learn_write(struct wfs_learn *k);
/* drops.c: patterns of what no rule uses, into `text`. */
void wfs_learn_drops(struct wfs_learn *k, struct wfs_text *text);

#endif
