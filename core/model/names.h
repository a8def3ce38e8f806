/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensor names as file names.
 *
 * A tensor may be called anything that is UTF-8; a file may not.  Names that
 * are file names stay as they are.  In the others, and only where it is
 * needed,
 *
 *   '/'  becomes  %2F         a whole name "."   becomes  %2E
 *   NUL  becomes  %00         a whole name ".."  becomes  %2E%2E
 *   '%'  becomes  %25         the empty name     becomes  %
 *
 * so that no two names meet and each can be had back.  What is then longer
 * than 255 bytes keeps its beginning, followed by "%~" and 16 hex digits, the
 * hash of what was cut off.  That alone does not give the name back: the
 * model has it (user.weightfs.name); two such names that meet are refused
 * when the model is loaded.
 *
 * Inside the program a name is a C string.  A NUL in it is held as the bytes
 * C0 80, which no UTF-8 text has (Java writes NUL so too), and no other name
 * changes.
 */
#ifndef WFS_CORE_MODEL_NAMES_H
#define WFS_CORE_MODEL_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define WFS_FILE_NAME_MAX 255

/* Is this name, `len` bytes, a file name that needs no escaping? */
bool wfs_name_is_plain(const char *name, size_t len);

/*
 * Is this the path of a file in a checkpoint: relative, and no way out?  Each
 * component has 1 to WFS_FILE_NAME_MAX bytes and is neither "." nor "..".
 */
bool wfs_name_is_path(const char *path);

/*
 * The file name of a tensor's name (`len` bytes, NULs count) into `out` of
 * WFS_FILE_NAME_MAX + 1 bytes, NUL-terminated.  Returns its length, 1 … 255.
 */
size_t wfs_name_escape(const char *name, size_t len,
		       char out[WFS_FILE_NAME_MAX + 1]);

/*
 * The same, but `name`, which ends with a NUL, itself where it is plain.
 */
const char *wfs_name_file(const char *name, size_t len,
			  char room[WFS_FILE_NAME_MAX + 1]);

/*
 * The name back, into `out` of WFS_FILE_NAME_MAX + 1 bytes (NUL-terminated
 * besides): its length, or -EINVAL when no name has this file name, or
 * -ENAMETOOLONG when the name was cut.
 */
ssize_t wfs_name_unescape(const char *file_name,
			  char out[WFS_FILE_NAME_MAX + 1]);

/*
 * The name as a C string (NUL as C0 80) into `out` of at least 2 * len + 1
 * bytes.  Returns its length.
 */
size_t wfs_name_to_text(const char *name, size_t len, char *out);

#endif
