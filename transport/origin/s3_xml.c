/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XML of S3, read by expat.  Nothing that a server sends has a document
 * type, and with one entities could grow without end: it is refused.
 */
#include <errno.h>
#include <expat.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "transport/origin/s3.h"

#define DEPTH_MAX 8
#define TEXT_MAX  4096 /* of an element; keys have 1024 bytes, at most */
#define NAME_MAX_ 64

/* Where the parser is: names of the open elements, the text of the last. */
struct walk {
	XML_Parser parser;
	char names[DEPTH_MAX][NAME_MAX_];
	int depth;
	char text[TEXT_MAX + 1];
	size_t len;
	bool wrong;
	/* Called at the end of an element below `parent`. */
	void (*leaf)(struct walk *walk, const char *parent, const char *name);
	void *ctx;
};

static void stop(struct walk *walk)
{
	walk->wrong = true;
	XML_StopParser(walk->parser, XML_FALSE);
}

static void on_start(void *ctx, const char *name, const char **attributes)
{
	struct walk *walk = ctx;

	(void)attributes;
	if (walk->depth == DEPTH_MAX || strlen(name) >= NAME_MAX_) {
		stop(walk);
		return;
	}
	strcpy(walk->names[walk->depth++], name);
	walk->len = 0;
}

static void on_text(void *ctx, const char *text, int len)
{
	struct walk *walk = ctx;

	if ((size_t)len > TEXT_MAX - walk->len) {
		stop(walk);
		return;
	}
	memcpy(walk->text + walk->len, text, (size_t)len);
	walk->len += (size_t)len;
}

static void on_end(void *ctx, const char *name)
{
	struct walk *walk = ctx;

	walk->text[walk->len] = '\0';
	walk->depth--;
	if (!walk->wrong)
		walk->leaf(walk,
			   walk->depth ? walk->names[walk->depth - 1] : "",
			   name);
	walk->len = 0;
}

static void on_doctype(void *ctx, const char *name, const char *system_id,
		       const char *public_id, int has_internal)
{
	(void)name, (void)system_id, (void)public_id, (void)has_internal;
	stop(ctx);
}

/* NULL, or what is wrong with it. */
static const char *walk_xml(struct walk *walk, const char *xml, size_t len)
{
	const char *why = NULL;

	if (len > INT_MAX)
		return "it is too long";
	walk->parser = XML_ParserCreate("UTF-8");
	if (!walk->parser)
		return "out of memory";
	XML_SetUserData(walk->parser, walk);
	XML_SetElementHandler(walk->parser, on_start, on_end);
	XML_SetCharacterDataHandler(walk->parser, on_text);
	XML_SetStartDoctypeDeclHandler(walk->parser, on_doctype);
	if (XML_Parse(walk->parser, xml, (int)len, XML_TRUE) != XML_STATUS_OK)
		why = walk->wrong ?
			      "it has what no listing has" :
			      XML_ErrorString(XML_GetErrorCode(walk->parser));
	XML_ParserFree(walk->parser);
	return why ? why : walk->wrong ? "it has what no listing has" : NULL;
}

/* ---- listings */

struct page_walk {
	struct wfs_s3_page page;
	size_t cap;
	struct wfs_web_file file; /* the one that is open */
	bool has_size;
	bool escaped, truncated;
};

static bool parse_size(const char *text, uint64_t *ret)
{
	uint64_t value = 0;

	if (!*text || strlen(text) > 18)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		value = value * 10 + (uint64_t)(*text - '0');
	}
	*ret = value;
	return true;
}

/* "2026-01-31T12:00:00.000Z" */
static void take_time(struct wfs_web_file *file, const char *text)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!end)
		return;
	file->mtime.tv_sec = timegm(&tm);
	if (file->mtime.tv_sec < 0)
		file->mtime.tv_sec = 0;
	if (strlen(text) < sizeof(file->modified))
		strcpy(file->modified, text);
}

/* Some servers leave the quotes away. */
static void take_tag(struct wfs_web_file *file, const char *text)
{
	size_t len = strlen(text);

	if (!len || len + 3 > sizeof(file->etag) || strpbrk(text, "\r\n"))
		return;
	if (text[0] == '"')
		strcpy(file->etag, text);
	else if (!strchr(text, '"'))
		snprintf(file->etag, sizeof(file->etag), "\"%.*s\"",
			 (int)sizeof(file->etag) - 3, text);
}

