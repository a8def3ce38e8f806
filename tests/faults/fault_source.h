/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FAKE, for tests only: a source around a source that is slow, fails, hangs
 * or hides its descriptors, as a control file says.
 *
 * The file is named by WFS_FAULTS in the environment and looked at before
 * every operation, so a test changes it while the mount runs (best by
 * rename).  A missing file is an empty one.  One order a line:
 *
 *	delay_ms N		each read takes N milliseconds longer
 *	bytes_per_s N		all reads of a source together go that fast
 *	eio SUBSTRING		reads of files whose path (all of it, from the
 *				root) holds it fail
 *	hang SUBSTRING		reads of such files wait until the line is gone
 *	nodescriptor		no file has a descriptor to pass through
 *
 * "#" starts a comment.  An order that is none ends the program: a test that
 * misspells one must not pass.
 */
#ifndef WFS_TESTS_FAULTS_FAULT_SOURCE_H
#define WFS_TESTS_FAULTS_FAULT_SOURCE_H

#include "core/source.h"

/* Takes over the reference to `inner`; without WFS_FAULTS returns it. */
struct wfs_source *wfs_fault_source_wrap(struct wfs_source *inner);

#endif
