/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libxxhash, with the code that this processor runs fastest.
 *
 * What <xxhash.h> alone calls is built for the oldest x86-64: SSE2, 8 to
 * 10 GB/s of what is in the cache.  The same library has AVX2 and AVX-512,
 * chosen at the first call, 22 to 30 GB/s, where it was built with that; then
 * it has this header, too.  The digests are the same.
 */
#ifndef WFS_CORE_DIGEST_XXH3_H
#define WFS_CORE_DIGEST_XXH3_H

#include <xxhash.h>

#if defined(__x86_64__) && defined(__has_include)
#if __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h> /* after the other: it replaces its names */
#endif
#endif

#endif
