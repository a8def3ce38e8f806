/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For which models a learnt plan is: the engine that was asked for, and of
 * the model's config.json the architecture and the quantisation, all of whose
 * values must be the same.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/learn/write.h"

#define DEPTH 6 /* objects in objects of a quantisation */

static bool is_word(const char *s)
{
	if (!isalpha((unsigned char)*s) && *s != '_')
		return false;
	while (isalnum((unsigned char)*s) || *s == '_')
		s++;
	return !*s;
}

/* "LlamaForCausalLM" -> "llama" */
static char *name_of(const char *arch)
{
	const char *tail = strstr(arch, "For");
	char *name = wfs_strdup(arch);

	if (tail && tail > arch)
		name[tail - arch] = '\0';
	for (char *c = name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return name;
}

/* "0.32.1" -> from 0.32 on and below 0.33 */
static void add_versions(const char *version, struct wfs_text *text)
{
	char *end;
	unsigned long major = strtoul(version, &end, 10), minor;

	if (*end != '.') {
		wfs_text_add(text, " >=%lu <%lu", major, major + 1);
		return;
	}
	minor = strtoul(end + 1, NULL, 10);
	wfs_text_add(text, " >=%lu.%lu <%lu.%lu", major, minor, major,
		     minor + 1);
}

static void add_value(yyjson_val *v, struct wfs_text *text)
{
	yyjson_arr_iter it;
	yyjson_val *item;
	const char *comma = "";

	if (yyjson_is_bool(v)) {
		wfs_text_add(text, "%s", yyjson_get_bool(v) ? "true" : "false");
	} else if (yyjson_is_int(v)) {
		wfs_text_add(text, "%" PRId64, yyjson_get_sint(v));
	} else if (yyjson_is_str(v)) {
		wfs_text_add(text, "\"%s\"", yyjson_get_str(v));
	} else {
		wfs_text_add(text, "[");
		it = yyjson_arr_iter_with(v);
		while ((item = yyjson_arr_iter_next(&it))) {
			wfs_text_add(text, "%s", comma);
			add_value(item, text);
			comma = ", ";
		}
		wfs_text_add(text, "]");
	}
}

/* What can be compared: truths, whole numbers, texts, short lists of
   numbers. */
static bool is_plain(yyjson_val *v)
{
	yyjson_arr_iter it;
	yyjson_val *item;

	if (yyjson_is_str(v))
		return wfs_write_possible(yyjson_get_str(v));
	if (!yyjson_is_arr(v))
		return yyjson_is_bool(v) || yyjson_is_int(v);
	it = yyjson_arr_iter_with(v);
	while ((item = yyjson_arr_iter_next(&it)))
		if (!yyjson_is_int(item))
			return false;
	return yyjson_arr_size(v) && yyjson_arr_size(v) <= 4;
}

static void add_object(const char *path, yyjson_val *object, unsigned depth,
		       struct wfs_text *text)
{
	yyjson_obj_iter it = yyjson_obj_iter_with(object);
	yyjson_val *key;

	while ((key = yyjson_obj_iter_next(&it))) {
		yyjson_val *v = yyjson_obj_iter_get_val(key);
		char *inner wfs_autofree = NULL;

		if (!is_word(yyjson_get_str(key)))
			continue;
		inner = wfs_asprintf("%s.%s", path, yyjson_get_str(key));
		if (yyjson_is_obj(v) && depth) {
			add_object(inner, v, depth - 1, text);
		} else if (is_plain(v)) {
			wfs_text_add(text, "\n    and (%s ?? null) == ", inner);
			add_value(v, text);
		}
	}
}

static void add_quantisation(const struct wfs_learn *k, struct wfs_text *text)
{
	yyjson_val *q = yyjson_obj_get(yyjson_doc_get_root(k->config.doc),
				       "quantization_config");
	yyjson_val *method = yyjson_obj_get(q, "quant_method");
	char *name wfs_autofree = NULL;

	if (!yyjson_is_obj(q)) {
		wfs_text_add(text,
			     "quantisation none when "
			     "(config.quantization_config ?? null) == null\n");
		return;
	}
	name = wfs_asprintf("q_%s", yyjson_is_str(method) ?
					    yyjson_get_str(method) :
					    "learnt");
	for (char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c))
			*c = '_';
	wfs_text_add(text, "quantisation %s when true", name);
	add_object("config.quantization_config", q, DEPTH, text);
	wfs_text_add(text, "\n");
}

int wfs_write_head(struct wfs_learn *k, struct wfs_text *text)
{
	const struct wfs_learn_options *o = &k->options;
	const char *arch = NULL;
	char *name wfs_autofree = NULL;
	struct wfs_engine engine;
	int rc = wfs_engine_parse(o->engine ? o->engine : "vllm", &engine,
				  k->err);

	if (!rc)
		rc = wfs_plan_architecture(k->base,
					   yyjson_doc_get_root(k->config.doc),
					   &arch, k->err);

	if (rc)
		return rc;
	if (!is_word(arch))
		return wfs_err_set(k->err, -EINVAL,
				   "model '%s': architecture '%.120s' cannot "
				   "be written in a plan",
				   k->base->name, arch);
	name = name_of(arch);
	wfs_text_add(text, "plan %s\nengine %.*s", o->name ? o->name : name,
		     (int)engine.name_len, engine.name);
	if (engine.version)
		add_versions(engine.version, text);
	wfs_text_add(text, "\narchitectures %s\n", arch);
	add_quantisation(k, text);
	wfs_text_add(text, "\n");
	return 0;
}
