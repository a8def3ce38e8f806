/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages by which web servers list a directory, as they really look.
 */
#include "tests/unit/t.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "transport/origin/listing.h"

/* The names of a page, each followed by a bar. */
static char *names_of(const char *page)
{
	char *names = NULL, *at, *all = wfs_strdup("");
	size_t n = wfs_web_links(page, strlen(page), &names);

	at = names;
	for (size_t i = 0; i < n; i++, at += strlen(at) + 1) {
		char *more = wfs_asprintf("%s%s|", all, at);

		free(all);
		all = more;
	}
	free(names);
	return all;
}

static void check(const char *page, const char *want)
{
	char *names wfs_autofree = names_of(page);

	assert_string_equal(want, names);
}

static void a_page_of_nginx_is_read(void **state)
{
	(void)state;
	check("<html>\r\n<head><title>Index of /m/</title></head>\r\n<body>"
	      "<h1>Index of /m/</h1><hr><pre><a href=\"../\">../</a>\r\n"
	      "<a href=\"1_Pooling/\">1_Pooling/</a> 22-Nov-2026 21:46 -\r\n"
	      "<a href=\"config.json\">config.json</a> 22-Nov-2026 67\r\n"
	      "<a href=\"a%20b%25.txt\">a b%.txt</a>\r\n</pre></body></html>",
	      "1_Pooling/|config.json|a b%.txt|");
}

static void a_page_of_pythons_server_is_read(void **state)
{
	(void)state;
	check("<ul>\n<li><a href=\"x%20%26%20y.txt\">x &amp; y.txt</a></li>\n"
	      "<li><a href=\"./z.bin\">z.bin</a></li></ul>",
	      "x & y.txt|z.bin|");
}

static void a_page_of_apache_is_read(void **state)
{
	(void)state;
	check("<tr><th><a href=\"?C=N;O=D\">Name</a></th></tr>"
	      "<tr><td><a href=\"/parent/\">Parent</a></td></tr>"
	      "<tr><td><A HREF='model.safetensors'>m</A></td></tr>"
	      "<a href=\"a&amp;b.json\">",
	      "model.safetensors|a&b.json|");
}

static void what_leads_elsewhere_is_left_out(void **state)
{
	(void)state;
	check("<a href=\"..\"><a href=\"%2e%2e/\"><a href=\"..%2fx\">"
	      "<a href=\"https://host/x\"><a href=\"//host/x\">"
	      "<a href=\"a/b\"><a href=\"javascript:x\"><a href=\"#top\">"
	      "<a href=\"a%00b\"><a href=\"\"><a href=\".\"><a href=\"./\">",
	      "");
}

static void a_page_cut_anywhere_is_read_as_far_as_it_goes(void **state)
{
	static const char page[] = "<a href=\"a&amp;%41.bin\"><a href='b'>";
	char *names;

	(void)state;
	for (size_t len = 0; len < sizeof(page); len++) {
		char *cut = wfs_malloc(len + 1);

		memcpy(cut, page, len);
		assert_true(wfs_web_links(cut, len, &names) <= 2);
		free(names);
		free(cut);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_page_of_nginx_is_read),
		T(a_page_of_pythons_server_is_read),
		T(a_page_of_apache_is_read),
		T(what_leads_elsewhere_is_left_out),
		T(a_page_cut_anywhere_is_read_as_far_as_it_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
