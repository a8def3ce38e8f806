/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See message.h.
 */
#include "transport/lend/message.h"

#include <unistd.h>

#include "core/base/unix.h"

bool wfs_lend_is_ours(int socket)
{
	struct ucred peer;

	return wfs_unix_peer(socket, &peer) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}
