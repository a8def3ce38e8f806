/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See lend.h: the side that gives.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/unix.h"
#include "core/base/unix_serve.h"
#include "transport/lend/lend.h"
#include "transport/lend/message.h"

#define CLIENTS_MAX 256

struct wfs_lender {
	struct wfs_lender_config config;
	struct wfs_unix_server *server;
};

static uint32_t code_status(int code)
{
	switch (code) {
	case -ENOENT:
		return WFS_WIRE_UNKNOWN;
	case -ESTALE:
		return WFS_WIRE_STALE;
	case -ENOTSUP:
		return WFS_WIRE_NOT_HELD;
	default:
		return WFS_WIRE_IO;
	}
}

static bool answer(void *ctx, int socket, void *client)
{
	const struct wfs_lender *lender = ctx;
	struct wfs_lend_answer answer = { .magic = "WFLA" };
	struct wfs_lend_request request;
	int sent wfs_autoclose = -1;
	int fd wfs_autoclose = -1;

	(void)client;
	if (wfs_unix_receive(socket, &request, sizeof(request), &sent) != 0 ||
	    sent >= 0 || memcmp(request.magic, "WFL1", 4) != 0 ||
	    request.op != WFS_LEND)
		return false;
	fd = lender->config.descriptor(lender->config.ctx, request.id,
				       &answer.size);
	if (fd < 0) {
		answer.status = code_status(fd);
		answer.size = 0;
	}
	return wfs_unix_send(socket, &answer, sizeof(answer), fd) == 0;
}

static bool welcome(void *ctx, const char *path, int socket, bool full,
		    void **ret_client)
{
	(void)ctx;
	(void)ret_client;
	if (!full && wfs_lend_is_ours(socket))
		return true;
	wfs_warn("'%s': %s is turned away", path,
		 full ? "one more client than can be served" : "another user");
	return false;
}

int wfs_lender_start(const struct wfs_lender_config *config,
		     struct wfs_lender **ret_lender, struct wfs_err *err)
{
	struct wfs_lender *lender = wfs_calloc(1, sizeof(*lender));
	const struct wfs_unix_service service = {
		.ctx = lender,
		.dir = config->dir,
		.root_dir = "/run/weightfs",
		.dir_mode = 0700,
		.name = "lend",
		.mode = 0600,
		.most = CLIENTS_MAX,
		.welcome = welcome,
		.answer = answer,
	};
	int rc;

	lender->config = *config;
	lender->config.dir = NULL;
	rc = wfs_unix_server_start(&service, &lender->server, err);
	if (rc) {
		free(lender);
		return rc;
	}
	*ret_lender = lender;
	return 0;
}

const char *wfs_lender_path(const struct wfs_lender *lender)
{
	return wfs_unix_server_path(lender->server);
}

void wfs_lender_stop(struct wfs_lender *lender)
{
	if (!lender)
		return;
	wfs_unix_server_stop(lender->server);
	free(lender);
}
