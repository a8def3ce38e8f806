/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FAKE: preloaded into a mount, it has libibverbs register dma-bufs with
 * devices that refuse them (soft-RoCE), as far as a memfd stands for one: that
 * is mapped, and the mapping registered.  READs into it are real ones, the
 * memory is no GPU's, and its speed means nothing.
 *
 * The libraries are opened at run time and asked for their calls by name, so
 * that is where it comes in.
 */
#include <dlfcn.h>
#include <errno.h>
#include <infiniband/verbs.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#undef ibv_reg_mr_iova

#define RINGS 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	struct ibv_mr *mr;
	void *map;
	size_t len;
} rings[RINGS];
static __typeof__(&ibv_reg_mr_iova) real_register;
static __typeof__(&ibv_dereg_mr) real_deregister;

static void say(const char *what, size_t len)
{
	char line[96];
	int n = snprintf(line, sizeof(line), "FAKE dma-buf: %s %zu bytes\n",
			 what, len);

	if (write(STDERR_FILENO, line, (size_t)n) != n)
		errno = EIO;
}

struct ibv_mr *ibv_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t len,
				 uint64_t iova, int fd, int access)
{
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 (off_t)offset);
	struct ibv_mr *mr;
	int at = 0;

	if (map == MAP_FAILED)
		return NULL;
	mr = real_register(pd, map, len, iova, access);
	pthread_mutex_lock(&lock);
	while (mr && at < RINGS && rings[at].mr)
		at++;
	if (mr && at < RINGS) {
		rings[at].mr = mr;
		rings[at].map = map;
		rings[at].len = len;
	}
	pthread_mutex_unlock(&lock);
	if (mr)
		say("registered", len);
	else
		munmap(map, len);
	return mr;
}

static int deregister(struct ibv_mr *mr)
{
	void *map = NULL;
	size_t len = 0;
	int rc;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < RINGS; i++) {
		if (rings[i].mr != mr)
			continue;
		rings[i].mr = NULL;
		map = rings[i].map;
		len = rings[i].len;
	}
	pthread_mutex_unlock(&lock);
	rc = real_deregister(mr);
	if (map) {
		munmap(map, len);
		say("deregistered", len);
	}
	return rc;
}

static void *find(void *library, const char *name)
{
	static void *(*real)(void *, const char *);

	if (!real)
		*(void **)&real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
	return real(library, name);
}

void *dlsym(void *library, const char *name)
{
	void *found;

	if (!strcmp(name, "ibv_reg_dmabuf_mr")) {
		*(void **)&real_register = find(library, "ibv_reg_mr_iova");
		return *(void **)&(
			__typeof__(&ibv_reg_dmabuf_mr)){ ibv_reg_dmabuf_mr };
	}
	found = find(library, name);
	if (found && !strcmp(name, "ibv_dereg_mr")) {
		*(void **)&real_deregister = found;
		return *(void **)&(__typeof__(&deregister)){ deregister };
	}
	return found;
}
