/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths as users type them, made absolute.
 *
 * Nothing here asks the last component for more than whether it is a link:
 * it may be a mount whose daemon is dead, of which even a stat fails, or
 * hung, of which a stat never returns.
 */
#ifndef WFS_TOOLS_PATH_H
#define WFS_TOOLS_PATH_H

/*
 * `path` below the working directory, without "//", "/./" and a trailing
 * slash.  Textual: links and ".." stay.  The caller frees it.
 */
char *wfs_path_absolute(const char *path);

/*
 * The path under which /proc/self/mountinfo has, or would have, a mount on
 * `path`: links are resolved as far as that is possible.  The caller frees
 * it.
 */
char *wfs_path_mountpoint(const char *path);

/*
 * Where what is to outlive a process is kept when nobody said where:
 * weightfs/`part` in the user's directory for caches.  NULL: there is none.
 * The caller frees it.
 */
char *wfs_usual_cache(const char *part);

#endif
