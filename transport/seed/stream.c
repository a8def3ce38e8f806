/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/stream: chunks, as fast as a socket takes them.
 *
 * A thread for each stream.  It answers in order and takes the next request
 * from the socket only when the last one was answered, so a client that asks
 * for much has to wait in its own socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/log.h"
#include "transport/seed/inner.h"
#include "transport/seed/sender.h"

#define SEND_BYTES (4 << 20) /* of the socket's buffer, where permitted */
#define NS_PER_MS  1000000
#define LAST_READS 256
#define LAST_MS	   1000

struct stream {
	struct wfs_sender sender; /* the seed, and the socket */
	struct wfs_client *client;
	struct MHD_UpgradeResponseHandle *handle;
	uint8_t early[WFS_REQUEST_BYTES * 64]; /* read with the headers */
	size_t early_len, early_at;
	uint8_t *chunk; /* room for one, when a digest is to be made */
};

static int stall_ms(const struct stream *stream)
{
	return (int)(stream->sender.seed->stall_ns / NS_PER_MS);
}

/* Reads a whole frame; between frames a client may take its time. */
static int receive(struct stream *stream, uint8_t *frame)
{
	size_t len = stream->early_len - stream->early_at;

	if (len > WFS_REQUEST_BYTES)
		len = WFS_REQUEST_BYTES;
	memcpy(frame, stream->early + stream->early_at, len);
	stream->early_at += len;
	while (len < WFS_REQUEST_BYTES) {
		ssize_t n = recv(stream->sender.fd, frame + len,
				 WFS_REQUEST_BYTES - len, MSG_DONTWAIT);

		if (n > 0) {
			len += (size_t)n;
			continue;
		}
		if (n == 0)
			return -EPIPE;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		n = wfs_sender_wait(&stream->sender, POLLIN,
				    len ? stall_ms(stream) : -1);
		if (n)
			return (int)n;
	}
	return 0;
}

static int refuse(const struct stream *stream, uint32_t tag, uint32_t status)
{
	const char *text = wfs_wire_status_text(status);
	struct wfs_wire_answer answer = {
		.tag = tag,
		.status = status,
		.len = (uint32_t)strlen(text),
	};
	uint8_t head[WFS_ANSWER_BYTES];
	int rc;

	wfs_wire_put_answer(&answer, head);
	rc = wfs_sender_bytes(&stream->sender, head, sizeof(head), MSG_MORE);
	return rc ? rc : wfs_sender_bytes(&stream->sender, text, answer.len, 0);
}

/* The digest of a chunk that nobody knows, from its bytes. */
static int make_digest(struct stream *stream, struct wfs_stock_model *model,
		       struct wfs_stock_file *file,
		       const struct wfs_stretch *stretch, uint64_t index,
		       uint8_t *ret_digest)
{
	struct wfs_region *region = file->region;
	const void *bytes = stretch->bytes;
	int rc = 0;

	if (stretch->fd >= 0) {
		if (!stream->chunk)
			stream->chunk = wfs_malloc(WFS_CHUNK);
		bytes = stream->chunk;
		rc = wfs_stretch_read(stretch, stream->chunk);
	}
	if (rc) {
		if (wfs_region_check(region))
			return -ESTALE;
		wfs_region_note_failure(region, rc);
		return rc;
	}
	wfs_digest_bytes(WFS_XXH3_128, bytes, stretch->len, ret_digest);
	/* Of the bytes that were listed: nothing was written until now. */
	rc = wfs_region_check(region);
	if (rc)
		return rc;
	atomic_fetch_add(&stream->sender.seed->hashed, stretch->len);
	wfs_stock_note_chunk(model, file, index, ret_digest);
	return 0;
}

static uint32_t status_of(int rc)
{
	switch (rc) {
	case -ENOENT:
		return WFS_WIRE_UNKNOWN;
	case -ESTALE:
		return WFS_WIRE_STALE;
	case -ENODATA:
		return WFS_WIRE_NOT_HELD;
	case -EBUSY:
		return WFS_WIRE_BUSY;
	default:
		return WFS_WIRE_IO;
	}
}

