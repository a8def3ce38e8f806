/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is it the same checkpoint?  Told from what a listing says anyway.  Device
 * numbers stay out, they change with the order in which disks are found.
 */
#include <string.h>

#include "core/base/text.h"
#include "core/model/model.h"

static uint64_t add_time(struct timespec ts, uint64_t hash)
{
	int64_t parts[2] = { ts.tv_sec, ts.tv_nsec };

	return wfs_hash(parts, sizeof(parts), hash);
}

uint64_t wfs_model_fingerprint(const char *name,
			       const struct wfs_source_entry *list,
			       size_t count)
{
	uint64_t hash = wfs_hash(name, strlen(name) + 1, WFS_HASH_SEED);

	for (size_t i = 0; i < count; i++) {
		const struct wfs_source_entry *e = &list[i];
		/* Not by the region: a listing without any is fine too. */
		bool is_dir = S_ISDIR(e->st.st_mode);
		uint64_t numbers[3] = { is_dir, 0, 0 };

		if (!is_dir) {
			numbers[1] = (uint64_t)e->st.st_size;
			numbers[2] = e->st.st_ino;
		}
		hash = wfs_hash(e->path, strlen(e->path) + 1, hash);
		hash = wfs_hash(numbers, sizeof(numbers), hash);
		if (is_dir)
			continue;
		hash = add_time(e->st.st_mtim, hash);
		hash = add_time(e->st.st_ctim, hash);
	}
	return hash;
}
