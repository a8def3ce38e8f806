/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model in the memory of an engine, put together of the seeds of its
 * workers: each serves its own rank, and nobody all of them.
 *
 * Ranks belong together if their engines say the same of themselves and of
 * their config.json, and: the same declared version; or, without one, the same
 * epoch, of one engine.  Which worker is of which engine nobody says: where a
 * rank is offered twice, without a declared version or with files that differ,
 * nothing is put together, unless one seed has all ranks.  A version stays as
 * long as each of its ranks is offered, or was by who cannot be asked.
 */
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "transport/remote/inner.h"

struct gather {
	const struct wfs_remote *remote;
	const struct wfs_choice *choice;
	const struct remote_model *lead;  /* what the others are to be like */
	const struct remote_seed **picks; /* who has a rank; NULL: nobody */
	/* Two that have the same rank, of nobody knows which engine. */
	const struct remote_seed *twice[2];
	uint32_t twice_rank;
};

/* What keeps them from being ranks of one model; NULL: nothing. */
static const char *apart(const struct wfs_manifest *a,
			 const struct wfs_manifest *b)
{
	const char *why = wfs_workers_differ(a->workers, b->workers);

	if (!why && !wfs_live_same_config(a, b))
		why = "config.json";
	if (!why && !a->workers->live.declared &&
	    a->workers->live.epoch != b->workers->live.epoch)
		why = "epoch";
	return why;
}

static const struct wfs_manifest *manifest_of(const struct gather *g,
					      const struct remote_seed *seed)
{
	return wfs_remote_live_of(g->choice, seed)->manifest;
}

/* Who was picked for a rank of which it has another one; or NULL. */
static const struct remote_seed *find_conflict(const struct gather *g,
					       const struct wfs_manifest *m,
					       uint32_t *ret_rank)
{
	for (size_t i = 0; i < m->workers->live.rank_count; i++) {
		uint32_t rank = m->workers->ranks[i];
		const struct remote_seed *picked = g->picks[rank];

		if (picked &&
		    !wfs_live_same_rank(manifest_of(g, picked), m, rank)) {
			*ret_rank = rank;
			return picked;
		}
	}
	return NULL;
}

static bool has_all(const struct remote_model *m)
{
	return m->manifest->workers->live.rank_count ==
	       m->manifest->workers->world;
}

static void pick(struct gather *g, const struct remote_seed *seed)
{
	const struct remote_model *m = wfs_remote_live_of(g->choice, seed);
	const struct wfs_workers *workers = m->manifest->workers;
	const struct remote_seed *other;
	uint32_t rank;

	other = find_conflict(g, m->manifest, &rank);
	if (other && !m->via && !has_all(g->lead)) {
		g->twice[0] = other;
		g->twice[1] = seed;
		g->twice_rank = rank;
	}
	/*
	 * Who passes on another one's ranks may have those of before; who
	 * has what one that has all declares otherwise is told of elsewhere
	 * (match.c).
	 */
	if (other)
		return;
	for (size_t i = 0; i < workers->live.rank_count; i++)
		if (!g->picks[workers->ranks[i]])
			g->picks[workers->ranks[i]] = seed;
}

/* The lead and all that go with it, those that have it first hand at first. */
static void pick_all(struct gather *g, const struct remote_seed *of_lead)
{
	const struct wfs_manifest *lead = g->lead->manifest;

	pick(g, of_lead);
	if (has_all(g->lead) && !lead->workers->live.declared)
		return; /* nobody else's would be its own */
	for (int passed = 0; passed < 2; passed++)
		for (size_t i = 0; i < g->remote->seed_count; i++) {
			const struct remote_seed *seed = g->remote->seeds[i];
			const struct remote_model *m =
				wfs_remote_live_of(g->choice, seed);

			if (m && seed->up && !!m->via == passed &&
			    !apart(lead, m->manifest))
				pick(g, seed);
		}
}

static uint32_t count_picks(const struct gather *g)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < g->lead->manifest->workers->world; i++)
		n += g->picks[i] != NULL;
	return n;
}

/* ---- what is said */

