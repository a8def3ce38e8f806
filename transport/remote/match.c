/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which seed's version a name has, and who else is asked for it (same.c).
 */
#include <string.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "transport/remote/inner.h"

bool wfs_remote_is_shared_locked(const struct wfs_remote *remote,
				 const char *remote_name)
{
	unsigned n = 0;

	for (size_t i = 0; i < remote->seed_count && n < 2; i++)
		n += wfs_remote_model_locked(remote->seeds[i], remote_name) !=
		     NULL;
	return n > 1;
}

/* What the authority has found out about its own region since. */
static void learn_root(struct remote_region *region,
		       const struct wfs_manifest_file *file)
{
	if (region->has_root || !file->has_root ||
	    memcmp(region->id, file->id, sizeof(file->id)) != 0)
		return;
	region->has_root = true;
	memcpy(region->root, file->root, sizeof(file->root));
}

/* By neither way to the seed. */
static void leave(struct wfs_far *far, const struct remote_seed *seed,
		  void (*how)(struct wfs_far *far, struct wfs_peer *peer))
{
	how(far, seed->peer);
	if (seed->fast)
		how(far, seed->fast);
}

static void match_file(struct wfs_remote_source *source, size_t index,
		       struct remote_seed *seed)
{
	struct wfs_far *far = source->regions[index].far;
	const struct wfs_manifest_file *file;
	const struct remote_model *model;
	bool own;

	if (seed->away) {
		leave(far, seed, wfs_far_drop);
		return;
	}
	model = wfs_remote_model_locked(seed, source->remote_name);
	/* What becomes of memory is another's to say, see end_if_lost. */
	own = seed == source->regions[index].authority &&
	      !source->manifest->workers;
	/* The authority may still give what it lists no more. */
	if (own && !model)
		return;
	file = wfs_remote_same_locked(source, index, seed);
	if (!file) {
		leave(far, seed,
		      own && model->manifest ? wfs_far_replaced : wfs_far_drop);
		return;
	}
	wfs_far_hold(far, seed->peer, file->id);
	if (seed->fast)
		wfs_far_hold(far, seed->fast, file->id);
}

/*
 * Has anybody a rank's file still?  Who cannot be asked has it as far as is
 * known; memory that was changed or given back nobody has.
 */
static bool is_had(const struct wfs_remote_source *source, size_t index)
{
	const struct wfs_remote *remote = source->remote;
	uint32_t rank;

	if (wfs_workers_rank_of(source->manifest->workers,
				source->manifest->files[index].path, &rank))
		return true;
	for (size_t k = 0; k < remote->seed_count; k++) {
		const struct remote_seed *seed = remote->seeds[k];
		const struct remote_model *model =
			wfs_remote_model_locked(seed, source->remote_name);

		if (wfs_remote_same_locked(source, index, seed) ||
		    wfs_remote_may_be_same_locked(source, index, seed))
			return true;
		/* What it has instead it will say in a moment. */
		if (seed == source->regions[index].authority && model &&
		    !model->manifest)
			return true;
	}
	return false;
}

/* A version without one of its files is none: nothing more of it is read. */
static void end_if_lost(struct wfs_remote_source *source)
{
	struct wfs_choice *choice;
	size_t lost = 0;

	if (!source->manifest->workers || atomic_load(&source->ended))
		return;
	while (lost < source->manifest->count && is_had(source, lost))
		lost++;
	if (lost == source->manifest->count)
		return;
	atomic_store(&source->ended, true);
	choice = wfs_remote_choice_locked(source->remote, source->name);
	if (choice && choice->whole == source->manifest)
		choice->lapsed = true;
	for (size_t i = 0; i < source->manifest->count; i++)
		if (source->regions[i].far)
			wfs_far_end(source->regions[i].far);
	wfs_info("model '%s': the engine has '%s' of this version no more",
		 source->name, source->manifest->files[lost].path);
}

/* What of the model is not what others have who declare the same; or NULL. */
static const struct wfs_manifest_file *
find_odd(const struct wfs_remote_source *source, const struct remote_seed *seed,
	 const struct remote_model *model)
{
	const struct wfs_manifest *whole = source->manifest;

	for (size_t i = 0; i < whole->count; i++) {
		const struct wfs_manifest_file *file = wfs_manifest_find(
			model->manifest, whole->files[i].path);

		if (file && file->has_head &&
		    !wfs_remote_may_be_same_locked(source, i, seed))
			return file;
	}
	return NULL;
}

/*
 * A seed's word is all there is for a declared version, and it contradicts it.
 * One file is enough: a text for each would be another one every time.
 */
static void tell_odd(const struct wfs_remote_source *source,
		     const struct remote_seed *seed)
{
	struct remote_model *model =
		wfs_remote_model_locked(seed, source->remote_name);
	const struct wfs_workers *workers = source->manifest->workers;
	const struct wfs_manifest_file *file;
	char *text wfs_autofree = NULL;

	if (seed->away || !model || !model->manifest ||
	    !model->manifest->workers ||
	    wfs_workers_differ(workers, model->manifest->workers))
		return;
	file = find_odd(source, seed, model);
	if (!file)
		return;
	text = wfs_asprintf("seed '%s', model '%s': declares version '%s', "
			    "but its '%s' has another size, header or digest "
			    "than that of others who do: it is not asked for "
			    "it",
			    seed->link->label, model->name,
			    workers->live.declared, file->path);
	wfs_remote_complain(&model->odd, text);
}

