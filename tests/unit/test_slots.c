/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: whose they are, who may use them, when they go; and the memory that
 * they are made of.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/caller.h"
#include "fs/ring.h"
#include "fs/slots.h"

#define ME	 7
#define STRANGER 8

static const int first_owner, second_owner;

static int set_up(void **state)
{
	*state = wfs_slots_new();
	return 0;
}

static int tear_down(void **state)
{
	wfs_slots_free(*state);
	return 0;
}

static struct wfs_slot *add(void **state, enum wfs_slot_kind kind, bool use)
{
	struct wfs_slot slot = {
		.kind = kind, .uid = ME, .owner = &first_owner, .fd = -1
	};
	struct wfs_slot *added;
	uint64_t id;

	if (kind == WFS_SLOT_EVENT)
		slot.fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(wfs_slots_add(*state, &slot, &id, &added), 0);
	assert_int_equal(added->id, id);
	if (!use)
		wfs_slots_put(*state, added);
	return added;
}

static void a_slot_is_had_by_its_user_as_what_it_is(void **state)
{
	struct wfs_slot *slot = add(state, WFS_SLOT_EVENT, false), *got;
	uint64_t id = slot->id;

	assert_int_equal(wfs_slots_get(*state, id, STRANGER, WFS_SLOT_EVENT,
				       &got),
			 -EACCES);
	assert_int_equal(wfs_slots_get(*state, id, ME, WFS_SLOT_MEMORY, &got),
			 -EOPNOTSUPP);
	assert_int_equal(wfs_slots_get(*state, id + 1, ME, WFS_SLOT_EVENT,
				       &got),
			 -ESRCH);
	assert_int_equal(wfs_slots_get(*state, id, ME, WFS_SLOT_EVENT, &got),
			 0);
	assert_ptr_equal(got, slot);
	wfs_slots_put(*state, got);
}

static void what_is_used_is_not_dropped(void **state)
{
	struct wfs_slot *slot = add(state, WFS_SLOT_TICKET, true);
	struct wfs_outcome outcome = { 0 };
	uint64_t id = slot->id;

	assert_int_equal(wfs_slots_drop(*state, id, STRANGER, &outcome),
			 -EACCES);
	assert_int_equal(wfs_slots_drop(*state, id, ME, &outcome), -EBUSY);
	slot->outcome = (struct wfs_outcome){ .status = -5, .done = 77 };
	wfs_slots_put(*state, slot);
	assert_int_equal(wfs_slots_drop(*state, id, ME, &outcome), 0);
	assert_int_equal(outcome.status, -5);
	assert_int_equal(outcome.done, 77);
	assert_int_equal(wfs_slots_drop(*state, id, ME, &outcome), -ESRCH);
	assert_int_equal(wfs_slots_count(*state), 0);
}

static void an_event_that_is_used_is_dropped_all_the_same(void **state)
{
	struct wfs_slot *slot = add(state, WFS_SLOT_EVENT, true), *got;
	struct wfs_outcome outcome = { 0 };
	uint64_t id = slot->id;

	assert_int_equal(wfs_slots_drop(*state, id, ME, &outcome), 0);
	assert_int_equal(wfs_slots_get(*state, id, ME, WFS_SLOT_EVENT, &got),
			 -ESRCH);
	assert_true(fcntl(slot->fd, F_GETFD) >= 0);
	wfs_slots_put(*state, slot);
	assert_int_equal(wfs_slots_count(*state), 0);
}

static void slots_die_with_their_owner(void **state)
{
	struct wfs_slot *used = add(state, WFS_SLOT_EVENT, true), *got;
	uint64_t id = add(state, WFS_SLOT_EVENT, false)->id;
	struct wfs_slot ticket = { .kind = WFS_SLOT_TICKET,
				   .uid = ME,
				   .fd = -1 };

	wfs_slots_orphan(*state, &second_owner);
	assert_int_equal(wfs_slots_count(*state), 2);
	wfs_slots_orphan(*state, &first_owner);
	assert_int_equal(wfs_slots_get(*state, id, ME, WFS_SLOT_EVENT, &got),
			 -ESRCH);
	assert_true(atomic_load(&used->dead));
	ticket.of = used;
	assert_int_equal(wfs_slots_add(*state, &ticket, &id, NULL), -ESRCH);
	assert_int_equal(wfs_slots_count(*state), 1);
	wfs_slots_put(*state, used);
	assert_int_equal(wfs_slots_count(*state), 0);
}

static void a_user_has_so_many_and_another_as_many(void **state)
{
	struct wfs_slot slot = { .kind = WFS_SLOT_TICKET,
				 .uid = ME,
				 .owner = &first_owner,
				 .fd = -1 };
	uint64_t id;

	for (int i = 0; i < WFS_SLOTS_MAX; i++)
		add(state, WFS_SLOT_TICKET, false);
	assert_int_equal(wfs_slots_add(*state, &slot, &id, NULL), -EBUSY);
	slot.uid = STRANGER;
	assert_int_equal(wfs_slots_add(*state, &slot, &id, NULL), 0);
}

/* The kernel rings it, whether or not anybody could write to it. */
static void a_bell_that_is_full_is_rung_at_once(void **state)
{
	int event = eventfd(0, EFD_CLOEXEC), null = open("/dev/null", O_RDWR);
	struct pollfd rung = { .fd = event, .events = POLLIN };
	struct wfs_ring *ring;
	eventfd_t count;

	(void)state;
	assert_int_equal(wfs_ring_new(&ring), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(wfs_ring(ring, event), 0);
	assert_int_equal(poll(&rung, 1, 0), 1);
	assert_int_equal(eventfd_read(event, &count), 0);
	assert_int_equal(count, 100);
	assert_int_equal(eventfd_write(event, UINT64_MAX - 1), 0);
	assert_int_equal(wfs_ring(ring, event), 0);
	assert_int_equal(wfs_ring(ring, null), -EINVAL);
	wfs_ring_free(ring);
	close(null);
	close(event);
}

static void a_token_is_of_one_process(void **state)
{
	uint8_t key[WFS_CALLER_KEY] = { 1, 2, 3 }, token[WFS_CALLER_TOKEN];
	struct wfs_caller caller, other;

	(void)state;
	assert_int_equal(wfs_caller_find(0, ME, &caller), -EXDEV);
	assert_int_equal(wfs_caller_find(INT32_MAX, ME, &caller), -ESRCH);
	assert_int_equal(wfs_caller_find(gettid(), ME, &caller), 0);
	assert_int_equal(caller.proc.tgid, getpid());
	assert_true(caller.proc.started > 0);
	assert_int_equal(wfs_caller_token(key, &caller, token), 0);
	assert_true(wfs_caller_shows(key, &caller, token));
	for (int i = 0; i < 3; i++) {
		other = caller;
		other.uid += i == 0;
		other.proc.tgid += i == 1;
		other.proc.started += i == 2;
		assert_false(wfs_caller_shows(key, &other, token));
	}
	key[5] ^= 1;
	assert_false(wfs_caller_shows(key, &caller, token));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define OF_SLOTS(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		OF_SLOTS(a_slot_is_had_by_its_user_as_what_it_is),
		OF_SLOTS(what_is_used_is_not_dropped),
		OF_SLOTS(an_event_that_is_used_is_dropped_all_the_same),
		OF_SLOTS(slots_die_with_their_owner),
		OF_SLOTS(a_user_has_so_many_and_another_as_many),
		T(a_bell_that_is_full_is_rung_at_once),
		T(a_token_is_of_one_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
