/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See live.h.
 */
#include "core/live.h"

#include "core/base/text.h"

static void add_word(struct wfs_text *text, const char *key, const char *word)
{
	wfs_text_add(text, ", \"%s\": ", key);
	if (word)
		wfs_text_add_json(text, word);
	else
		wfs_text_add(text, "null");
}

static void add_origins(const struct wfs_live *live, struct wfs_text *text)
{
	wfs_text_add(text, ", \"of\": [");
	for (size_t i = 0; i < live->rank_count; i++)
		wfs_text_add(text,
			     "%s{\"rank\": %u, \"node\": \"%s\", "
			     "\"version\": \"%s\"}",
			     i ? ", " : "", live->ranks[i],
			     live->origins[i].node, live->origins[i].version);
	wfs_text_add(text, "]");
}

void wfs_live_add(const struct wfs_live *live, struct wfs_text *text)
{
	wfs_text_add(text, "{\"epoch\": %llu", (unsigned long long)live->epoch);
	add_word(text, "engine", live->engine);
	add_word(text, "engine_version", live->engine_version);
	add_word(text, "layout", live->layout);
	add_word(text, "state", live->state);
	add_word(text, "declared", live->declared);
	wfs_text_add(text, ", \"ranks\": [");
	for (size_t i = 0; i < live->rank_count; i++)
		wfs_text_add(text, "%s%u", i ? ", " : "", live->ranks[i]);
	wfs_text_add(text, "], \"digests\": %s",
		     live->digests ? "true" : "false");
	if (live->origins)
		add_origins(live, text);
	wfs_text_add(text, "}");
}

char *wfs_live_text(const struct wfs_live *live)
{
	struct wfs_text text = { 0 };

	wfs_text_add(&text, "%s", live->engine ? live->engine : "an engine");
	if (live->engine_version)
		wfs_text_add(&text, " %s", live->engine_version);
	if (live->layout)
		wfs_text_add(&text, ", %s", live->layout);
	return text.data;
}
