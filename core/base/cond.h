/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Condition variables, and semaphores, that wait by the clock of wfs_now_ns,
 * which nobody sets.
 */
#ifndef WFS_CORE_BASE_COND_H
#define WFS_CORE_BASE_COND_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

/* Freed by pthread_cond_destroy. */
void wfs_cond_init(pthread_cond_t *cond);

/*
 * Waits until `until` (ns of wfs_now_ns; UINT64_MAX: for ever).  False when
 * that time has come; true may mean nothing, as ever.
 */
bool wfs_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock,
			 uint64_t until);

/*
 * The same of a semaphore.  Where one thread waits for another that is a system
 * call less: who was woken of a condition variable leaves its lock as one that
 * others wait for.
 */
bool wfs_sem_wait_until(sem_t *sem, uint64_t until);

#endif