static void end_file(struct walk *walk, struct page_walk *p)
{
	if (!p->file.path || !p->has_size) {
		stop(walk);
		return;
	}
	if (p->page.count == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 64;
		p->page.files = wfs_realloc(p->page.files,
					    p->cap * sizeof(*p->page.files));
	}
	p->page.files[p->page.count++] = p->file;
	p->file = (struct wfs_web_file){ 0 };
	p->has_size = false;
}

static void in_file(struct walk *walk, struct page_walk *p, const char *name)
{
	const char *text = walk->text;

	if (!strcmp(name, "Key")) {
		if (p->file.path || !*text)
			stop(walk);
		else
			p->file.path = wfs_strdup(text);
	} else if (!strcmp(name, "Size")) {
		if (p->has_size || !parse_size(text, &p->file.size))
			stop(walk);
		p->has_size = true;
	} else if (!strcmp(name, "ETag")) {
		take_tag(&p->file, text);
	} else if (!strcmp(name, "LastModified")) {
		take_time(&p->file, text);
	}
}

static void page_leaf(struct walk *walk, const char *parent, const char *name)
{
	struct page_walk *p = walk->ctx;

	if (walk->depth == 2 && !strcmp(parent, "Contents")) {
		in_file(walk, p, name);
	} else if (walk->depth == 0 && strcmp(name, "ListBucketResult") != 0) {
		stop(walk);
	} else if (walk->depth == 1) {
		if (!strcmp(name, "Contents"))
			end_file(walk, p);
		else if (!strcmp(name, "IsTruncated"))
			p->truncated = !strcmp(walk->text, "true");
		else if (!strcmp(name, "EncodingType"))
			p->escaped = !strcmp(walk->text, "url");
		else if (!strcmp(name, "NextContinuationToken") &&
			 !p->page.next && walk->len)
			p->page.next = wfs_strdup(walk->text);
	}
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As forms have them: %XX, and "+" for a blank.  False for a NUL. */
static bool unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		int high = *text == '%' ? hex_digit(text[1]) : -1;
		int low = high >= 0 ? hex_digit(text[2]) : -1;

		if (low >= 0) {
			*to = (char)(high * 16 + low);
			if (!*to++)
				return false;
			text += 2;
		} else {
			*to++ = *text == '+' ? ' ' : *text;
		}
	}
	*to = '\0';
	return true;
}

int wfs_s3_page_parse(const char *xml, size_t len, struct wfs_s3_page *ret_page,
		      struct wfs_err *err)
{
	struct page_walk p = { 0 };
	struct walk walk = { .leaf = page_leaf, .ctx = &p };
	const char *why = walk_xml(&walk, xml, len);

	free(p.file.path);
	if (!why && p.truncated != (p.page.next != NULL))
		why = "whether there is more is not clear";
	for (size_t i = 0; !why && p.escaped && i < p.page.count; i++)
		if (!unescape(p.page.files[i].path))
			why = "a key has a NUL";
	if (why) {
		wfs_s3_page_clear(&p.page);
		return wfs_err_set(err, -EBADMSG, "the listing is wrong: %s",
				   why);
	}
	*ret_page = p.page;
	return 0;
}

void wfs_s3_page_clear(struct wfs_s3_page *page)
{
	for (size_t i = 0; i < page->count; i++)
		free(page->files[i].path);
	free(page->files);
	free(page->next);
	*page = (struct wfs_s3_page){ 0 };
}

/* ---- errors */

static void error_leaf(struct walk *walk, const char *parent, const char *name)
{
	struct wfs_s3_error *e = walk->ctx;

	if (walk->depth != 1 || strcmp(parent, "Error") != 0)
		return;
	if (!strcmp(name, "Code"))
		snprintf(e->code, sizeof(e->code), "%.63s", walk->text);
	else if (!strcmp(name, "Region"))
		snprintf(e->region, sizeof(e->region), "%.63s", walk->text);
	else if (!strcmp(name, "Message"))
		snprintf(e->message, sizeof(e->message), "%.255s", walk->text);
}

void wfs_s3_error_parse(const char *xml, size_t len,
			struct wfs_s3_error *ret_error)
{
	struct wfs_s3_error e = { 0 };
	struct walk walk = { .leaf = error_leaf, .ctx = &e };

	if (walk_xml(&walk, xml, len))
		e = (struct wfs_s3_error){ 0 };
	*ret_error = e;
}
