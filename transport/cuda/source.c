/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that fills come from, kept mapped and registered for a while: what
 * registering costs grows with the file, not with what a fill takes of it, and
 * fills of one file come one after another.
 *
 * A file that is mapped cannot be evicted, so they are few, and none is kept
 * for long.
 */
#include <errno.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/base/mem.h"
#include "transport/cuda/work.h"

#define NS_PER_MS 1000000u

static void let_go(struct wfs_gpu_work *work, struct wfs_gpu_source *source)
{
	if (source->registered)
		wfs_cuda_call(work->cuda, cudaHostUnregister, source->at);
	munmap(source->at, source->bytes);
	*source = (struct wfs_gpu_source){ 0 };
}

static struct wfs_gpu_source *find(struct wfs_gpu_work *work,
				   const struct stat *st, uint64_t bytes)
{
	for (size_t i = 0; i < WFS_GPU_SOURCES; i++) {
		struct wfs_gpu_source *source = &work->sources[i];

		if (source->at && source->dev == st->st_dev &&
		    source->ino == st->st_ino && source->bytes == bytes)
			return source;
	}
	return NULL;
}

/* A free one, or the one that was used longest ago. */
static struct wfs_gpu_source *room(struct wfs_gpu_work *work)
{
	struct wfs_gpu_source *oldest = &work->sources[0];

	/* Of a free one that is never. */
	for (size_t i = 1; i < WFS_GPU_SOURCES; i++) {
		if (work->sources[i].used_ns < oldest->used_ns)
			oldest = &work->sources[i];
	}
	return oldest;
}

/* NULL: it cannot be mapped. */
static struct wfs_gpu_source *add(struct wfs_gpu_work *work,
				  const struct wfs_gpu_file *file,
				  const struct stat *st)
{
	struct wfs_gpu_source *source = room(work);
	void *at;

	if (source->at)
		let_go(work, source);
	at = mmap(NULL, file->bytes, PROT_READ, MAP_SHARED, file->fd, 0);
	if (at == MAP_FAILED)
		return NULL;
	*source = (struct wfs_gpu_source){ .at = at,
					   .bytes = file->bytes,
					   .dev = st->st_dev,
					   .ino = st->st_ino };
	return source;
}

/* One that the driver refused once is not offered to it again. */
static void register_all(struct wfs_gpu_work *work,
			 struct wfs_gpu_source *source)
{
	if (source->registered || source->refused || !work->registers)
		return;
	source->registered = wfs_cuda_call(work->cuda, cudaHostRegister,
					   source->at, source->bytes,
					   WFS_CU_REGISTER_READ_ONLY) ==
			     WFS_CU_OK;
	source->refused = !source->registered;
}

const struct wfs_gpu_source *wfs_gpu_source_get(struct wfs_gpu_work *work,
						const struct wfs_gpu_file *file,
						bool registered)
{
	struct wfs_gpu_source *source;
	struct stat st;

	if (!file->steady || fstat(file->fd, &st) != 0)
		return NULL;
	source = find(work, &st, file->bytes);
	if (!source)
		source = add(work, file, &st);
	if (!source)
		return NULL;
	source->used_ns = wfs_now_ns();
	if (registered)
		register_all(work, source);
	return source;
}

int wfs_gpu_sources_age(struct wfs_gpu_work *work)
{
	uint64_t now = wfs_now_ns(), next = UINT64_MAX;

	for (size_t i = 0; i < WFS_GPU_SOURCES; i++) {
		struct wfs_gpu_source *source = &work->sources[i];
		uint64_t until = source->used_ns + work->keep_ns;

		if (!source->at)
			continue;
		if (until <= now)
			let_go(work, source);
		else if (until < next)
			next = until;
	}
	if (next == UINT64_MAX)
		return -1;
	next = (next - now) / NS_PER_MS + 1;
	return next > INT_MAX ? INT_MAX : (int)next;
}
