/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a process on a stream: a chunk that was sent once is neither
 * looked at nor copied again, and what is gone is an error still.
 */
#include "tests/unit/t.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weightfs/seed.h>

#include "core/base/hex.h"
#include "core/base/text.h"
#include "core/digest/digests.h"
#include "transport/wire/frame.h"

#define BYTES ((size_t)4 * WFS_CHUNK)

struct stand {
	struct weightfs_seed *seed;
	struct weightfs_seed_model *model;
	char *memory;
	uint8_t region[WFS_WIRE_ID_BYTES];
};

static int connect_to(const struct stand *s)
{
	const char *port = strrchr(weightfs_seed_url(s->seed), ':') + 1;
	struct sockaddr_in at = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* An answer, to the end of its head or to that of the connection. */
static char *ask(int fd, const char *path, const char *more, bool head)
{
	char *text wfs_autofree = wfs_asprintf(
		"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, more);
	struct wfs_text answer = { 0 };
	char c;

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	while (read(fd, &c, 1) == 1) {
		wfs_text_add_bytes(&answer, &c, 1);
		if (head && answer.len >= 4 &&
		    !strcmp(answer.data + answer.len - 4, "\r\n\r\n"))
			break;
	}
	return answer.data;
}

static char *get(const struct stand *s, const char *path)
{
	int fd = connect_to(s);
	char *text = ask(fd, path, "Connection: close\r\n", false);

	close(fd);
	return text;
}

static int open_stream(const struct stand *s)
{
	int fd = connect_to(s);
	char *text wfs_autofree = ask(
		fd, "/v1/stream",
		"Connection: Upgrade\r\nUpgrade: weightfs-stream/1\r\n", true);

	assert_non_null(strstr(text, "101"));
	return fd;
}

static unsigned long long hashed(const struct stand *s)
{
	static const char name[] = "\nweightfs_seed_hashed_bytes_total ";
	char *text wfs_autofree = get(s, "/metrics");
	const char *at = strstr(text, name);

	assert_non_null(at);
	return strtoull(at + strlen(name), NULL, 10);
}

/* How many of `len` bytes come. */
static size_t receive(int fd, void *buf, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len && (n = read(fd, (char *)buf + done, len - done)) > 0)
		done += (size_t)n;
	return done;
}

/* Asks for chunk `index`; the bytes that came of it. */
static size_t ask_chunk(const struct stand *s, int fd, uint64_t index,
			struct wfs_wire_answer *ret_answer, char *ret_bytes)
{
	struct wfs_wire_request request = { .op = WFS_WIRE_READ,
					    .off = index * WFS_CHUNK,
					    .len = WFS_CHUNK };
	uint8_t frame[WFS_REQUEST_BYTES], head[WFS_ANSWER_BYTES];

	memcpy(request.region, s->region, sizeof(request.region));
	wfs_wire_put_request(&request, frame);
	assert_int_equal(write(fd, frame, sizeof(frame)), sizeof(frame));
	assert_int_equal(receive(fd, head, sizeof(head)), sizeof(head));
	assert_int_equal(wfs_wire_get_answer(head, ret_answer), 0);
	return receive(fd, ret_bytes, ret_answer->len);
}

/* Whole, right, and some bytes of the memory. */
static void assert_chunk(const struct stand *s, int fd, uint64_t index)
{
	char *bytes wfs_autofree = wfs_malloc(WFS_CHUNK);
	uint8_t digest[WFS_DIGEST_MAX];
	struct wfs_wire_answer answer;

	assert_int_equal(ask_chunk(s, fd, index, &answer, bytes), WFS_CHUNK);
	assert_int_equal(answer.status, WFS_WIRE_OK);
	wfs_digest_bytes(WFS_XXH3_128, bytes, WFS_CHUNK, digest);
	assert_memory_equal(digest, answer.digest, WFS_WIRE_HASH_SIZE);
	assert_non_null(
		memmem(s->memory, BYTES, bytes + WFS_CHUNK / 2, WFS_CHUNK / 2));
}

static int setup(void **state)
{
	struct weightfs_seed_model_options options = { .size = sizeof(options),
						       .name = "m",
						       .layout = "tp1" };
	struct stand *s = wfs_calloc(1, sizeof(*s));
	uint64_t shape = BYTES;
	struct weightfs_seed_tensor tensor = { .size = sizeof(tensor),
					       .name = "t",
					       .dtype = "U8",
					       .shape = &shape,
					       .ndim = 1 };
	char *text wfs_autofree = NULL;
	const char *at;

	s->memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(s->memory, MAP_FAILED);
	for (size_t i = 0; i < BYTES; i++)
		s->memory[i] = (char)(i * 31 + i / 4099);
	tensor.data = s->memory;
	assert_int_equal(weightfs_seed_new(NULL, &s->seed), 0);
	assert_int_equal(weightfs_seed_model_new(s->seed, &options, &s->model),
			 0);
	assert_int_equal(weightfs_seed_add_tensor(s->model, &tensor), 0);
	assert_int_equal(weightfs_seed_publish(s->model), 0);
	text = get(s, "/v1/models/m/manifest");
	at = strstr(text, "\"region\":\"");
	assert_non_null(at);
	assert_int_equal(
		wfs_hex_parse(at + 10, 32, s->region, sizeof(s->region)), 0);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct stand *s = *state;

	weightfs_seed_free(s->seed);
	munmap(s->memory, BYTES);
	free(s);
	return 0;
}

static void a_chunk_is_looked_at_once_in_an_epoch(void **state)
{
	struct stand *s = *state;
	int fd = open_stream(s), other = open_stream(s);

	assert_chunk(s, fd, 1);
	assert_int_equal(hashed(s), WFS_CHUNK);
	assert_chunk(s, fd, 1);
	assert_chunk(s, other, 1);
	assert_int_equal(hashed(s), WFS_CHUNK);
	assert_chunk(s, other, 2);
	assert_int_equal(hashed(s), 2 * WFS_CHUNK);
	close(fd);
	close(other);
}

static void what_was_sent_before_an_update_is_stale_after_it(void **state)
{
	struct stand *s = *state;
	char *bytes wfs_autofree = wfs_malloc(WFS_CHUNK);
	struct wfs_wire_answer answer;
	int fd = open_stream(s);

	assert_chunk(s, fd, 1);
	assert_int_equal(weightfs_seed_update_begin(s->model), 0);
	memset(s->memory, 1, BYTES);
	assert_int_equal(weightfs_seed_update_end(s->model), 0);
	ask_chunk(s, fd, 1, &answer, bytes);
	assert_int_equal(answer.status, WFS_WIRE_STALE);
	close(fd);
}

static void what_was_sent_before_is_busy_in_an_update(void **state)
{
	struct stand *s = *state;
	char *bytes wfs_autofree = wfs_malloc(WFS_CHUNK);
	struct wfs_wire_answer answer;
	int fd = open_stream(s);

	assert_chunk(s, fd, 1);
	assert_int_equal(weightfs_seed_update_begin(s->model), 0);
	ask_chunk(s, fd, 1, &answer, bytes);
	assert_int_equal(answer.status, WFS_WIRE_BUSY);
	assert_int_equal(weightfs_seed_update_end(s->model), 0);
	/* The stream goes on. */
	ask_chunk(s, fd, 1, &answer, bytes);
	assert_int_equal(answer.status, WFS_WIRE_STALE);
	close(fd);
}

static void memory_that_is_freed_without_a_word_is_an_error(void **state)
{
	struct stand *s = *state;
	char *bytes wfs_autofree = wfs_malloc(WFS_CHUNK);
	struct wfs_wire_answer answer;
	int fd = open_stream(s);

	assert_chunk(s, fd, 1);
	/* Nothing else is to get that place. */
	assert_int_equal(mprotect(s->memory, BYTES, PROT_NONE), 0);
	/* Too late to say so: the stream ends. */
	assert_true(ask_chunk(s, fd, 1, &answer, bytes) < WFS_CHUNK);
	close(fd);
	fd = open_stream(s);
	ask_chunk(s, fd, 1, &answer, bytes);
	assert_int_equal(answer.status, WFS_WIRE_IO);
	/* There is more to be had on it. */
	ask_chunk(s, fd, 2, &answer, bytes);
	assert_int_equal(answer.status, WFS_WIRE_IO);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_chunk_is_looked_at_once_in_an_epoch, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_was_sent_before_an_update_is_stale_after_it, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			what_was_sent_before_is_busy_in_an_update, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			memory_that_is_freed_without_a_word_is_an_error, setup,
			teardown),
	};

	return cmocka_run_group_tests_name("live_stream", tests, NULL, NULL);
}
