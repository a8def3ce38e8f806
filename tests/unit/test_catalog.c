/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which checkpoints a directory holds, and what a hub cache's are called.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tests/unit/checkpoint.h"
#include "transport/file/catalog.h"

/* The scan gives `want`: "name=path " for each, paths without the scratch
   directory. */
static void finds_with(const struct scratch *s, bool follow, const char *want)
{
	struct wfs_catalog catalog = { 0 };
	struct wfs_text got = { 0 };
	struct wfs_err err = { 0 };

	if (wfs_catalog_scan(s->path, follow, &catalog, &err))
		fail_msg("%s", err.text);
	wfs_text_add_bytes(&got, "", 0);
	for (size_t i = 0; i < catalog.count; i++) {
		const char *path = catalog.entries[i].path;

		assert_memory_equal(path, s->path, strlen(s->path));
		wfs_text_add(&got, "%s=%s ", catalog.entries[i].name,
			     path + strlen(s->path) + 1);
	}
	assert_string_equal(got.data, want);
	free(got.data);
	wfs_catalog_clear(&catalog);
	assert_null(catalog.entries);
}

static void finds(const struct scratch *s, const char *want)
{
	finds_with(s, false, want);
}

static void a_directory_with_weights_or_a_config_is_a_checkpoint(void **state)
{
	const struct scratch *s = *state;

	scratch_write(s, "b/model-00001-of-00002.safetensors", "x", 1);
	scratch_write(s, "a/config.json", "{}", 2);
	scratch_write(s, "c/q4.gguf", "x", 1);
	scratch_write(s, "d/pytorch_model.bin", "x", 1);
	scratch_write(s, "e/consolidated.00.pth", "x", 1);
	scratch_write(s, "f/model_index.json", "{}", 2);
	finds(s, "a=a b=b c=c d=d e=e f=f ");
}

static void other_things_are_none(void **state)
{
	const struct scratch *s = *state;

	scratch_mkdir(s, "empty");
	scratch_write(s, "notes/readme.md", "x", 1);
	scratch_write(s, "parent/child/model.safetensors", "x", 1);
	scratch_write(s, ".hidden/model.safetensors", "x", 1);
	scratch_write(s, "model.safetensors", "x", 1);
	assert_int_equal(mkfifoat(s->fd, "fifo", 0644), 0);
	finds(s, "");
}

static void links_to_directories_are_followed_when_asked(void **state)
{
	const struct scratch *s = *state;

	scratch_write(s, "real/model.safetensors", "x", 1);
	scratch_link(s, "real", "alias");
	scratch_link(s, "nowhere", "broken");
	scratch_link(s, "loop", "loop");
	finds(s, "real=real ");
	finds_with(s, true, "alias=alias real=real ");
}

static void the_main_revision_has_the_models_name(void **state)
{
	const struct scratch *s = *state;

	scratch_link(s, "../../blobs/x",
		     "models--o--n/snapshots/r1/config.json");
	scratch_link(s, "../../blobs/x",
		     "models--o--n/snapshots/r2/config.json");
	scratch_link(s, "../../blobs/x",
		     "models--o--n/snapshots/r3/config.json");
	scratch_mkdir(s, "models--o--n/snapshots/empty");
	scratch_write(s, "models--o--n/refs/main", "r2\n", 0);
	scratch_write(s, "models--o--n/blobs/x", "{}", 0);
	finds(s, "o--n=models--o--n/snapshots/r2 "
		 "o--n@r1=models--o--n/snapshots/r1 "
		 "o--n@r3=models--o--n/snapshots/r3 ");
}

static void without_a_main_the_only_revision_has_it(void **state)
{
	const struct scratch *s = *state;

	scratch_write(s, "models--gpt2/snapshots/r1/config.json", "{}", 0);
	finds(s, "gpt2=models--gpt2/snapshots/r1 ");
	/* refs/main is ahead of a download. */
	scratch_write(s, "models--gpt2/refs/main", "r2", 0);
	finds(s, "gpt2=models--gpt2/snapshots/r1 ");
	scratch_mkdir(s, "models--gpt2/snapshots/r2");
	finds(s, "gpt2=models--gpt2/snapshots/r1 ");
	scratch_write(s, "models--gpt2/snapshots/r2/config.json", "{}", 0);
	finds(s, "gpt2=models--gpt2/snapshots/r2 "
		 "gpt2@r1=models--gpt2/snapshots/r1 ");
}

static void of_several_without_a_main_none_has_it(void **state)
{
	const struct scratch *s = *state;

	scratch_write(s, "models--m/snapshots/r1/config.json", "{}", 0);
	scratch_write(s, "models--m/snapshots/r2/config.json", "{}", 0);
	finds(s, "m@r1=models--m/snapshots/r1 m@r2=models--m/snapshots/r2 ");
}

static void a_hostile_main_names_nothing(void **state)
{
	const struct scratch *s = *state;
	char *path wfs_autofree = NULL;
	char long_name[1000];

	scratch_write(s, "secret/config.json", "{}", 0);
	scratch_write(s, "models--m/snapshots/r1/config.json", "{}", 0);
	scratch_write(s, "models--m/snapshots/r2/config.json", "{}", 0);
	path = wfs_strdup("m@r1=models--m/snapshots/r1 "
			  "m@r2=models--m/snapshots/r2 secret=secret ");
	scratch_write(s, "models--m/refs/main", "../../secret", 0);
	finds(s, path);
	memset(long_name, 'r', sizeof(long_name));
	scratch_write(s, "models--m/refs/main", long_name, sizeof(long_name));
	finds(s, path);
	scratch_write(s, "models--m/refs/main", "", 0);
	finds(s, path);
	/* A link is not read, a FIFO not waited for. */
	assert_int_equal(unlinkat(s->fd, "models--m/refs/main", 0), 0);
	scratch_write(s, "r1", "r1", 0);
	scratch_link(s, "../../r1", "models--m/refs/main");
	finds(s, path);
	assert_int_equal(unlinkat(s->fd, "models--m/refs/main", 0), 0);
	assert_int_equal(mkfifoat(s->fd, "models--m/refs/main", 0644), 0);
	finds(s, path);
}