/* A whole chunk, and its digest. */
static int take_chunk(struct stream *stream, struct wfs_stock_model *model,
		      struct wfs_stock_file *file,
		      const struct wfs_wire_request *request,
		      struct wfs_stretch *ret_stretch, uint8_t *ret_digest)
{
	uint64_t index = request->off / WFS_CHUNK;
	bool known = wfs_stock_chunk(model, file, index, ret_digest);
	int rc = known ? wfs_stock_direct(model, file, request->off,
					  request->len, ret_stretch) :
			 -ENOTSUP;

	if (rc == -ENOTSUP)
		rc = wfs_stock_take(model, file, request->off, request->len,
				    ret_stretch);
	if (rc)
		return rc;
	rc = ret_stretch->len == request->len ? 0 : -ENODATA;
	if (!rc && !known)
		rc = make_digest(stream, model, file, ret_stretch, index,
				 ret_digest);
	if (rc)
		wfs_stretch_release(ret_stretch);
	return rc;
}

/* Sends a chunk that is here, or says why it cannot. */
static int send_chunk(struct stream *stream,
		      const struct wfs_wire_request *request,
		      struct wfs_stock_model *model,
		      struct wfs_stock_file *file)
{
	struct wfs_wire_answer answer = { .tag = request->tag,
					  .len = request->len };
	uint8_t head[WFS_ANSWER_BYTES];
	struct wfs_stretch stretch;
	int rc = take_chunk(stream, model, file, request, &stretch,
			    answer.digest);

	if (rc)
		return refuse(stream, request->tag, status_of(rc));
	wfs_wire_put_answer(&answer, head);
	rc = wfs_sender_bytes(&stream->sender, head, sizeof(head), MSG_MORE);
	if (!rc)
		rc = wfs_sender_stretch(&stream->sender, &stretch);
	/* The stream ends; who asks again is told why. */
	if (rc == -EFAULT && stretch.send)
		atomic_store(&file->only_taken, true);
	wfs_stretch_release(&stretch);
	if (!rc)
		atomic_fetch_add(&stream->sender.seed->chunks, 1);
	return rc;
}

static int serve_request(struct stream *stream,
			 const struct wfs_wire_request *request)
{
	struct wfs_seed *seed = stream->sender.seed;
	struct wfs_stock_model *model;
	struct wfs_stock_file *file;
	uint64_t size;
	int rc = wfs_stock_region(seed->stock, request->region, &model, &file);

	if (rc == -ESTALE)
		atomic_fetch_add(&seed->stale, 1);
	if (rc)
		return refuse(stream, request->tag, status_of(rc));
	size = file->region->size;
	if (request->off >= size ||
	    request->len != wfs_chunk_len(size, request->off / WFS_CHUNK)) {
		rc = refuse(stream, request->tag, WFS_WIRE_MALFORMED);
		rc = rc ? rc : -EBADMSG;
	} else {
		wfs_client_sends(&seed->clients, stream->client, file->region);
		wfs_turn_take(&seed->turns);
		stream->sender.turn = true;
		rc = send_chunk(stream, request, model, file);
		stream->sender.turn = false;
		wfs_turn_give(&seed->turns);
		wfs_client_sends(&seed->clients, stream->client, NULL);
	}
	wfs_stock_put(model);
	return rc;
}

