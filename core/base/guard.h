/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards: memory that may fail under who reads it.
 *
 * A page of a mapped file that was cut short, or whose disk fails, is a
 * SIGBUS for who touches it.  Within a guard it is an error like any other.
 */
#ifndef WFS_CORE_BASE_GUARD_H
#define WFS_CORE_BASE_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Calls `use`, which reads the `len` bytes at `memory`.  False: some of them
 * could not be had, and it was left in the middle, wherever it was; so it
 * must hold nothing, lock nothing and open no guard of its own.  Any other
 * SIGBUS goes to whoever handled it before the first guard.  The calling
 * thread no longer blocks SIGBUS afterwards.
 */
bool wfs_guarded(const void *memory, size_t len, void (*use)(void *ctx),
		 void *ctx);

#endif
