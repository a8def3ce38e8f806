/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors with a text.
 *
 * A function that can fail for a reason worth a sentence takes a
 * `struct wfs_err *` last and returns a negative errno.  The sentence is
 * written where the error is first decided and names the file or peer, the
 * tensor, the rule and the remedy; callers pass it on unchanged and log it
 * once.
 */
#ifndef WFS_CORE_BASE_ERR_H
#define WFS_CORE_BASE_ERR_H

#define WFS_ERR_TEXT 1024

struct wfs_err {
	int code; /* negative errno, 0 = none */
	char text[WFS_ERR_TEXT];
};

/*
 * Sets code and text (cut at WFS_ERR_TEXT; control bytes become `\xNN`, so
 * that a hostile name cannot forge a line) and returns `code`.  `err` may be
 * NULL.  `code` is a negative errno.
 */
int wfs_err_set(struct wfs_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Puts `fmt` and ": " in front of the text that is already there and returns
 * the code that is already there.
 */
int wfs_err_prefix(struct wfs_err *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
