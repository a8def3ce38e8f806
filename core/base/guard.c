/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One handler of SIGBUS for all of us.  It looks at the thread's own guard
 * only: a fault is raised in the thread that has it, so that nothing needs a
 * lock, and jumping out of a fault in plain loads leaves nothing behind.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>

#include "core/base/guard.h"

struct guard {
	uintptr_t lo, hi;
	sigjmp_buf out;
};

static struct sigaction before;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local struct guard *volatile guard;
static _Thread_local bool unblocked;

static void pass_on(int number, siginfo_t *info, void *context)
{
	if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(number, info, context);
	else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
		before.sa_handler(number);
	else
		/* A fault comes again on return, one that was sent does not. */
		(void)(sigaction(number, &before, NULL) ||
		       (info->si_code <= 0 && raise(number)));
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;
	struct guard *own = guard;

	if (own && info->si_code > 0 && at >= own->lo && at < own->hi)
		siglongjmp(own->out, 1);
	pass_on(number, info, context);
}

static void install(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO };

	action.sa_sigaction = on_bus_error;
	sigaction(SIGBUS, NULL, &before);
	sigaction(SIGBUS, &action, NULL);
}

/* A fault whose signal is blocked ends the process, whoever handles it. */
static void unblock(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	unblocked = true;
}

bool wfs_guarded(const void *memory, size_t len, void (*use)(void *ctx),
		 void *ctx)
{
	struct guard own = { .lo = (uintptr_t)memory,
			     .hi = (uintptr_t)memory + len };
	volatile bool done = false;

	pthread_once(&once, install);
	if (!unblocked)
		unblock();
	/* With the signals that are blocked, for the handler is left by it. */
	if (!sigsetjmp(own.out, 1)) {
		guard = &own;
		use(ctx);
		done = true;
	}
	guard = NULL;
	return done;
}