static void tell_all_odd(const struct wfs_remote_source *source)
{
	const struct wfs_workers *workers = source->manifest->workers;

	if (!workers || !workers->live.declared)
		return;
	for (size_t i = 0; i < source->remote->seed_count; i++)
		tell_odd(source, source->remote->seeds[i]);
}

void wfs_remote_match_source_locked(struct wfs_remote_source *source)
{
	struct wfs_remote *remote = source->remote;

	for (size_t i = 0; i < source->manifest->count; i++) {
		struct remote_region *region = &source->regions[i];
		const struct wfs_manifest_file *file = NULL;
		const struct remote_model *own = NULL;

		if (!region->far)
			continue;
		if (region->authority)
			own = wfs_remote_model_locked(region->authority,
						      source->remote_name);
		if (own && own->manifest)
			file = wfs_manifest_find(
				own->manifest, source->manifest->files[i].path);
		if (file && !file->is_dir)
			learn_root(region, file);
		for (size_t k = 0; k < remote->seed_count; k++)
			match_file(source, i, remote->seeds[k]);
	}
	tell_all_odd(source);
	end_if_lost(source);
}

bool wfs_remote_may_offer(const struct wfs_choice *choice,
			  const struct remote_seed *seed)
{
	return choice->url ? seed->url == choice->url : seed->url->all;
}

static bool may_choose(const struct wfs_choice *choice,
		       const struct remote_seed *seed)
{
	const struct remote_model *model =
		wfs_remote_model_locked(seed, choice->remote_name);

	return wfs_remote_may_offer(choice, seed) && seed->up && model &&
	       model->manifest && !model->manifest->workers &&
	       wfs_choice_accepts(choice, model->manifest);
}

static bool is_passed_on(const struct wfs_choice *choice,
			 const struct remote_seed *seed)
{
	return wfs_remote_model_locked(seed, choice->remote_name)->via;
}

bool wfs_remote_is_gone_locked(const struct remote_seed *seed)
{
	uint64_t forget_ns = seed->remote->forget_ns;

	return forget_ns && seed->tried && !seed->up &&
	       wfs_now_ns() - seed->down_since >= forget_ns;
}

static void choose_seed(struct wfs_remote *remote, struct wfs_choice *choice)
{
	struct remote_seed *gone = NULL;

	if (choice->seed &&
	    (choice->seed->away || wfs_remote_is_gone_locked(choice->seed)))
		gone = choice->seed; /* it stays if no other one has it */
	else if (choice->seed &&
		 (!choice->seed->up || may_choose(choice, choice->seed)))
		return; /* it stays while its seed cannot be asked */
	choice->seed = NULL;
	/* One that only passes it on may not have all of it. */
	for (int passed = 0; passed < 2 && !choice->seed; passed++)
		for (size_t i = 0; i < remote->seed_count && !choice->seed; i++)
			if (may_choose(choice, remote->seeds[i]) &&
			    is_passed_on(choice, remote->seeds[i]) == passed)
				choice->seed = remote->seeds[i];
	if (!choice->seed)
		choice->seed = gone;
}

/* What has digests before what has none. */
static void choose(struct wfs_remote *remote, struct wfs_choice *choice)
{
	if (choice->whole)
		wfs_remote_gather_locked(remote, choice);
	if (!choice->whole)
		choose_seed(remote, choice);
	if (!choice->whole && !choice->seed)
		wfs_remote_gather_locked(remote, choice);
}

static size_t find_choice(const struct wfs_remote *remote, const char *name)
{
	size_t i = 0;

	while (i < remote->choice_count &&
	       strcmp(remote->choices[i].name, name) < 0)
		i++;
	return i;
}

struct wfs_choice *wfs_remote_choice_locked(struct wfs_remote *remote,
					    const char *name)
{
	size_t at = find_choice(remote, name);

	if (at == remote->choice_count ||
	    strcmp(remote->choices[at].name, name) != 0)
		return NULL;
	return &remote->choices[at];
}

struct wfs_manifest *wfs_choice_manifest(const struct wfs_choice *choice)
{
	const struct remote_model *model;

	if (choice->whole || !choice->seed)
		return choice->whole;
	model = wfs_remote_model_locked(choice->seed, choice->remote_name);
	return model ? model->manifest : NULL;
}

static void add_choice(struct wfs_remote *remote, const char *name)
{
	size_t at = find_choice(remote, name);
	struct wfs_choice *c;

	remote->choices = wfs_realloc(remote->choices,
				      (remote->choice_count + 1) * sizeof(*c));
	c = &remote->choices[at];
	memmove(c + 1, c, (remote->choice_count - at) * sizeof(*c));
	remote->choice_count++;
	*c = (struct wfs_choice){ .name = wfs_strdup(name),
				  .remote_name = wfs_strdup(name) };
}

void wfs_remote_choose_locked(struct wfs_remote *remote)
{
	for (size_t i = 0; i < remote->seed_count; i++) {
		const struct remote_seed *seed = remote->seeds[i];

		for (size_t k = 0; seed->url->all && k < seed->model_count; k++)
			if (!wfs_remote_choice_locked(remote,
						      seed->models[k].name))
				add_choice(remote, seed->models[k].name);
	}
	for (size_t i = 0; i < remote->choice_count; i++)
		choose(remote, &remote->choices[i]);
}

void wfs_remote_match_locked(struct wfs_remote *remote)
{
	for (struct wfs_remote_source *source = remote->sources; source;
	     source = source->next)
		wfs_remote_match_source_locked(source);
}
