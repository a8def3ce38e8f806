/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See message.h.
 */
#include "transport/lend/message.h"

#include <sys/socket.h>
#include <unistd.h>

bool wfs_lend_is_ours(int socket)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}
