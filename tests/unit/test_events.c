/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of events: what a line is, what goes when it is full, and who is
 * told.
 */
#include "tests/unit/t.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "core/base/events.h"
#include "core/base/text.h"

static uint64_t end_of_ring(void)
{
	uint64_t oldest, end;

	wfs_events_span(&oldest, &end);
	return end;
}

/* All from `pos` on, NUL-terminated, freed by the caller. */
static char *read_from(uint64_t pos)
{
	char *text = wfs_malloc(WFS_EVENTS_BYTES + 1);
	size_t len = 0;
	ssize_t n;

	while ((n = wfs_events_read(pos + len, text + len, 999)) > 0)
		len += (size_t)n;
	assert_int_equal(n, 0);
	text[len] = '\0';
	return text;
}

static const char *field(yyjson_doc *doc, const char *name)
{
	return yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), name));
}

/* RFC 3339, UTC, with milliseconds. */
static bool is_time(const char *text)
{
	static const char like[] = "2000-00-00T00:00:00.000Z";

	for (size_t i = 0; i < sizeof(like); i++) {
		if (like[i] == '0' ? !isdigit((unsigned char)text[i]) :
				     like[i] != text[i])
			return false;
	}
	return true;
}

static void an_event_is_a_line_of_json(void **state)
{
	uint64_t pos = end_of_ring();
	char *line wfs_autofree = NULL;
	yyjson_doc *doc;

	(void)state;
	wfs_event("stale", "llama\n\"7b\"", "'%s' was\nrewritten", "x\xff");
	line = read_from(pos);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	doc = yyjson_read(line, strlen(line), 0);
	assert_non_null(doc);
	assert_string_equal(field(doc, "event"), "stale");
	assert_string_equal(field(doc, "model"), "llama\n\"7b\"");
	assert_string_equal(field(doc, "text"),
			    "'x\xef\xbf\xbd' was\nrewritten");
	assert_true(is_time(field(doc, "time")));
	yyjson_doc_free(doc);
}

static void an_event_need_not_have_a_model(void **state)
{
	uint64_t pos = end_of_ring();
	char *line wfs_autofree = NULL;
	yyjson_doc *doc;

	(void)state;
	wfs_event("error", NULL, "text");
	line = read_from(pos);
	doc = yyjson_read(line, strlen(line), 0);
	assert_non_null(doc);
	assert_null(field(doc, "model"));
	yyjson_doc_free(doc);
}

static void a_full_ring_drops_the_oldest_whole_lines(void **state)
{
	uint64_t oldest, end, before = end_of_ring();
	char *text wfs_autofree = NULL;
	char filler[301];
	int count = 0;

	(void)state;
	memset(filler, 'f', 300);
	filler[300] = '\0';
	for (int i = 0; i < 3000; i++)
		wfs_event("fill", "m", "%05d %.*s", i, i % 300, filler);
	wfs_events_span(&oldest, &end);
	assert_true(oldest > before);
	assert_true(end - oldest <= WFS_EVENTS_BYTES);
	/* Less than a line's worth of room is left unused. */
	assert_true(end - oldest > WFS_EVENTS_BYTES - 1024);
	assert_int_equal(wfs_events_read(oldest - 1, filler, 1), -EPIPE);
	assert_int_equal(wfs_events_read(0, filler, 1), -EPIPE);
	assert_int_equal(wfs_events_read(end, filler, 1), 0);
	assert_int_equal(wfs_events_read(end + 1000, filler, 1), 0);

	text = read_from(oldest);
	assert_int_equal(strlen(text), end - oldest);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		yyjson_doc *doc = yyjson_read(line, strlen(line), 0);

		assert_non_null(doc);
		count++;
		yyjson_doc_free(doc);
	}
	assert_true(count > 500);
}

static void a_text_of_any_length_is_one_bounded_line(void **state)
{
	uint64_t pos;
	char *text wfs_autofree = wfs_malloc(1000001);
	char *line wfs_autofree = NULL;
	yyjson_doc *doc;

	(void)state;
	memset(text, '\n', 1000000);
	text[1000000] = '\0';
	pos = end_of_ring();
	wfs_event("long", NULL, "%s", text);
	line = read_from(pos);
	assert_true(strlen(line) < 16384);
	doc = yyjson_read(line, strlen(line), 0);
	assert_non_null(doc);
	yyjson_doc_free(doc);
}

static void count_call(void *ctx)
{
	atomic_fetch_add((atomic_int *)ctx, 1);
}

static void a_watcher_is_called_after_each_event(void **state)
{
	atomic_int calls = 0;

	(void)state;
	wfs_events_watch(count_call, &calls);
	wfs_event("a", NULL, "1");
	wfs_event("a", NULL, "2");
	assert_int_equal(atomic_load(&calls), 2);
	wfs_events_watch(NULL, NULL);
	wfs_event("a", NULL, "3");
	assert_int_equal(atomic_load(&calls), 2);
}

struct slow {
	sem_t entered, leave;
	atomic_bool left;
};

static void slow_call(void *ctx)
{
	struct slow *slow = ctx;
	uint64_t oldest, end;

	/* No lock is held: the ring can be asked. */
	wfs_events_span(&oldest, &end);
	sem_post(&slow->entered);
	sem_wait(&slow->leave);
	atomic_store(&slow->left, true);
}

static void *send_one(void *arg)
{
	(void)arg;
	wfs_event("a", NULL, "x");
	return NULL;
}

static void *let_go(void *arg)
{
	struct slow *slow = arg;

	sem_post(&slow->leave);
	return NULL;
}

static void taking_a_watcher_off_waits_for_its_call(void **state)
{
	struct slow slow = { .left = false };
	pthread_t sender, other;

	(void)state;
	sem_init(&slow.entered, 0, 0);
	sem_init(&slow.leave, 0, 0);
	wfs_events_watch(slow_call, &slow);
	assert_int_equal(pthread_create(&sender, NULL, send_one, NULL), 0);
	sem_wait(&slow.entered);
	assert_int_equal(pthread_create(&other, NULL, let_go, &slow), 0);
	wfs_events_watch(NULL, NULL);
	assert_true(atomic_load(&slow.left));
	pthread_join(sender, NULL);
	pthread_join(other, NULL);
	sem_destroy(&slow.entered);
	sem_destroy(&slow.leave);
}

static void *send_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2000; i++)
		wfs_event("many", "m", "event number %d", i);
	return NULL;
}

static void lines_stay_whole_when_many_write_and_read(void **state)
{
	pthread_t threads[4];
	char *text wfs_autofree = NULL;
	uint64_t oldest, end;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, send_many, NULL), 0);
	for (int i = 0; i < 500; i++) {
		char buf[100];

		wfs_events_span(&oldest, &end);
		if (wfs_events_read(oldest, buf, sizeof(buf)) > 0)
			assert_memory_equal(buf, "{\"time\":\"", 9);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	wfs_events_span(&oldest, &end);
	text = read_from(oldest);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		assert_memory_equal(line, "{\"time\":\"", 9);
		assert_int_equal(line[strlen(line) - 1], '}');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_event_is_a_line_of_json),
		T(an_event_need_not_have_a_model),
		T(a_full_ring_drops_the_oldest_whole_lines),
		T(a_text_of_any_length_is_one_bounded_line),
		T(a_watcher_is_called_after_each_event),
		T(taking_a_watcher_off_waits_for_its_call),
		T(lines_stay_whole_when_many_write_and_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
