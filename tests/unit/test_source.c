/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wrapper in front of every source.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/events.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "tests/unit/memory_source.h"
#include "tests/unit/scratch.h"

static const unsigned char bytes[] = "0123456789";

static struct memory_source *digits(void)
{
	return memory_source_new(bytes, 10);
}

/* The events from `pos` on, freed by the caller. */
static char *events_from(uint64_t pos)
{
	char *text = wfs_malloc(WFS_EVENTS_BYTES + 1);
	ssize_t n = wfs_events_read(pos, text, WFS_EVENTS_BYTES);

	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static uint64_t events_end(void)
{
	uint64_t oldest, end;

	wfs_events_span(&oldest, &end);
	return end;
}

static void a_read_is_short_only_at_the_end(void **state)
{
	struct memory_source *m = digits();
	char buf[32];

	(void)state;
	assert_int_equal(wfs_region_read(&m->region, buf, 4, 3), 4);
	assert_memory_equal(buf, "3456", 4);
	assert_int_equal(wfs_region_read(&m->region, buf, 32, 7), 3);
	assert_memory_equal(buf, "789", 3);
	assert_int_equal(wfs_region_read(&m->region, buf, 4, 7), 3);
	assert_int_equal(wfs_region_read(&m->region, buf, SIZE_MAX, 9), 1);
	assert_int_equal(wfs_region_read(&m->region, buf, 1, 10), 0);
	assert_int_equal(wfs_region_read(&m->region, buf, 1, UINT64_MAX), 0);
	assert_int_equal(wfs_region_read(&m->region, NULL, 0, 3), 0);
	/* What gave nothing did not bother the backend. */
	assert_int_equal(atomic_load(&m->reads), 4);
	assert_int_equal(atomic_load(&m->base.bytes_read), 11);
	assert_int_equal(atomic_load(&m->base.errors), 0);
	wfs_source_put(&m->base);
}

static void all_failures_are_counted_and_the_first_is_said(void **state)
{
	struct memory_source *m = digits();
	uint64_t pos = events_end();
	struct scratch_capture c;
	char *log wfs_autofree = NULL;
	char *events wfs_autofree = NULL;
	char buf[4];

	wfs_log_setup(WFS_LOG_STDERR, WFS_LOG_INFO);
	c = scratch_capture_stderr(*state);
	atomic_store(&m->fail_read, -EIO);
	for (int i = 0; i < 3; i++)
		assert_int_equal(wfs_region_read(&m->region, buf, 4, 0), -EIO);
	log = scratch_captured(&c);
	assert_string_equal(log, "error cannot read 'bytes' of 'memory': "
				 "Input/output error\n");
	events = events_from(pos);
	assert_int_equal(scratch_times_said(events, "\"event\":\"error\""), 1);
	assert_int_equal(scratch_times_said(events, "\n"), 1);
	assert_int_equal(atomic_load(&m->base.errors), 3);
	assert_int_equal(atomic_load(&m->base.bytes_read), 0);

	/* An I/O error passes. */
	atomic_store(&m->fail_read, 0);
	assert_int_equal(wfs_region_read(&m->region, buf, 4, 0), 4);
	assert_int_equal(wfs_region_check(&m->region), 0);
	wfs_source_put(&m->base);
}

static void a_stale_region_stays_stale(void **state)
{
	struct memory_source *m = digits();
	uint64_t pos = events_end();
	struct scratch_capture c;
	char *log wfs_autofree = NULL;
	char *events wfs_autofree = NULL;
	unsigned checks;
	char buf[4];

	wfs_log_setup(WFS_LOG_STDERR, WFS_LOG_INFO);
	c = scratch_capture_stderr(*state);
	assert_int_equal(wfs_region_check(&m->region), 0);
	atomic_store(&m->fail_check, -ESTALE);
	assert_int_equal(wfs_region_check(&m->region), -ESTALE);
	atomic_store(&m->fail_check, 0);
	checks = atomic_load(&m->checks);
	assert_int_equal(wfs_region_check(&m->region), -ESTALE);
	assert_int_equal(atomic_load(&m->checks), checks);
	assert_int_equal(wfs_region_read(&m->region, buf, 4, 0), -ESTALE);
	assert_int_equal(atomic_load(&m->reads), 0);
	log = scratch_captured(&c);
	assert_int_equal(scratch_times_said(log, "\n"), 1);
	assert_int_equal(
		scratch_times_said(log, "'bytes' of 'memory' was rewritten"),
		1);
	events = events_from(pos);
	assert_int_equal(scratch_times_said(events, "\"event\":\"stale\""), 1);
	assert_int_equal(scratch_times_said(events, "\n"), 1);
	wfs_source_put(&m->base);
}

static void a_read_can_find_out_that_a_region_is_stale(void **state)
{
	struct memory_source *m = digits();
	struct scratch_capture c = scratch_capture_stderr(*state);
	char *log wfs_autofree = NULL;
	char buf[4];

	atomic_store(&m->fail_read, -ESTALE);
	assert_int_equal(wfs_region_read(&m->region, buf, 4, 0), -ESTALE);
	assert_int_equal(wfs_region_check(&m->region), -ESTALE);
	assert_int_equal(atomic_load(&m->base.errors), 1);
	log = scratch_captured(&c);
	assert_int_equal(scratch_times_said(log, "\n"), 1);
	wfs_source_put(&m->base);
}

static void a_check_that_cannot_tell_finds_nothing(void **state)
{
	struct memory_source *m = digits();

	(void)state;
	atomic_store(&m->fail_check, -EIO);
	assert_int_equal(wfs_region_check(&m->region), 0);
	wfs_source_put(&m->base);
}

static void a_source_without_descriptors_says_so(void **state)
{
	struct memory_source *m = digits();

	(void)state;
	assert_int_equal(wfs_region_descriptor(&m->region), -ENOTSUP);
	wfs_source_put(&m->base);
}

static void bytes_that_were_kept_ask_the_source_no_more(void **state)
{
	struct memory_source *m = digits();
	char buf[32];

	(void)state;
	wfs_region_keep(&m->region, "abcd", 4);
	assert_int_equal(wfs_region_read(&m->region, buf, 3, 1), 3);
	assert_memory_equal(buf, "bcd", 3);
	assert_int_equal(atomic_load(&m->reads), 0);
	assert_int_equal(wfs_region_read(&m->region, buf, 4, 1), 4);
	assert_memory_equal(buf, "1234", 4);
	assert_int_equal(atomic_load(&m->reads), 1);
	wfs_source_put(&m->base);
}

static void the_last_reference_closes(void **state)
{
	struct memory_source *m = digits();
	bool closed = false;

	(void)state;
	m->closed = &closed;
	assert_ptr_equal(wfs_source_get(&m->base), &m->base);
	wfs_source_put(&m->base);
	assert_false(closed);
	wfs_source_put(&m->base);
	assert_true(closed);
	wfs_source_put(NULL);
}

static void a_listing_is_the_backends(void **state)
{
	struct memory_source *m = digits();
	const struct wfs_source_entry *list;
	size_t count = 0;

	(void)state;
	list = wfs_source_list(&m->base, &count);
	assert_int_equal(count, 1);
	assert_string_equal(list->path, "bytes");
	assert_ptr_equal(list->region, &m->region);
	wfs_source_put(&m->base);
}

static void *fail_often(void *arg)
{
	struct memory_source *m = arg;
	char buf[4];

	for (int i = 0; i < 1000; i++) {
		wfs_region_read(&m->region, buf, 4, 0);
		wfs_region_check(&m->region);
		wfs_source_put(wfs_source_get(&m->base));
	}
	return NULL;
}

static void threads_together_say_it_once(void **state)
{
	struct memory_source *m = digits();
	struct scratch_capture c = scratch_capture_stderr(*state);
	char *log wfs_autofree = NULL;
	pthread_t threads[4];

	atomic_store(&m->fail_read, -EIO);
	for (int i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, fail_often, m), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	log = scratch_captured(&c);
	assert_int_equal(scratch_times_said(log, "\n"), 1);
	assert_int_equal(atomic_load(&m->base.errors), 4000);
	wfs_source_put(&m->base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_read_is_short_only_at_the_end),
		T(all_failures_are_counted_and_the_first_is_said),
		T(a_stale_region_stays_stale),
		T(a_read_can_find_out_that_a_region_is_stale),
		T(a_check_that_cannot_tell_finds_nothing),
		T(a_source_without_descriptors_says_so),
		T(bytes_that_were_kept_ask_the_source_no_more),
		T(the_last_reference_closes),
		T(a_listing_is_the_backends),
		T(threads_together_say_it_once),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
