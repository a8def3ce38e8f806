/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layout from the inside: what its steps share.
 *
 * Nothing of a tensor's expression is kept.  A target says which rule made
 * it with which values of its indices; the expression is evaluated again
 * when somebody asks for the tensor.  Shapes are the same on all ranks of a
 * stage, so one target stands for all of them; only in `hf`, where nothing is
 * padded, may ranks differ, and then each has a target of its own.
 */
#ifndef WFS_CORE_PLAN_INNER_H
#define WFS_CORE_PLAN_INNER_H

#include "core/plan/evaluate.h"
#include "core/plan/layout.h"

#define WFS_RULE_NONE UINT32_MAX /* `hf`: whole, as no rule cuts it */

struct wfs_target {
	const char *name, *file_name;
	const uint64_t *shape; /* NULL for a scalar */
	uint64_t size;	       /* bytes */
	uint32_t rule;	       /* or WFS_RULE_NONE */
	uint32_t index[WFS_PLAN_BINDINGS];
	int32_t source;	   /* `hf`: the tensor of the base, else -1 */
	int32_t only;	   /* `hf`: the value of the stack's index, or -1 */
	int32_t rank;	   /* the one that it is of, -1: all of a stage */
	uint16_t from, to; /* stages, both included */
	/* Ranks 0 … of a stage that want bytes in common; 0: not known. */
	_Atomic uint16_t alike;
	uint8_t only_index;
	uint8_t dtype, ndim;
};

/* One file of one rank. */
struct wfs_part {
	const char *name; /* of the file */
	uint32_t rank;
	uint32_t first, count; /* in the rank's file_order */
	uint32_t entry;	       /* index in the model's entries */
	uint32_t header;       /* index in headers: ranks of a stage share */
	uint64_t size;	       /* bytes, with the header */
};

struct wfs_layout {
	struct wfs_model *base;
	struct wfs_plan *plan;
	struct wfs_layout_spec spec;
	struct wfs_rank_set ranks; /* that this node serves */
	struct wfs_config config;
	const char *architecture, *quantised;
	struct wfs_value *lets;
	bool *let_done;
	struct wfs_pool pool;	    /* names, shapes, what lets hold */
	struct wfs_target *targets; /* byte order of file_name */
	uint32_t count;
	bool uneven;		/* some targets are of one rank alone */
	uint32_t **of_rank;	/* by rank, by tensor: target.  Unless uneven
				   the ranks of a stage share one array */
	struct wfs_part *parts; /* by rank, then by number */
	uint32_t part_count;
	uint32_t *part_of_entry; /* part + 1, 0: none */
	struct wfs_source *headers;
	struct wfs_recipe_cache *recipes;
};

/* layout.c: what makes a model a layout. */
extern const struct wfs_model_virtual wfs_layout_ops;

/* choose.c: the plan that fits; a reference. */
int wfs_plan_choose(const struct wfs_layout_options *options,
		    const struct wfs_model *base, yyjson_val *config,
		    struct wfs_layout *layout, struct wfs_err *err);

/* For one rank of `hf`, which is the checkpoint's tensors: no rules. */
int wfs_plan_choose_whole(struct wfs_layout *layout, struct wfs_err *err);

/* layout_compile.c: chooses a plan for the base and spec; nothing is made. */
int wfs_layout_begin(struct wfs_layout *layout,
		     const struct wfs_layout_options *options,
		     struct wfs_err *err);

/* An evaluation over the layout; `lets` and `done` are the caller's copies
   (by let), or NULL for the layout's own while it is compiled. */
void wfs_layout_eval(const struct wfs_layout *layout, struct wfs_pool *pool,
		     struct wfs_err *err, struct wfs_eval *ret);

/* expand.c: fills targets and count. */
int wfs_layout_expand(struct wfs_layout *layout, struct wfs_err *err);
/* The view of a target on a rank, in `pool`. */
int wfs_target_view(const struct wfs_layout *layout,
		    const struct wfs_target *target, uint32_t rank,
		    struct wfs_pool *pool, const struct wfs_view **ret,
		    struct wfs_err *err);

/* hf_part.c: what `view`, of one tensor alone, takes of it, cut out of the
   tensor as it is: neither cast, transposed, reshaped nor padded.  The view
   itself where there is no such cut.  `ret_padded` is set if there was
   padding, and may be NULL. */
const struct wfs_view *wfs_hf_part(struct wfs_pool *pool,
				   const struct wfs_view *view,
				   bool *ret_padded);
/* layout.c: of the target itself, for any rank. */
int wfs_target_recipe(const struct wfs_layout *layout,
		      const struct wfs_target *target, uint32_t rank,
		      struct wfs_recipe **ret_recipe, struct wfs_err *err);
/*
 * layout_share.c: a rank's recipe, which says of each piece how many ranks on
 * this node want its bytes; takes `recipe` over and returns it.
 */
struct wfs_recipe *wfs_layout_share(const struct wfs_layout *layout,
				    struct wfs_target *target, uint32_t rank,
				    struct wfs_recipe *recipe);

/* layout_cache.c: recipes, by a key of the caller's; any thread. */
struct wfs_recipe_cache *wfs_recipe_cache_new(void);
void wfs_recipe_cache_free(struct wfs_recipe_cache *cache);
/* A reference for the caller, or NULL. */
struct wfs_recipe *wfs_recipe_cache_find(struct wfs_recipe_cache *cache,
					 uint64_t key);
/* `recipe` stays the caller's. */
void wfs_recipe_cache_add(struct wfs_recipe_cache *cache, uint64_t key,
			  struct wfs_recipe *recipe);

/* layout_ranks.c: the model's ranks, and the parts. */
int wfs_layout_ranks(struct wfs_layout *layout, struct wfs_model *model,
		     uint64_t part_size, struct wfs_err *err);
/* layout_files.c: the model's entries and directories. */
int wfs_layout_files(struct wfs_layout *layout, struct wfs_model *model,
		     struct wfs_err *err);
/* mend.c: after files; the model's config.json as the plan's "mend"s say. */
int wfs_layout_mend(struct wfs_layout *layout, struct wfs_model *model,
		    struct wfs_err *err);

/*
 * layout_headers.c: a source whose regions are the headers of files, each
 * the same bytes as the reference implementation writes.
 */
struct wfs_source *wfs_headers_new(void);
/*
 * Adds the header of `count` tensors of a rank, in `order`; its index.
 * `format`: it says so, as checkpoints for transformers do.
 */
uint32_t wfs_headers_add(struct wfs_source *headers,
			 const struct wfs_rank *rank, const uint32_t *order,
			 uint32_t count, bool format);
/* Adds bytes, copied, called `path` in messages (kept); their index. */
uint32_t wfs_headers_add_text(struct wfs_source *headers, const char *path,
			      const char *text, size_t len);
struct wfs_region *wfs_headers_region(struct wfs_source *headers,
				      uint32_t index);

#endif
