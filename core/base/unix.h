/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets of messages (SOCK_SEQPACKET) that carry descriptors.
 */
#ifndef WFS_CORE_BASE_UNIX_H
#define WFS_CORE_BASE_UNIX_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "core/base/err.h"

/*
 * Sends a message, with the descriptor `fd` unless that is -1.  0, -EAGAIN
 * where it would block, another negative errno when the peer is gone.
 */
int wfs_unix_send(int socket, const void *message, size_t len, int fd);

/*
 * Receives exactly `len` bytes, and a descriptor where one came (else -1),
 * which the caller closes.  0, -EBADMSG for anything of another form, -EIO
 * when the peer is gone.
 */
int wfs_unix_receive(int socket, void *message, size_t len, int *ret_fd);

/*
 * Who was at the other end when it connected; the pid is 0 if it cannot be
 * seen from here.  0, or a negative errno.
 */
int wfs_unix_peer(int socket, struct ucred *ret_peer);

/*
 * Makes the directory `dir`, with `mode`, unless it is there.  -EPERM for one
 * that is not our own or that others may write.
 */
int wfs_unix_dir(const char *dir, mode_t mode, struct wfs_err *err);

/*
 * A socket that listens, does not block, and whose file has `mode`:
 * `<dir>/<name>-<pid>-<n>`, which no other process has.  The caller closes it,
 * and unlinks and frees *ret_path.
 */
int wfs_unix_listen(const char *dir, const char *name, mode_t mode,
		    char **ret_path, int *ret_fd, struct wfs_err *err);

#endif
