/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions of the exporter: whose they are, who may connect in them and how
 * often, and who loses his when there are too many.  No device is needed.
 */
#include "tests/unit/t.h"

#include <pthread.h>
#include <string.h>

#include "core/base/mem.h"
#include "transport/rdma/export_inner.h"

#define NS_PER_S 1000000000ull

static int setup(void **state)
{
	struct wfs_exporter *exporter = wfs_calloc(1, sizeof(*exporter));

	pthread_mutex_init(&exporter->lock, NULL);
	exporter->lease_ns = 300 * NS_PER_S;
	*state = exporter;
	return 0;
}

static int teardown(void **state)
{
	struct wfs_exporter *exporter = *state;

	pthread_mutex_destroy(&exporter->lock);
	free(exporter);
	return 0;
}

static struct export_session ask(struct wfs_exporter *exporter, uint64_t id,
				 unsigned domain)
{
	struct export_session session;

	pthread_mutex_lock(&exporter->lock);
	session = *wfs_export_session_locked(exporter, id, domain);
	pthread_mutex_unlock(&exporter->lock);
	return session;
}

static struct wfs_hello hello_of(const struct export_session *session,
				 uint32_t queue_pair)
{
	struct wfs_hello hello = { .session = session->id,
				   .expires = session->until,
				   .nonce = queue_pair };

	wfs_hello_sign(&hello, session->key, queue_pair);
	return hello;
}

static bool connects(struct wfs_exporter *exporter,
		     const struct wfs_hello *hello, uint32_t queue_pair)
{
	unsigned domain;

	return wfs_export_may_connect(exporter, hello, queue_pair, &domain);
}

static void a_session_is_prolonged_for_its_own_kind(void **state)
{
	struct wfs_exporter *exporter = *state;
	struct export_session first = ask(exporter, 0, 2);
	struct export_session again = ask(exporter, first.id, 2);

	assert_int_equal(again.id, first.id);
	assert_memory_equal(again.key, first.key, sizeof(first.key));
	assert_true(again.until >= first.until);
	assert_int_equal(exporter->session_count, 1);
	assert_int_equal(exporter->domains[2].sessions, 1);
}

static void its_number_opens_nothing_for_another_kind(void **state)
{
	struct wfs_exporter *exporter = *state;
	struct export_session first = ask(exporter, 0, 0);
	struct export_session other = ask(exporter, first.id, 1);

	assert_int_not_equal(other.id, first.id);
	assert_memory_not_equal(other.key, first.key, sizeof(first.key));
	assert_int_equal(exporter->domains[0].sessions, 1);
	assert_int_equal(exporter->domains[1].sessions, 1);
}

static void a_request_to_connect_is_good_once(void **state)
{
	struct wfs_exporter *exporter = *state;
	struct export_session session = ask(exporter, 0, 3);
	struct wfs_hello hello = hello_of(&session, 17);
	struct wfs_hello other = hello_of(&session, 18);
	unsigned domain = 0;

	assert_false(connects(exporter, &hello, 18));
	assert_true(wfs_export_may_connect(exporter, &hello, 17, &domain));
	assert_int_equal(domain, 3);
	assert_false(connects(exporter, &hello, 17));
	assert_true(connects(exporter, &other, 18));
	assert_int_equal(exporter->refused, 2);
}

static void what_expired_connects_nobody_and_is_forgotten(void **state)
{
	struct wfs_exporter *exporter = *state;
	struct export_session session = ask(exporter, 0, 0);
	struct wfs_hello later = hello_of(&session, 1), now;

	later.expires++;
	wfs_hello_sign(&later, session.key, 1);
	assert_false(connects(exporter, &later, 1));
	exporter->sessions[0].until = wfs_now_ns();
	now = hello_of(&exporter->sessions[0], 1);
	assert_false(connects(exporter, &now, 1));
	assert_true(wfs_export_is_over(exporter, session.id));
	wfs_export_expire(exporter);
	assert_int_equal(exporter->session_count, 0);
	assert_int_equal(exporter->domains[0].sessions, 0);
}

static void whoever_asks_for_many_takes_none_that_is_used(void **state)
{
	struct wfs_exporter *exporter = *state;
	struct export_session used = ask(exporter, 0, 0);

	wfs_export_count_conn_locked(exporter, used.id, 1);
	for (unsigned i = 0; i < 3 * WFS_SESSIONS_MAX; i++)
		ask(exporter, 0, 1);
	assert_int_equal(exporter->session_count, WFS_SESSIONS_MAX);
	assert_int_equal(exporter->domains[1].sessions, WFS_SESSIONS_MAX - 1);
	assert_false(wfs_export_is_over(exporter, used.id));
	/* Not used any more, it is the next to go. */
	wfs_export_count_conn_locked(exporter, used.id, -1);
	ask(exporter, 0, 1);
	assert_true(wfs_export_is_over(exporter, used.id));
	assert_int_equal(exporter->domains[0].sessions, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_session_is_prolonged_for_its_own_kind, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			its_number_opens_nothing_for_another_kind, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			a_request_to_connect_is_good_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_expired_connects_nobody_and_is_forgotten, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			whoever_asks_for_many_takes_none_that_is_used, setup,
			teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
