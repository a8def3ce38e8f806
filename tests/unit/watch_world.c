/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories below /tmp and the watch over them.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/events.h"
#include "core/base/text.h"
#include "tests/unit/watch_world.h"

#define S 1000000000ull

static void take_complaint(void *ctx, const char *text)
{
	struct world *w = ctx;

	w->complaints++;
	snprintf(w->complaint, sizeof(w->complaint), "%s", text);
}

int world_make(void **state)
{
	struct world *w = wfs_calloc(1, sizeof(*w));
	char *out wfs_autofree = NULL;
	uint64_t oldest;

	strcpy(w->dir, "/tmp/weightfs-watch-XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	w->models_dir = wfs_asprintf("%s/models", w->dir);
	out = wfs_asprintf("%s/out", w->dir);
	if (mkdir(w->models_dir, 0755) || mkdir(out, 0755))
		return -1;
	w->registry = wfs_registry_new(0);
	wfs_events_span(&oldest, &w->events);
	*state = w;
	return 0;
}

int world_drop(void **state)
{
	struct world *w = *state;
	char *command wfs_autofree = wfs_asprintf("rm -rf '%s'", w->dir);

	wfs_watch_free(w->watch);
	wfs_registry_free(w->registry);
	for (unsigned i = 0; i < 2; i++) {
		free(w->by_hand[i].name);
		free(w->by_hand[i].dir);
	}
	free(w->models_dir);
	/* NOLINTNEXTLINE(cert-env33-c): our own path, in quotes */
	if (system(command))
		fprintf(stderr, "cannot remove '%s'\n", w->dir);
	free(w);
	return 0;
}

int world_watch(struct world *w, bool dir, struct wfs_err *err)
{
	struct wfs_watch_config config = {
		.registry = w->registry,
		.models_dir = dir ? w->models_dir : NULL,
		.models = w->by_hand,
		.rescan_ns = S / 100,
		.complain = take_complaint,
		.ctx = w,
	};

	while (config.model_count < 2 && w->by_hand[config.model_count].name)
		config.model_count++;
	w->watch = wfs_watch_new(&config);
	return wfs_watch_first(w->watch, err);
}

void world_name(struct world *w, const char *name, const char *path)
{
	unsigned i = w->by_hand[0].name ? 1 : 0;

	w->by_hand[i].name = wfs_strdup(name);
	w->by_hand[i].place = WFS_PLACE_DISK;
	w->by_hand[i].dir = wfs_asprintf("%s/%s", w->dir, path);
}

void world_put_file(const char *path, const void *bytes, size_t len, int flags)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);

	assert_true(fd >= 0);
	assert_int_equal(len, write(fd, bytes, len));
	assert_int_equal(0, close(fd));
}

void world_put_shard(struct world *w, const char *path, unsigned n)
{
	char *full wfs_autofree = wfs_asprintf("%s/%s", w->dir, path);
	char *temp wfs_autofree = wfs_asprintf("%s/out/new", w->dir);
	struct wfs_text t = { 0 };
	char *header wfs_autofree =
		wfs_asprintf("{\"t\":{\"dtype\":\"U8\",\"shape\":[%u],"
			     "\"data_offsets\":[0,%u]}}",
			     n, n);
	uint64_t len = strlen(header);

	wfs_text_add_bytes(&t, &len, sizeof(len));
	wfs_text_add(&t, "%s", header);
	for (unsigned i = 0; i < n; i++)
		wfs_text_add(&t, "%c", 'a' + (int)(i % 26));
	world_put_file(temp, t.data, t.len, O_TRUNC);
	free(t.data);
	assert_int_equal(0, rename(temp, full));
}

void world_put_model(struct world *w, const char *path, unsigned n)
{
	char *full wfs_autofree = wfs_asprintf("%s/%s", w->dir, path);
	char *shard wfs_autofree = wfs_asprintf("%s/model.safetensors", path);

	assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
	world_put_shard(w, shard, n);
}

void world_move(struct world *w, const char *from, const char *to)
{
	char *a wfs_autofree = wfs_asprintf("%s/%s", w->dir, from);
	char *b wfs_autofree = wfs_asprintf("%s/%s", w->dir, to);

	assert_int_equal(0, rename(a, b));
}

int64_t world_served(struct world *w, const char *name)
{
	uint32_t slot;
	struct wfs_model *model =
		wfs_registry_by_name(w->registry, name, &slot);
	int64_t bytes = model ? (int64_t)model->tensor_bytes : -1;

	wfs_model_put(model);
	return bytes;
}

unsigned world_count_events(struct world *w, const char *kind)
{
	char *want wfs_autofree = wfs_asprintf("\"event\":\"%s\"", kind);
	struct wfs_text t = { 0 };
	uint64_t pos = w->events;
	char buf[4096];
	unsigned n = 0;
	ssize_t got;

	while ((got = wfs_events_read(pos, buf, sizeof(buf))) > 0) {
		wfs_text_add_bytes(&t, buf, (size_t)got);
		pos += (uint64_t)got;
	}
	for (char *p = t.data; p && (p = strstr(p, want)); p++)
		n++;
	free(t.data);
	return n;
}

void world_look(struct world *w, unsigned times)
{
	while (times--)
		wfs_watch_look(w->watch);
}
