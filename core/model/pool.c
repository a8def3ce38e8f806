/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks come straight from the kernel: what is never touched costs nothing,
 * and freeing a model leaves no holes between other allocations.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/model/pool.h"

#define BLOCK_BYTES (1u << 20)

struct wfs_pool_block {
	struct wfs_pool_block *next;
	size_t used, size; /* bytes, this header included */
};

static struct wfs_pool_block *block_new(size_t payload)
{
	size_t size = BLOCK_BYTES;
	struct wfs_pool_block *block;

	if (payload > size - sizeof(*block))
		size = (payload + sizeof(*block) + 4095) & ~(size_t)4095;
	block = mmap(NULL, size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (block == MAP_FAILED) {
		fprintf(stderr, "out of memory: %zu bytes for a model\n", size);
		abort();
	}
	block->used = sizeof(*block);
	block->size = size;
	return block;
}

void *wfs_pool_alloc(struct wfs_pool *pool, size_t size, int aligned)
{
	struct wfs_pool_block *block = pool->blocks;
	size_t at = block ? block->used : 0;

	if (aligned)
		at = (at + 7) & ~(size_t)7;
	if (!block || at > block->size || block->size - at < size) {
		block = block_new(size);
		block->next = pool->blocks;
		pool->blocks = block;
		at = block->used;
	}
	block->used = at + size;
	return (char *)block + at;
}

char *wfs_pool_text(struct wfs_pool *pool, const char *s, size_t len)
{
	char *text = wfs_pool_alloc(pool, len + 1, 0);

	if (len)
		memcpy(text, s, len);
	text[len] = '\0';
	return text;
}

void wfs_pool_join(struct wfs_pool *pool, struct wfs_pool *from)
{
	struct wfs_pool_block **end = &pool->blocks;

	while (*end)
		end = &(*end)->next;
	*end = from->blocks;
	from->blocks = NULL;
}

void wfs_pool_clear(struct wfs_pool *pool)
{
	struct wfs_pool_block *block = pool->blocks;

	while (block) {
		struct wfs_pool_block *next = block->next;

		munmap(block, block->size);
		block = next;
	}
	pool->blocks = NULL;
}
