/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seed of what somebody else holds: in memory, and only some chunks of it.
 */
#include "tests/unit/t.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/hex.h"
#include "core/base/text.h"
#include "tests/unit/ckpt.h"
#include "transport/seed/seed.h"
#include "transport/wire/frame.h"

#define DATA ((size_t)3 * WFS_CHUNK) /* of the tensor, beyond its header */

/* Holds all but the second chunk of any region. */
struct holding {
	atomic_int lent; /* stretches not given back */
	struct wfs_holder holder;
};

static uint64_t held(void *ctx, struct wfs_region *region)
{
	(void)ctx;
	return region->size > WFS_CHUNK ? region->size - WFS_CHUNK :
					  region->size;
}

static bool holds(void *ctx, struct wfs_region *region, uint64_t off,
		  uint64_t len)
{
	(void)ctx;
	(void)region;
	return off + len <= WFS_CHUNK || off >= 2 * WFS_CHUNK;
}

/* A copy, and who lent it. */
struct loan {
	struct holding *holding;
	char bytes[];
};

static void release(void *own)
{
	struct loan *loan = own;

	atomic_fetch_sub(&loan->holding->lent, 1);
	free(loan);
}

static int take(void *ctx, struct wfs_region *region, uint64_t off, size_t len,
		struct wfs_stretch *ret_stretch)
{
	struct holding *holding = ctx;
	struct loan *loan;

	if (!holds(ctx, region, off, 1))
		return -ENODATA;
	if (off < WFS_CHUNK && len > WFS_CHUNK - off)
		len = WFS_CHUNK - off;
	loan = wfs_malloc(sizeof(*loan) + len);
	loan->holding = holding;
	if (wfs_region_read(region, loan->bytes, len, off) != (ssize_t)len)
		abort();
	atomic_fetch_add(&holding->lent, 1);
	*ret_stretch = (struct wfs_stretch){ .len = len,
					     .fd = -1,
					     .bytes = loan->bytes,
					     .release = release,
					     .own = loan };
	return 0;
}

struct stand {
	struct holding holding;
	struct wfs_registry *registry;
	struct wfs_seed *seed;
	struct wfs_model *model;
	char id[33]; /* of the shard file */
};

static int connect_to(const struct stand *s)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	const char *port = strrchr(wfs_seed_url(s->seed), ':') + 1;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	at.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void send_text(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void receive(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, (char *)buf + done, len - done);

		assert_true(n > 0);
		done += (size_t)n;
	}
}

/* The head of an answer, or all of one whose connection is closed then. */
static char *receive_text(int fd, bool head)
{
	struct wfs_text text = { 0 };
	char c;

	while (read(fd, &c, 1) == 1) {
		wfs_text_add_bytes(&text, &c, 1);
		if (head && text.len >= 4 &&
		    strcmp(text.data + text.len - 4, "\r\n\r\n") == 0)
			break;
	}
	return text.data;
}

static char *get(const struct stand *s, const char *path, const char *more)
{
	char *ask wfs_autofree = wfs_asprintf(
		"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n",
		path, more);
	int fd = connect_to(s);
	char *text;

	send_text(fd, ask);
	text = receive_text(fd, false);
	close(fd);
	return text;
}

static int setup(void **state)
{
	struct stand *s = wfs_calloc(1, sizeof(*s));
	struct wfs_seed_config config = { .listen = "127.0.0.1:0",
					  .holder = &s->holding.holder };
	struct ckpt *ckpt = ckpt_new("held");
	char *header wfs_autofree =
		wfs_asprintf("{\"a\":{\"dtype\":\"U8\",\"shape\":[%zu],"
			     "\"data_offsets\":[0,%zu]}}",
			     DATA, DATA);
	struct wfs_source *source;
	struct wfs_err err;
	char *text, *at;

	ckpt_add_safetensors(ckpt, "model.safetensors", header, DATA);
	source = ckpt_source(ckpt);
	assert_int_equal(wfs_model_load(source, "m", 1, &s->model, &err), 0);
	wfs_source_put(source);
	s->holding.holder = (struct wfs_holder){ &s->holding, held, holds,
						 take,	      NULL, NULL };
	s->registry = wfs_registry_new(0);
	wfs_registry_offer(s->registry, wfs_model_get(s->model));
	wfs_registry_tick(s->registry);
	assert_int_equal(wfs_seed_open(&config, s->registry, &s->seed, &err),
			 0);
	assert_int_equal(wfs_seed_start(s->seed, &err), 0);
	text = get(s, "/v1/models/m/manifest", "");
	at = strstr(text, "\"region\":\"");
	assert_non_null(at);
	memcpy(s->id, at + 10, 32);
	assert_non_null(strstr(text, "\"held\":0.66"));
	assert_non_null(strstr(text, "\"xxh3\":null"));
	free(text);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct stand *s = *state;

	wfs_seed_close(s->seed);
	assert_int_equal(atomic_load(&s->holding.lent), 0);
	wfs_registry_free(s->registry);
	wfs_model_put(s->model);
	free(s);
	return 0;
}