static void serve(struct stream *stream)
{
	struct wfs_wire_request request;
	uint8_t frame[WFS_REQUEST_BYTES];
	int rc = 0;

	while (rc == 0) {
		rc = receive(stream, frame);
		if (rc)
			break;
		rc = wfs_wire_get_request(frame, &request);
		if (rc)
			refuse(stream, 0, WFS_WIRE_MALFORMED);
		else
			rc = serve_request(stream, &request);
	}
	if (rc == -EBADMSG) {
		/* Its sentence must not be lost to what else it sent. */
		shutdown(stream->sender.fd, SHUT_WR);
		for (int i = 0; i < LAST_READS; i++) {
			if (wfs_sender_wait(&stream->sender, POLLIN, LAST_MS) ||
			    recv(stream->sender.fd, frame, sizeof(frame), 0) <=
				    0)
				break;
		}
	}
}

static void end(struct stream *stream)
{
	struct wfs_seed *seed = stream->sender.seed;

	close(stream->sender.fd);
	MHD_upgrade_action(stream->handle, MHD_UPGRADE_ACTION_CLOSE);
	free(stream->chunk);
	free(stream);
	pthread_mutex_lock(&seed->lock);
	if (--seed->streams == 0)
		pthread_cond_broadcast(&seed->quiet);
	pthread_mutex_unlock(&seed->lock);
}

static void *run(void *arg)
{
	struct stream *stream = arg;

	serve(stream);
	end(stream);
	return NULL;
}

static bool count_in(struct wfs_seed *seed)
{
	bool may;

	pthread_mutex_lock(&seed->lock);
	may = !atomic_load(&seed->stopping);
	seed->streams += may;
	pthread_mutex_unlock(&seed->lock);
	return may;
}

/* The answer went out: the socket is ours. */
static void begin(void *cls, struct MHD_Connection *connection, void *own,
		  const char *extra, size_t extra_len, MHD_socket fd,
		  struct MHD_UpgradeResponseHandle *handle)
{
	struct wfs_seed *seed = cls;
	struct stream *stream = wfs_calloc(1, sizeof(*stream));
	pthread_attr_t attr;
	pthread_t thread;
	int size = SEND_BYTES;

	(void)own;
	stream->sender.seed = seed;
	/*
	 * Of our own: the library closes its descriptor whenever it looks at
	 * the connection after the end of the stream.
	 */
	stream->sender.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	stream->handle = handle;
	stream->client = MHD_get_connection_info(
				 connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
				 ->socket_context;
	if (stream->sender.fd < 0 || extra_len > sizeof(stream->early) ||
	    !count_in(seed)) {
		if (stream->sender.fd >= 0)
			close(stream->sender.fd);
		MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
		free(stream);
		return;
	}
	memcpy(stream->early, extra, extra_len);
	stream->early_len = extra_len;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	/* Only ever more than the kernel would give by itself. */
	setsockopt(stream->client->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size,
		   sizeof(size));
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, run, stream)) {
		wfs_warn("no thread for another stream");
		end(stream);
	}
	pthread_attr_destroy(&attr);
}

enum MHD_Result wfs_seed_stream(struct wfs_ask *ask)
{
	const char *wanted = wfs_ask_header(ask, MHD_HTTP_HEADER_UPGRADE);
	const char *how = wfs_ask_header(ask, MHD_HTTP_HEADER_CONNECTION);
	struct MHD_Response *response;

	if (!wanted || !how || !wfs_word_listed(how, "upgrade"))
		return wfs_ask_refuse(ask, MHD_HTTP_BAD_REQUEST,
				      "this wants Connection: Upgrade and "
				      "Upgrade: " WFS_STREAM_NAME);
	if (!wfs_word_listed(wanted, WFS_STREAM_NAME))
		return wfs_ask_refuse(ask, MHD_HTTP_UPGRADE_REQUIRED,
				      "this seed (weightfs " WFS_VERSION
				      ") speaks " WFS_STREAM_NAME ", not '%s'",
				      wanted);
	response = MHD_create_response_for_upgrade(begin, ask->seed);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE,
				WFS_STREAM_NAME);
	wfs_client_streams(&ask->seed->clients, ask->client);
	return wfs_ask_send(ask, MHD_HTTP_SWITCHING_PROTOCOLS, response);
}
