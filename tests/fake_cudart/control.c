/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the processes that use the fake share.  In the fake, and in tests.
 */
#include "tests/fake_cudart/fake.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whoever has the lock of this descriptor alone makes what is in it. */
static void set_up(struct fake_control *control)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&control->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	control->devices = FAKE_DEVICES;
	for (int i = 0; i < FAKE_DEVICES; i++)
		control->capacity[i] = FAKE_CAPACITY;
	control->next_id = 1;
}

struct fake_control *fake_cu_control_open(const char *dir)
{
	struct fake_control *control = MAP_FAILED;
	char path[256];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/control", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0)
		return NULL;
	fchmod(fd, 0666); /* other users take part */
	if (lockf(fd, F_LOCK, 0) == 0 && fstat(fd, &st) == 0 &&
	    ftruncate(fd, sizeof(*control)) == 0)
		control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE,
			       MAP_SHARED, fd, 0);
	if (control != MAP_FAILED && st.st_size == 0)
		set_up(control);
	close(fd); /* and the lock with it */
	return control == MAP_FAILED ? NULL : control;
}

void fake_cu_lock(struct fake_control *control)
{
	/* Its owner was killed, as tests do: what it left is whole. */
	if (pthread_mutex_lock(&control->lock) == EOWNERDEAD)
		pthread_mutex_consistent(&control->lock);
}

void fake_cu_unlock(struct fake_control *control)
{
	pthread_mutex_unlock(&control->lock);
}

static bool alive(pid_t pid)
{
	char path[64], state = 0;
	FILE *file;

	if (kill(pid, 0) != 0 && errno == ESRCH)
		return false;
	/* What nobody has waited for yet holds nothing either. */
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 'X';
	fclose(file);
	return state != 'Z' && state != 'X';
}

static bool is_held(const struct fake_control *control, uint64_t id)
{
	for (int i = 0; i < FAKE_OPENS; i++) {
		if (control->holders[i].id == id)
			return true;
	}
	return false;
}

void fake_cu_reap(struct fake_control *control)
{
	for (int i = 0; i < FAKE_OPENS; i++) {
		if (control->holders[i].id && !alive(control->holders[i].pid))
			control->holders[i].id = 0;
	}
	for (int i = 0; i < FAKE_ALLOCS; i++) {
		struct fake_alloc *alloc = &control->allocs[i];

		if (!alloc->id)
			continue;
		if (alloc->descriptor ? !is_held(control, alloc->id) :
					!alive(alloc->owner))
			alloc->id = 0;
	}
	for (int i = 0; i < FAKE_EVENTS; i++) {
		if (control->events[i].used && !alive(control->events[i].owner))
			control->events[i].used = false;
	}
}

void fake_cu_inject(struct fake_control *control, const char *call,
		    enum fake_action action, unsigned code, unsigned skip,
		    unsigned times)
{
	fake_cu_lock(control);
	control->fault = (struct fake_fault){
		.action = action, .code = code, .skip = skip, .times = times
	};
	snprintf(control->fault.call, sizeof(control->fault.call), "%s", call);
	fake_cu_unlock(control);
}

void fake_cu_export(struct fake_control *control, int ordering, int flushes)
{
	fake_cu_lock(control);
	control->dma_bufs = true;
	control->rdma_ordering = ordering;
	control->rdma_flushes = flushes;
	fake_cu_unlock(control);
}

uint64_t fake_cu_used(struct fake_control *control)
{
	uint64_t used = 0;

	fake_cu_lock(control);
	fake_cu_reap(control);
	for (int i = 0; i < FAKE_ALLOCS; i++)
		used += control->allocs[i].id ? control->allocs[i].size : 0;
	fake_cu_unlock(control);
	return used;
}

unsigned fake_cu_holds(struct fake_control *control)
{
	unsigned holds = 0;

	fake_cu_lock(control);
	fake_cu_reap(control);
	for (int i = 0; i < FAKE_OPENS; i++)
		holds += control->holders[i].id != 0;
	fake_cu_unlock(control);
	return holds;
}

void fake_cu_hold_events(struct fake_control *control)
{
	fake_cu_lock(control);
	control->hold_events = true;
	fake_cu_unlock(control);
}

void fake_cu_release_events(struct fake_control *control)
{
	fake_cu_lock(control);
	control->hold_events = false;
	for (int i = 0; i < FAKE_EVENTS; i++)
		control->events[i].done = control->events[i].recorded;
	fake_cu_unlock(control);
}
