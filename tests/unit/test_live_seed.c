/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seed of libweightfs, as a program calls it: what it serves, and that
 * nothing of it stays.
 */
#include "tests/unit/t.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <weightfs/seed.h>

#include "core/base/text.h"
#include "tests/unit/store_fixture.h"

#define CYCLES 1000
#define COUNT  1000

static float memory[COUNT];

static size_t entries_of(const char *path)
{
	DIR *dir = opendir(path);
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int connect_to(const struct weightfs_seed *seed)
{
	const char *port = strrchr(weightfs_seed_url(seed), ':') + 1;
	struct sockaddr_in at = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* All of an answer; the caller's. */
static char *get(const struct weightfs_seed *seed, const char *path)
{
	char *ask wfs_autofree = wfs_asprintf("GET %s HTTP/1.1\r\nHost: x\r\n"
					      "Connection: close\r\n\r\n",
					      path);
	int fd = connect_to(seed);
	struct wfs_text text = { 0 };
	char some[4096];
	ssize_t n;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, ask, strlen(ask)), strlen(ask));
	while ((n = read(fd, some, sizeof(some))) > 0)
		wfs_text_add_bytes(&text, some, (size_t)n);
	close(fd);
	return text.data;
}

static bool says(const struct weightfs_seed *seed, const char *path,
		 const char *what)
{
	char *text wfs_autofree = get(seed, path);

	return strstr(text, what) != NULL;
}

static struct weightfs_seed *new_seed(void)
{
	struct weightfs_seed *seed;

	if (weightfs_seed_new(NULL, &seed))
		fail_msg("%s", weightfs_last_error());
	return seed;
}

static int add(struct weightfs_seed_model *model, const char *name, int device)
{
	uint64_t shape = COUNT;
	struct weightfs_seed_tensor tensor = { .size = sizeof(tensor),
					       .name = name,
					       .dtype = "F32",
					       .shape = &shape,
					       .ndim = 1,
					       .data = memory,
					       .device = device };

	return weightfs_seed_add_tensor(model, &tensor);
}

static struct weightfs_seed_model *new_model(struct weightfs_seed *seed,
					     const char *name)
{
	struct weightfs_seed_model_options options = { .size = sizeof(options),
						       .name = name,
						       .layout = "tp1" };
	struct weightfs_seed_model *model;

	assert_int_equal(weightfs_seed_model_new(seed, &options, &model), 0);
	return model;
}

static struct weightfs_seed_model *serve(struct weightfs_seed *seed,
					 const char *name)
{
	struct weightfs_seed_model *model = new_model(seed, name);

	assert_int_equal(add(model, "t", 0), 0);
	assert_int_equal(weightfs_seed_publish(model), 0);
	return model;
}

static void models_of_a_seed_are_apart(void **state)
{
	struct weightfs_seed *seed = new_seed();
	struct weightfs_seed_model_options same = { .size = sizeof(same),
						    .name = "draft" };
	struct weightfs_seed_model *one = serve(seed, "main"), *other;

	(void)state;
	serve(seed, "draft");
	assert_int_equal(weightfs_seed_model_new(seed, &same, &other), -EEXIST);
	assert_true(says(seed, "/v1/models", "\"name\":\"main\""));
	assert_true(
		says(seed, "/v1/models/draft/manifest", "\"layout\": \"tp1\""));
	weightfs_seed_model_free(one);
	assert_false(says(seed, "/v1/models", "\"name\":\"main\""));
	assert_true(says(seed, "/v1/models", "\"name\":\"draft\""));
	weightfs_seed_free(seed);
}

static void a_model_is_made_once_and_says_what_is_wrong(void **state)
{
	struct weightfs_seed *seed = new_seed();
	struct weightfs_seed_model *model = new_model(seed, "m");

	(void)state;
	assert_int_equal(weightfs_seed_publish(model), -ENOENT);
	assert_non_null(strstr(weightfs_last_error(), "'m' has no tensor"));
	assert_int_equal(add(model, "t", 2), -ENOTSUP);
	assert_non_null(strstr(weightfs_last_error(), "'t': device 2"));
	assert_int_equal(add(model, "t", WEIGHTFS_SEED_CUDA), -ENXIO);
	assert_non_null(strstr(weightfs_last_error(), "'t': "));
	assert_int_equal(weightfs_seed_update_end(model), -EINVAL);
	assert_int_equal(add(model, "t", 0), 0);
	assert_int_equal(weightfs_seed_publish(model), 0);
	assert_int_equal(add(model, "u", 0), -EBUSY);
	assert_int_equal(weightfs_seed_publish(model), -EALREADY);
	weightfs_seed_free(seed);
}

