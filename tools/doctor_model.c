/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor on a checkpoint: can it be read, how fast is where it lies, and
 * does it fit into the arena?
 */
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "core/base/text.h"
#include "tools/doctor.h"
#include "tools/load.h"

static const struct place {
	const char *name;
	unsigned magic;
	bool slow;
} places[] = {
	{ "ext4", 0xef53, false },	    { "xfs", 0x58465342, false },
	{ "btrfs", 0x9123683e, false },	    { "tmpfs", 0x01021994, false },
	{ "zfs", 0x2fc12fc1, false },	    { "f2fs", 0xf2f52010, false },
	{ "overlayfs", 0x794c7630, false }, { "nfs", 0x6969, true },
	{ "cifs", 0xff534d42, true },	    { "smb", 0xfe534d42, true },
	{ "ceph", 0x00c36400, true },	    { "lustre", 0x0bd00bd0, true },
	{ "fuse", 0x65735546, true },	    { "9p", 0x01021997, true },
	{ "gpfs", 0x47504653, true },	    { "beegfs", 0x19830326, true },
};

static void check_place(struct wfs_findings *found, const char *dir)
{
	struct statfs fs;
	const struct place *place = NULL;

	if (statfs(dir, &fs))
		return;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (places[i].magic == (unsigned)fs.f_type)
			place = &places[i];
	}
	if (!place)
		wfs_findings_add(found, "source", WFS_LEVEL_OK, NULL,
				 "a file system of type 0x%x",
				 (unsigned)fs.f_type);
	else if (place->slow)
		wfs_findings_add(found, "source", WFS_LEVEL_SLOW,
				 "copy it to a local disk if its first read is "
				 "to be fast",
				 "%s: first reads are as fast as that is",
				 place->name);
	else if (strcmp(place->name, "overlayfs") == 0)
		wfs_findings_add(
			found, "source", WFS_LEVEL_OK, NULL,
			"overlayfs: passed through at stacking depth 2");
	else
		wfs_findings_add(found, "source", WFS_LEVEL_OK, NULL, "%s",
				 place->name);
}

static uint64_t biggest_tensor(const struct wfs_model *model,
			       const char **ret_name)
{
	uint64_t biggest = 0;

	*ret_name = "";
	for (uint32_t r = 0; r < model->rank_count; r++) {
		const struct wfs_rank *rank = &model->ranks[r];

		for (uint32_t i = 0; i < rank->count; i++) {
			if (rank->tensors[i].size > biggest) {
				biggest = rank->tensors[i].size;
				*ret_name = rank->tensors[i].name;
			}
		}
	}
	return biggest;
}

static void check_fit(struct wfs_findings *found, const struct wfs_model *model)
{
	const char *name;
	uint64_t biggest = biggest_tensor(model, &name);
	char whole[32], arena[32], tensor[32];

	wfs_size_format(model->tensor_bytes, whole, sizeof(whole));
	wfs_size_format(found->arena, arena, sizeof(arena));
	wfs_size_format(biggest, tensor, sizeof(tensor));
	if (!found->arena)
		wfs_findings_add(found, "fit", WFS_LEVEL_SLOW,
				 "see what is said of the arena",
				 "no arena: tensors are served by reads, the "
				 "checkpoint's own files are not concerned");
	else if (biggest > found->arena)
		wfs_findings_add(
			found, "fit", WFS_LEVEL_SLOW,
			"mount with a larger arena_size",
			"tensor '%s' (%s) is larger than the arena (%s)", name,
			tensor, arena);
	else if (model->tensor_bytes > found->arena)
		wfs_findings_add(
			found, "fit", WFS_LEVEL_SLOW,
			"mount with a larger arena_size if all of it is "
			"read again and again",
			"the arena (%s) holds a part of it (%s), what "
			"is in use stays",
			arena, whole);
	else
		wfs_findings_add(found, "fit", WFS_LEVEL_OK, NULL,
				 "all of it (%s) fits into the arena (%s)",
				 whole, arena);
}

static void check_served(struct wfs_findings *found,
			 const struct wfs_model *model)
{
	uint64_t tensors = 0;

	for (uint32_t r = 0; r < model->rank_count; r++)
		tensors += model->ranks[r].count;
	if (model->format == WFS_FORMAT_OPAQUE)
		wfs_findings_add(found, "checkpoint", WFS_LEVEL_OK, NULL,
				 "%u files; their tensors are not taken apart, "
				 "the format is not safetensors",
				 model->entry_count - model->dir_count);
	else
		wfs_findings_add(found, "checkpoint", WFS_LEVEL_OK, NULL,
				 "%llu tensors in %u ranks, %u files",
				 (unsigned long long)tensors, model->rank_count,
				 model->entry_count - model->dir_count);
}

void wfs_doctor_model(struct wfs_findings *found, const char *dir)
{
	struct wfs_load_config config = { 0 };
	struct wfs_load_job job = { .name = "model", .path = dir };

	check_place(found, dir);
	wfs_load_models(&config, &job, 1);
	if (!job.model) {
		wfs_findings_add(found, "checkpoint", WFS_LEVEL_BROKEN, NULL,
				 "%s", job.err.text);
		return;
	}
	check_served(found, job.model);
	check_fit(found, job.model);
	wfs_model_put(job.model);
}
