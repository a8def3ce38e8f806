/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source whose one region is a buffer of the test, with faults on demand.
 */
#ifndef WFS_TESTS_UNIT_MEMORY_SOURCE_H
#define WFS_TESTS_UNIT_MEMORY_SOURCE_H

#include <stdatomic.h>

#include "core/source.h"

struct memory_source {
	struct wfs_source base;
	struct wfs_region region;
	struct wfs_source_entry entry; /* of the one file */
	const unsigned char *bytes;    /* region.size of them */
	atomic_int fail_read;	       /* what read returns, if not 0 */
	atomic_int fail_check;
	atomic_uint reads, checks; /* calls */
	int fd;			   /* a descriptor of the bytes, if not 0 */
	enum wfs_trust trust;	   /* none */
	bool *closed;		   /* set by close, if not NULL */
};

/* Holds one reference, which wfs_source_put drops. */
struct memory_source *memory_source_new(const unsigned char *bytes,
					size_t size);

#endif
