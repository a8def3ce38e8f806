/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes over /v1/stream: a connection that libcurl makes (TCP, TLS, the
 * request to upgrade) and that then carries frames.  Without TLS bytes go
 * from the socket to where they belong with no copy in between.
 */
#ifndef WFS_TRANSPORT_REMOTE_STREAM_H
#define WFS_TRANSPORT_REMOTE_STREAM_H

#include "transport/fetch/fetch.h"
#include "transport/remote/link.h"

/* Its peers' ctx is a struct wfs_link. */
extern const struct wfs_lane_ops wfs_stream_ops;

#endif