static void a_hubs_own_files_are_passed_over(void **state)
{
	const struct scratch *s = *state;

	scratch_mkdir(s, ".locks/models--m");
	scratch_write(s, "version.txt", "1", 1);
	scratch_mkdir(s, "datasets--d/snapshots/r1");
	scratch_mkdir(s, "models--m/blobs");
	scratch_mkdir(s, "models--m/snapshots");
	finds(s, "");
}

static void a_directory_that_only_looks_like_a_hub_is_itself(void **state)
{
	const struct scratch *s = *state;

	scratch_write(s, "models--/model.safetensors", "x", 1);
	scratch_write(s, "models--x/model.safetensors", "x", 1);
	finds(s, "models--=models-- models--x=models--x ");
}

static void of_two_with_one_name_the_plain_directory_stays(void **state)
{
	const struct scratch *s = *state;

	scratch_write(s, "models--o--n/snapshots/r1/config.json", "{}", 0);
	scratch_write(s, "o--n/config.json", "{}", 0);
	finds(s, "o--n=o--n ");
}

static void names_that_get_too_long_are_left_out(void **state)
{
	const struct scratch *s = *state;
	char path[600], want[600], name[256];

	memset(name, 'n', 240);
	name[240] = '\0';
	snprintf(path, sizeof(path), "models--%s/refs/main", name);
	scratch_write(s, path, "r1", 0);
	for (int i = 1; i <= 2; i++) {
		snprintf(path, sizeof(path),
			 "models--%s/snapshots/r%d%s/config.json", name, i,
			 i == 1 ? "" : "00000000000000000000");
		scratch_write(s, path, "{}", 0);
	}
	snprintf(want, sizeof(want), "%s=models--%s/snapshots/r1 ", name, name);
	finds(s, want);
}

static void a_models_directory_that_is_none_is_named(void **state)
{
	const struct scratch *s = *state;
	char *gone wfs_autofree = scratch_path(s, "gone");
	char *file wfs_autofree = scratch_path(s, "file");
	struct wfs_catalog catalog = { 0 };
	struct wfs_err err = { 0 };

	scratch_write(s, "file", "x", 1);
	assert_int_equal(wfs_catalog_scan(gone, false, &catalog, &err),
			 -ENOENT);
	assert_non_null(strstr(err.text, gone));
	assert_non_null(strstr(err.text, "No such file or directory"));
	assert_int_equal(wfs_catalog_scan(file, false, &catalog, &err),
			 -ENOTDIR);
	assert_null(catalog.entries);
}

static void being_out_of_descriptors_hides_no_checkpoint(void **state)
{
	const struct scratch *s = *state;
	struct wfs_catalog catalog = { 0 };
	struct rlimit old, few;
	struct wfs_err err = { 0 };
	int next = dup(s->fd);

	close(next);
	scratch_write(s, "m/config.json", "{}", 2);
	scratch_write(s, "models--h/snapshots/r/config.json", "{}", 2);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (int more = 1;; more++) {
		int rc;

		few = (struct rlimit){ (rlim_t)(next + more), old.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		rc = wfs_catalog_scan(s->path, false, &catalog, &err);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		if (!rc)
			break;
		assert_int_equal(rc, -EMFILE);
		assert_null(catalog.entries);
		assert_true(more < 20);
	}
	assert_int_equal(catalog.count, 2);
	wfs_catalog_clear(&catalog);
}

static void what_is_found_opens_beneath_the_directory(void **state)
{
	const struct scratch *s = *state;
	struct wfs_file_source_config config = { .beneath = s->path };
	struct wfs_catalog catalog = { 0 };
	struct wfs_source *src = NULL;
	struct wfs_err err = { 0 };

	scratch_write(s, "models--o--n/blobs/b", "weights", 0);
	scratch_link(s, "../../blobs/b",
		     "models--o--n/snapshots/r/model.safetensors");
	assert_int_equal(wfs_catalog_scan(s->path, false, &catalog, &err), 0);
	assert_int_equal(catalog.count, 1);
	assert_int_equal(wfs_file_source_open(catalog.entries[0].path, &config,
					      &src, &err),
			 0);
	checkpoint_reads(src, "model.safetensors", "weights");
	wfs_source_put(src);
	wfs_catalog_clear(&catalog);
}

#define C(name)                                                                \
	cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		C(a_directory_with_weights_or_a_config_is_a_checkpoint),
		C(other_things_are_none),
		C(links_to_directories_are_followed_when_asked),
		C(the_main_revision_has_the_models_name),
		C(without_a_main_the_only_revision_has_it),
		C(of_several_without_a_main_none_has_it),
		C(a_hostile_main_names_nothing),
		C(a_hubs_own_files_are_passed_over),
		C(a_directory_that_only_looks_like_a_hub_is_itself),
		C(of_two_with_one_name_the_plain_directory_stays),
		C(names_that_get_too_long_are_left_out),
		C(a_models_directory_that_is_none_is_named),
		C(being_out_of_descriptors_hides_no_checkpoint),
		C(what_is_found_opens_beneath_the_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
