/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following links.  Inside the checkpoint the kernel does it
 * (RESOLVE_BENEATH); a hub's link is recognised by its text, which must be
 * the one way up to its own blobs, and then the blob is opened from the
 * descriptor of that directory without following anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/text.h"
#include "transport/file/link.h"

/* A rename anywhere in the system may disturb a walk; it is short. */
#define BENEATH_TRIES 100

/* Does a/b/models--X/snapshots/<revision> end like this? */
static bool is_snapshot(char *real)
{
	static const char hub[] = "models--", snapshots[] = "snapshots";
	char *slash = strrchr(real, '/');

	if (!slash)
		return false;
	*slash = '\0';
	slash = strrchr(real, '/');
	if (!slash || strcmp(slash + 1, snapshots) != 0)
		return false;
	*slash = '\0';
	slash = strrchr(real, '/');
	return slash && strncmp(slash + 1, hub, sizeof(hub) - 1) == 0;
}

int wfs_link_hub_blobs(int root, const char *path)
{
	char *real wfs_autofree = realpath(path, NULL);
	int fd;

	if (!real)
		return -errno;
	if (!is_snapshot(real))
		return -ENOENT;
	fd = openat(root, "../../blobs",
		    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_beneath(int root, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};

	for (int i = 0; i < BENEATH_TRIES; i++) {
		long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR)
			break;
	}
	/* No such call, or a filter that does not know it. */
	if (errno == ENOSYS || errno == EPERM)
		return -EXDEV;
	return -errno;
}

/* Takes one component off *text: its length, 0 at the end. */
static size_t next_component(const char **text, const char **ret_start)
{
	const char *s = *text;
	size_t len;

	for (;;) {
		s += strspn(s, "/");
		len = strcspn(s, "/");
		if (len != 1 || *s != '.')
			break;
		s += len;
	}
	*ret_start = s;
	*text = s + len;
	return len;
}

/*
 * The blob that `text` names if it is `ups` times "..", then "blobs", then
 * one name and nothing else; NULL otherwise.
 */
static const char *blob_of(const char *text, unsigned ups)
{
	const char *part;
	size_t len;

	if (*text == '/')
		return NULL;
	for (unsigned i = 0; i < ups; i++) {
		len = next_component(&text, &part);
		if (len != 2 || memcmp(part, "..", 2) != 0)
			return NULL;
	}
	len = next_component(&text, &part);
	if (len != 5 || memcmp(part, "blobs", 5) != 0)
		return NULL;
	len = next_component(&text, &part);
	if (!len || part[len] || strcmp(part, "..") == 0)
		return NULL;
	return part;
}

static int open_blob(const struct wfs_link_rules *rules, int dir,
		     const char *name, const char *path)
{
	char text[PATH_MAX];
	unsigned ups = 2; /* from the snapshot's own level */
	const char *blob;
	struct stat st;
	int fd wfs_autoclose = -1;
	ssize_t n = readlinkat(dir, name, text, sizeof(text));

	if (n < 0)
		return -errno;
	if ((size_t)n == sizeof(text))
		return -EXDEV;
	text[n] = '\0';
	for (const char *s = path; *s; s++)
		ups += *s == '/';
	blob = blob_of(text, ups);
	if (!blob)
		return -EXDEV;
	fd = openat(rules->blobs, blob, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EXDEV;
	return wfs_steal_fd(&fd);
}

int wfs_link_resolve(const struct wfs_link_rules *rules, int dir,
		     const char *name, const char *path)
{
	int fd;

	if (rules->follow_all) {
		fd = openat(dir, name, O_PATH | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	fd = open_beneath(rules->root, path);
	if (fd == -EXDEV && rules->blobs >= 0)
		fd = open_blob(rules, dir, name, path);
	return fd;
}

/* From the directory *at on, by components that are no links. */
static int descend(int *at, const char *path)
{
	const char *part;
	size_t len;

	while ((len = next_component(&path, &part)) > 0) {
		char name[NAME_MAX + 1];
		int next;

		if (len > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, part, len);
		name[len] = '\0';
		if (strcmp(name, "..") == 0)
			return -EINVAL;
		next = openat(*at, name,
			      O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return -errno;
		close(*at);
		*at = next;
	}
	return 0;
}

int wfs_link_open_root(const char *path, const char *beneath)
{
	size_t len = beneath ? strlen(beneath) : 0;
	int fd wfs_autoclose = -1;
	int rc;

	while (len && beneath[len - 1] == '/')
		len--;
	if (beneath && (strncmp(path, beneath, len) != 0 ||
			(path[len] && path[len] != '/')))
		return -EINVAL;
	fd = open(beneath ? beneath : path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = beneath ? descend(&fd, path + len) : 0;
	return rc ? rc : wfs_steal_fd(&fd);
}