static void add_have(const struct gather *g, struct wfs_text *text)
{
	uint32_t world = g->lead->manifest->workers->world;
	bool *has wfs_autofree = wfs_calloc(world, sizeof(*has));
	const char *between = "";

	for (size_t k = 0; k < g->remote->seed_count; k++) {
		const struct remote_seed *seed = g->remote->seeds[k];
		bool any = false;

		for (uint32_t i = 0; i < world; i++) {
			has[i] = g->picks[i] == seed;
			any |= has[i];
		}
		if (!any)
			continue;
		wfs_text_add(text, "%s'%s' has ", between, seed->link->label);
		wfs_workers_add_ranks(text, has, world);
		between = ", ";
	}
}

/* Those that have the name, and something else. */
static void add_others(const struct gather *g, struct wfs_text *text)
{
	for (size_t i = 0; i < g->remote->seed_count; i++) {
		const struct remote_seed *seed = g->remote->seeds[i];
		const struct remote_model *m =
			wfs_remote_live_of(g->choice, seed);
		const char *why = m ? apart(g->lead->manifest, m->manifest) :
				      NULL;

		if (seed->away || !wfs_remote_may_offer(g->choice, seed))
			continue;
		if (!seed->up)
			wfs_text_add(text, ", '%s' does not answer",
				     seed->link->label);
		else if (why)
			wfs_text_add(text, ", '%s' has another %s",
				     seed->link->label, why);
	}
}

static void add_twice(const struct gather *g, struct wfs_text *text)
{
	const char *version = g->lead->manifest->workers->live.declared;

	wfs_text_add(text, "'%s' and '%s' both have rank %u and ",
		     g->twice[0]->link->label, g->twice[1]->link->label,
		     g->twice_rank);
	if (version)
		wfs_text_add(text,
			     "declare version '%s', but sizes, headers or "
			     "digests of their files differ",
			     version);
	else
		wfs_text_add(text, "declare no version");
	wfs_text_add(text, ", so that nobody can tell which ranks belong "
			   "together: let each engine declare the version of "
			   "its weights");
}

/* Why nothing can be made of it; the caller frees it. */
static char *make_complaint(const struct gather *g)
{
	uint32_t world = g->lead->manifest->workers->world;
	bool *has wfs_autofree = wfs_calloc(world, sizeof(*has));
	char *engine wfs_autofree =
		wfs_live_text(&g->lead->manifest->workers->live);
	struct wfs_text text = { 0 };

	wfs_text_add(&text, "model '%s' of %s: ", g->choice->name, engine);
	if (g->twice[0]) {
		add_twice(g, &text);
		return text.data;
	}
	for (uint32_t i = 0; i < world; i++)
		has[i] = !g->picks[i];
	wfs_workers_add_ranks(&text, has, world);
	wfs_text_add(&text, " of %u missing: ", world);
	add_have(g, &text);
	add_others(g, &text);
	return text.data;
}

static void tell(struct wfs_choice *choice, const struct gather *g)
{
	const struct wfs_live *live = &choice->whole->workers->live;
	char *engine wfs_autofree = wfs_live_text(live);
	struct wfs_text text = { 0 };

	wfs_text_add(&text,
		     "model '%s' of %s: all ranks are there: ", choice->name,
		     engine);
	add_have(g, &text);
	if (live->declared)
		wfs_info("%s; that others have the same rests on version '%s', "
			 "which they declare, and on the %s of their files",
			 text.data, live->declared,
			 live->digests ? "digests" : "headers");
	else
		wfs_info("%s; no version is declared: nobody else is asked",
			 text.data);
	free(text.data);
}

/* ---- the version */

/* The seed's files of the ranks that it was picked for, and the lead's others.
 */
static void add_files(const struct gather *g, struct wfs_manifest *m,
		      const struct remote_seed *seed)
{
	const struct remote_model *of = wfs_remote_live_of(g->choice, seed);
	const struct wfs_manifest *from = of ? of->manifest : NULL;
	uint32_t rank;

	for (size_t i = 0; from && i < from->count; i++) {
		const struct wfs_manifest_file *file = &from->files[i];
		bool is_ranks =
			!wfs_workers_rank_of(m->workers, file->path, &rank);

		if (is_ranks ? g->picks[rank] != seed : of != g->lead)
			continue;
		m->files = wfs_realloc(m->files,
				       (m->count + 1) * sizeof(*m->files));
		m->files[m->count] = *file;
		m->files[m->count++].path = wfs_strdup(file->path);
	}
}

