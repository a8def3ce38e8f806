/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libweightfs: what its headers share.
 *
 * Functions return 0 (or what they say), or a negative errno; then
 * weightfs_last_error() has a sentence that names what went wrong.  Outputs
 * are left alone on failure.  Handles are opaque; what frees one accepts
 * NULL.  Strings that go in are copied.  Any thread may call; two threads may
 * not use one handle at a time unless a function says so.
 */
#ifndef WEIGHTFS_BASE_H
#define WEIGHTFS_BASE_H

#if defined(__GNUC__)
#define WEIGHTFS_API __attribute__((visibility("default")))
#else
#define WEIGHTFS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What the last call of this thread that failed has to say; "" if none did.
 * Good until the thread's next call of this library.
 */
WEIGHTFS_API const char *weightfs_last_error(void);

/* "0.1.0" */
WEIGHTFS_API const char *weightfs_version(void);

#ifdef __cplusplus
}
#endif

#endif