static void a_second_publish_changes_nothing(void **state)
{
	struct weightfs_seed *seed = new_seed();
	struct weightfs_seed_model *model = serve(seed, "m");

	(void)state;
	assert_int_equal(weightfs_seed_publish(model), -EALREADY);
	assert_int_equal(weightfs_seed_update_begin(model), 0);
	assert_int_equal(weightfs_seed_update_end(model), 0);
	assert_true(says(seed, "/v1/models/m/manifest", "\"epoch\": 2,"));
	weightfs_seed_model_free(model);
	assert_false(says(seed, "/v1/models", "\"name\":\"m\""));
	weightfs_seed_free(seed);
}

static void options_that_cannot_be_are_refused(void **state)
{
	struct weightfs_seed_options options = { .size = sizeof(options) };
	struct weightfs_seed *seed;

	(void)state;
	options.listen = "0.0.0.0:0";
	assert_int_equal(weightfs_seed_new(&options, &seed), -EPERM);
	assert_non_null(strstr(weightfs_last_error(), "token"));
	options.listen = NULL;
	options.nice = 20;
	assert_int_equal(weightfs_seed_new(&options, &seed), -EINVAL);
	options.size = 0;
	assert_int_equal(weightfs_seed_new(&options, &seed), -EINVAL);
}

static void an_update_is_another_version(void **state)
{
	struct weightfs_seed *seed = new_seed();
	struct weightfs_seed_model *model = serve(seed, "m");
	char *before wfs_autofree = get(seed, "/v1/models");
	char *after wfs_autofree = NULL;

	(void)state;
	assert_int_equal(weightfs_seed_update_begin(model), 0);
	assert_int_equal(weightfs_seed_update_begin(model), -EALREADY);
	assert_int_equal(weightfs_seed_epoch(model), 1);
	assert_int_equal(weightfs_seed_update_end(model), 0);
	after = get(seed, "/v1/models");
	assert_string_not_equal(strstr(before, "\"version\""),
				strstr(after, "\"version\""));
	assert_true(says(seed, "/v1/models/m/manifest", "\"epoch\": 2,"));
	weightfs_seed_free(seed);
}

static void a_declared_version_ends_with_an_update(void **state)
{
	struct weightfs_seed *seed = new_seed();
	struct weightfs_seed_model *model = serve(seed, "m");

	(void)state;
	assert_int_equal(weightfs_seed_update_declare(model, "v1"), -EINVAL);
	assert_int_equal(weightfs_seed_update_begin(model), 0);
	assert_int_equal(weightfs_seed_update_declare(model, "\xff"), -EINVAL);
	assert_int_equal(weightfs_seed_update_declare(model, "v1"), 0);
	assert_int_equal(weightfs_seed_update_declare(model, "v2"), 0);
	assert_int_equal(weightfs_seed_update_end(model), 0);
	assert_true(
		says(seed, "/v1/models/m/manifest", "\"declared\": \"v2\""));
	assert_int_equal(weightfs_seed_update_end(model), -EINVAL);
	assert_true(
		says(seed, "/v1/models/m/manifest", "\"declared\": \"v2\""));
	assert_int_equal(weightfs_seed_update_begin(model), 0);
	assert_int_equal(weightfs_seed_update_end(model), 0);
	assert_true(says(seed, "/v1/models/m/manifest", "\"declared\": null"));
	assert_int_equal(weightfs_seed_update_begin(model), 0);
	assert_int_equal(weightfs_seed_update_declare(model, "v3"), 0);
	assert_int_equal(weightfs_seed_update_declare(model, NULL), 0);
	assert_int_equal(weightfs_seed_update_end(model), 0);
	assert_true(says(seed, "/v1/models/m/manifest", "\"declared\": null"));
	weightfs_seed_free(seed);
}

