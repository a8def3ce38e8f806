/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cap on bytes a second, over everybody who sends.
 *
 * Each sender books the next stretch of time that its bytes take at that
 * rate, and sleeps until it comes: whoever asks first is served first, and
 * what was not used is not saved up beyond a tenth of a second.
 */
#ifndef WFS_TRANSPORT_SEED_RATE_H
#define WFS_TRANSPORT_SEED_RATE_H

#include <stddef.h>
#include <stdint.h>

struct wfs_rate;

/* `bytes` a second; 0: no cap. */
struct wfs_rate *wfs_rate_new(uint64_t bytes);
void wfs_rate_free(struct wfs_rate *rate); /* NULL is fine */

/* How much to send at a time of `len` bytes, so that others get a turn. */
size_t wfs_rate_piece(const struct wfs_rate *rate, size_t len);

/* Waits until `bytes` may be sent.  0, or -ECANCELED after wfs_rate_stop. */
int wfs_rate_take(struct wfs_rate *rate, size_t bytes);

/* Wakes everybody who waits; nobody will wait again. */
void wfs_rate_stop(struct wfs_rate *rate);

#endif