static void a_chunk_comes_from_memory_or_is_not_held(void **state)
{
	static const struct {
		uint64_t index;
		uint32_t status;
	} rows[] = { { 0, WFS_WIRE_OK },
		     { 1, WFS_WIRE_NOT_HELD },
		     { 2, WFS_WIRE_OK },
		     { 3, WFS_WIRE_OK } };
	struct stand *s = *state;
	struct wfs_region *region = s->model->entries[1].region;
	uint8_t *bytes = wfs_malloc(WFS_CHUNK), *want = wfs_malloc(WFS_CHUNK);
	uint8_t frame[WFS_REQUEST_BYTES], head[WFS_ANSWER_BYTES], digest[16];
	int fd = connect_to(s);
	char *text;

	send_text(fd, "GET /v1/stream HTTP/1.1\r\nHost: x\r\n"
		      "Connection: Upgrade\r\nUpgrade: weightfs-stream/1\r\n"
		      "\r\n");
	text = receive_text(fd, true);
	assert_non_null(strstr(text, "101"));
	free(text);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wfs_wire_request request = {
			.op = WFS_WIRE_READ,
			.tag = (uint32_t)i,
			.off = rows[i].index * WFS_CHUNK,
			.len = wfs_chunk_len(region->size, rows[i].index),
		};
		struct wfs_wire_answer answer;

		assert_int_equal(wfs_hex_parse(s->id, 32, request.region, 16),
				 0);
		wfs_wire_put_request(&request, frame);
		assert_int_equal(write(fd, frame, sizeof(frame)),
				 sizeof(frame));
		receive(fd, head, sizeof(head));
		assert_int_equal(wfs_wire_get_answer(head, &answer), 0);
		assert_int_equal(answer.status, rows[i].status);
		receive(fd, bytes, answer.len);
		if (answer.status)
			continue;
		assert_int_equal(answer.len, request.len);
		wfs_region_read(region, want, answer.len, request.off);
		assert_memory_equal(bytes, want, answer.len);
		wfs_digest_bytes(WFS_XXH3_128, bytes, answer.len, digest);
		assert_memory_equal(digest, answer.digest, 16);
	}
	close(fd);
	free(bytes);
	free(want);
}

static void a_range_that_is_not_held_is_for_later(void **state)
{
	struct stand *s = *state;
	char *path wfs_autofree = wfs_asprintf("/v1/regions/%s", s->id);
	char *inside wfs_autofree = get(s, path, "Range: bytes=1000-2000\r\n");
	char *across wfs_autofree = get(s, path, "");

	assert_non_null(strstr(inside, "206"));
	assert_non_null(strstr(inside, "Content-Length: 1001"));
	assert_non_null(strstr(across, "503"));
	assert_non_null(strstr(across, "Retry-After"));
}

static void digests_without_a_book_cannot_be_had(void **state)
{
	struct stand *s = *state;
	char *path wfs_autofree = wfs_asprintf("/v1/regions/%s/digests", s->id);
	char *text wfs_autofree = get(s, path, "");

	assert_non_null(strstr(text, "503"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_chunk_comes_from_memory_or_is_not_held),
		T(a_range_that_is_not_held_is_for_later),
		T(digests_without_a_book_cannot_be_had),
	};

	return cmocka_run_group_tests_name("seed_holder", tests, setup,
					   teardown);
}