static void a_thousand_models_leave_nothing(void **state)
{
	struct weightfs_seed *seed = new_seed();
	size_t fds = entries_of("/proc/self/fd");

	(void)state;
	for (int i = 0; i < CYCLES; i++)
		weightfs_seed_model_free(serve(seed, "m"));
	assert_int_equal(entries_of("/proc/self/fd"), fds);
	assert_false(says(seed, "/v1/models", "\"name\""));
	weightfs_seed_free(seed);
}

/* A thread that was joined may be listed for a moment still. */
static bool has_no_more_tasks(void *ctx)
{
	return entries_of("/proc/self/task") <= *(const size_t *)ctx;
}

static void seeds_come_and_go(void **state)
{
	size_t fds, threads;

	(void)state;
	weightfs_seed_free(new_seed());
	fds = entries_of("/proc/self/fd");
	threads = entries_of("/proc/self/task");
	for (int i = 0; i < 20; i++) {
		struct weightfs_seed *seed = new_seed();

		serve(seed, "m");
		assert_true(says(seed, "/v1/models", "\"name\":\"m\""));
		weightfs_seed_free(seed);
	}
	assert_int_equal(entries_of("/proc/self/fd"), fds);
	eventually(has_no_more_tasks, &threads, "the threads of all end");
}

static void threads_stay_behind_the_others(void **state)
{
	int mine = getpriority(PRIO_PROCESS, 0);
	struct weightfs_seed *seed = new_seed();
	DIR *dir = opendir("/proc/self/task");
	unsigned behind = 0, others = 0;
	struct dirent *entry;

	(void)state;
	while ((entry = readdir(dir))) {
		id_t tid = (id_t)strtoul(entry->d_name, NULL, 10);

		if (!tid)
			continue;
		if (getpriority(PRIO_PROCESS, tid) == 10)
			behind++;
		else
			others++;
	}
	closedir(dir);
	/* A sanitizer has a thread of its own. */
	assert_true(behind >= 2);
	assert_in_range(others, 1, 2);
	assert_int_equal(getpriority(PRIO_PROCESS, 0), mine);
	weightfs_seed_free(seed);
}

/* The thread sanitizer lets no child start threads. */
static int serve_own(void)
{
#ifndef __SANITIZE_THREAD__
	struct weightfs_seed *own;

	if (weightfs_seed_new(NULL, &own))
		return 3;
	serve(own, "own");
	if (!says(own, "/v1/models", "\"name\":\"own\""))
		return 4;
	weightfs_seed_free(own);
#endif
	return 0;
}

/* What the child found wrong; 0: nothing. */
static int in_child(struct weightfs_seed *seed,
		    struct weightfs_seed_model *model, int fd)
{
	char byte;

	if (weightfs_seed_update_begin(model) != -ECHILD ||
	    add(model, "x", 0) != -ECHILD)
		return 1;
	/* What the parent has accepted is closed here. */
	if (write(fd, "x", 1) != 1 || read(fd, &byte, 1) < 0)
		return 2;
	weightfs_seed_model_free(model);
	weightfs_seed_free(seed);
	return serve_own();
}

static void a_child_leaves_its_parents_seed_alone(void **state)
{
	struct weightfs_seed *seed = new_seed();
	struct weightfs_seed_model *model = serve(seed, "m");
	int ends[2], status, held;
	pid_t child;
	char byte;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	held = connect_to(seed);
	child = fork();
	if (child == 0) {
		close(ends[0]);
		_exit(in_child(seed, model, ends[1]));
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	/* While the child lives: the parent serves, and then closes. */
	assert_true(says(seed, "/v1/models", "\"name\":\"m\""));
	weightfs_seed_model_free(model);
	assert_false(says(seed, "/v1/models", "\"name\":\"m\""));
	weightfs_seed_free(seed);
	assert_int_equal(read(held, &byte, 1), 0);
	close(held);
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(models_of_a_seed_are_apart),
		T(a_model_is_made_once_and_says_what_is_wrong),
		T(a_second_publish_changes_nothing),
		T(options_that_cannot_be_are_refused),
		T(an_update_is_another_version),
		T(a_declared_version_ends_with_an_update),
		T(a_thousand_models_leave_nothing),
		T(seeds_come_and_go),
		T(threads_stay_behind_the_others),
		T(a_child_leaves_its_parents_seed_alone),
	};

	return cmocka_run_group_tests_name("live_seed", tests, NULL, NULL);
}