static int make_whole(const struct gather *g, struct wfs_manifest **ret,
		      struct wfs_err *err)
{
	struct wfs_manifest *m = wfs_calloc(1, sizeof(*m));
	char *what wfs_autofree =
		wfs_asprintf("model '%s'", g->choice->remote_name);
	int rc;

	atomic_init(&m->refs, 1);
	m->workers = wfs_workers_like(g->lead->manifest->workers);
	m->workers->live.digests = true;
	for (uint32_t i = 0; i < m->workers->world; i++) {
		const struct wfs_workers *of =
			manifest_of(g, g->picks[i])->workers;

		m->workers->ranks[i] = i;
		m->workers->origins[i] = *wfs_workers_origin(of, i);
		m->workers->live.digests &= of->live.digests;
		if (m->workers->live.epoch < of->live.epoch)
			m->workers->live.epoch = of->live.epoch;
	}
	m->workers->live.rank_count = m->workers->world;
	for (size_t i = 0; i < g->remote->seed_count; i++)
		add_files(g, m, g->remote->seeds[i]);
	rc = wfs_manifest_check(m, what, err);
	if (rc) {
		wfs_manifest_put(m);
		return rc;
	}
	wfs_whole_set_version(m);
	*ret = m;
	return 0;
}

/* Takes it, unless it is the version that the name has. */
static void take(struct wfs_choice *choice, const struct gather *g)
{
	struct wfs_manifest *whole;
	struct wfs_err err = { 0 };

	if (make_whole(g, &whole, &err)) {
		wfs_remote_complain(&choice->complaint, err.text);
		return;
	}
	free(wfs_steal_ptr(&choice->complaint));
	if (choice->whole && !choice->lapsed &&
	    !strcmp(choice->whole->version, whole->version)) {
		wfs_manifest_put(whole);
		return;
	}
	/* The same as one that was over is new all the same. */
	choice->round += choice->lapsed;
	choice->lapsed = false;
	wfs_manifest_put(choice->whole);
	choice->whole = whole;
	tell(choice, g);
}

/*
 * What can be put together of those that are like this seed's: true if it is
 * all.  Otherwise *best is the most that could, and *why what it lacks.
 */
static bool try_lead(const struct wfs_remote *remote, struct wfs_choice *choice,
		     const struct remote_seed *seed, uint32_t *best, char **why)
{
	const struct remote_model *lead = wfs_remote_live_of(choice, seed);
	uint32_t world = lead->manifest->workers->world, n;
	struct gather g = {
		.remote = remote,
		.choice = choice,
		.lead = lead,
		.picks = wfs_calloc(world, sizeof(struct remote_seed *)),
	};
	bool whole;

	pick_all(&g, seed);
	n = count_picks(&g);
	whole = n == world && !g.twice[0];
	if (whole) {
		take(choice, &g);
	} else if (n > *best) {
		*best = n;
		free(*why);
		*why = make_complaint(&g);
	}
	free(g.picks);
	return whole;
}

void wfs_remote_gather_locked(struct wfs_remote *remote,
			      struct wfs_choice *choice)
{
	enum wfs_standing standing =
		choice->whole && !choice->lapsed ?
			wfs_whole_standing_locked(remote, choice) :
			WFS_FALLEN;
	bool taken = standing == WFS_FIRST_HAND;
	char *why wfs_autofree = NULL;
	uint32_t best = 0;

	for (int passed = 0; passed < 2 && !taken; passed++)
		for (size_t i = 0; i < remote->seed_count && !taken; i++) {
			const struct remote_model *lead =
				wfs_remote_live_of(choice, remote->seeds[i]);

			if (lead && remote->seeds[i]->up &&
			    !!lead->via == passed)
				taken = try_lead(remote, choice,
						 remote->seeds[i], &best, &why);
		}
	if (taken || standing == WFS_PASSED_ON)
		return;
	if (why) {
		wfs_remote_complain(&choice->complaint, why);
		return;
	}
	/* Nobody who answers has a rank of it. */
	free(wfs_steal_ptr(&choice->complaint));
	wfs_manifest_put(wfs_steal_ptr(&choice->whole));
}
