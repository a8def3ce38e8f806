/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words of a plan: names, numbers, quoted texts and signs; '#' starts a
 * comment.  Line ends mean nothing: statements begin with keywords.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/plan/lex.h"

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int wfs_parse_fail(struct wfs_parser *p, const struct wfs_word *word,
		   const char *fmt, ...)
{
	char sentence[512];
	va_list ap;

	if (!word)
		word = &p->word;
	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	return wfs_err_set(p->err, -EINVAL, "%s:%u:%u: %s", p->file, word->line,
			   word->column, sentence);
}

static void skip_space(struct wfs_parser *p)
{
	for (;; p->at++) {
		if (*p->at == '#')
			while (p->at[1] && p->at[1] != '\n')
				p->at++;
		else if (*p->at == '\n')
			p->line++, p->line_start = p->at + 1;
		else if (*p->at != ' ' && *p->at != '\t' && *p->at != '\r')
			return;
	}
}

static bool lex_text(struct wfs_parser *p)
{
	const char *s = ++p->at;

	while (*p->at && *p->at != '"' && *p->at != '\n')
		p->at++;
	if (*p->at != '"') {
		wfs_parse_fail(p, NULL, "a text that is not closed by '\"'");
		return false;
	}
	p->word.kind = WFS_WORD_TEXT;
	p->word.s = s;
	p->word.len = (uint32_t)(p->at++ - s);
	return true;
}

static bool lex_sign(struct wfs_parser *p)
{
	static const char *const two[] = { "??", "==", "!=", "<=", ">=", "//" };

	p->word.kind = WFS_WORD_SIGN;
	p->word.len = 1;
	for (size_t i = 0; i < sizeof(two) / sizeof(*two); i++)
		if (!strncmp(p->at, two[i], 2))
			p->word.len = 2;
	if (p->word.len == 1 && !strchr("()[]{},=<>+-*/%.", *p->at)) {
		wfs_parse_fail(p, NULL, "unexpected character '%c'", *p->at);
		return false;
	}
	p->at += p->word.len;
	return true;
}

bool wfs_lex_next(struct wfs_parser *p)
{
	skip_space(p);
	p->word.s = p->at;
	p->word.line = p->line;
	p->word.column = (uint32_t)(p->at - p->line_start) + 1;
	p->word.len = 0;
	if (!*p->at) {
		p->word.kind = WFS_WORD_END;
		return true;
	}
	if (*p->at == '"')
		return lex_text(p);
	if (is_letter(*p->at)) {
		p->word.kind = WFS_WORD_NAME;
		while (is_letter(*p->at) || is_digit(*p->at))
			p->at++;
	} else if (is_digit(*p->at)) {
		p->word.kind = WFS_WORD_NUMBER;
		while (is_digit(*p->at) ||
		       (*p->at == '.' && is_digit(p->at[1])))
			p->at++;
	} else {
		return lex_sign(p);
	}
	p->word.len = (uint32_t)(p->at - p->word.s);
	return true;
}

bool wfs_word_is(const struct wfs_parser *p, const char *text)
{
	return p->word.kind != WFS_WORD_TEXT && p->word.kind != WFS_WORD_END &&
	       strlen(text) == p->word.len &&
	       !memcmp(text, p->word.s, p->word.len);
}

char *wfs_word_keep(struct wfs_parser *p)
{
	return wfs_pool_text(&p->plan->pool, p->word.s, p->word.len);
}

bool wfs_parse_take(struct wfs_parser *p, const char *text)
{
	if (wfs_word_is(p, text))
		return wfs_lex_next(p);
	if (p->word.kind == WFS_WORD_END)
		wfs_parse_fail(p, NULL, "'%s' expected, the file ends", text);
	else
		wfs_parse_fail(p, NULL, "'%s' expected, not '%.*s'", text,
			       (int)(p->word.len > 60 ? 60 : p->word.len),
			       p->word.s);
	return false;
}

static const char *const keywords[] = {
	"plan",	   "engine", "architectures", "quantisation", "include",
	"let",	   "def",    "index",	      "pipeline",     "when",
	"tensor",  "drop",   "expect",	      "require",      "stage",
	"storage", "as",     "optional",      "otherwise",    "mend",
};

bool wfs_word_is_keyword(const struct wfs_word *word)
{
	if (word->kind != WFS_WORD_NAME)
		return false;
	for (size_t i = 0; i < sizeof(keywords) / sizeof(*keywords); i++)
		if (strlen(keywords[i]) == word->len &&
		    !memcmp(keywords[i], word->s, word->len))
			return true;
	return false;
}

bool wfs_word_same(const char *name, const char *s, uint32_t len)
{
	return strlen(name) == len && !memcmp(name, s, len);
}
