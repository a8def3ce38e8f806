/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See proc.h.
 */
#include "core/base/proc.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/base/log.h"
#include "core/base/text.h"

#define PROC_MAX     (64 * 1024) /* of a file of /proc */
#define STARTED	     22		 /* its field in stat */
#define AFTER_A_NAME 2
#define NICE_LEAST   19

static char *slurp(pid_t pid, const char *file)
{
	char *path wfs_autofree = wfs_asprintf("/proc/%d/%s", pid, file);
	char *text = NULL;
	size_t len;

	return pid > 0 && wfs_file_slurp(path, PROC_MAX, &text, &len) == 0 ?
		       text :
		       NULL;
}

/* The rest of the line that begins with `key`, after any blanks. */
static char *line_of(const char *text, const char *key)
{
	for (const char *at = text; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (!wfs_starts_with(at, key))
			continue;
		at += strlen(key);
		at += strspn(at, " \t");
		return wfs_asprintf("%.*s", (int)strcspn(at, "\n"), at);
	}
	return NULL;
}

char *wfs_proc_status(pid_t tgid, const char *key)
{
	char *text wfs_autofree = slurp(tgid, "status");
	char *wanted wfs_autofree = wfs_asprintf("%s:", key);

	return line_of(text, wanted);
}

char *wfs_proc_cgroup(pid_t tgid)
{
	char *text wfs_autofree = slurp(tgid, "cgroup");

	return line_of(text, "0::");
}

/* Of "pid (name) S ppid …": the name may hold anything. */
static int read_start(pid_t tgid, uint64_t *ret_started)
{
	char *text wfs_autofree = slurp(tgid, "stat");
	char *at = text ? strrchr(text, ')') : NULL;

	for (int field = AFTER_A_NAME; at && field < STARTED; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -ESRCH;
	*ret_started = strtoull(at, NULL, 10);
	return 0;
}

int wfs_proc_find(pid_t tid, struct wfs_proc *ret_proc)
{
	char *tgid wfs_autofree = wfs_proc_status(tid, "Tgid");
	struct wfs_proc proc;
	int rc;

	if (!tgid)
		return -ESRCH;
	proc.tgid = (pid_t)strtol(tgid, NULL, 10);
	rc = read_start(proc.tgid, &proc.started);
	if (!rc)
		*ret_proc = proc;
	return rc;
}

int wfs_proc_open(const struct wfs_proc *proc)
{
	int fd wfs_autoclose = (int)syscall(SYS_pidfd_open, proc->tgid, 0);
	uint64_t started;

	if (fd < 0)
		return -errno;
	/* Is it still the one that was meant? */
	if (read_start(proc->tgid, &started) || started != proc->started)
		return -ESRCH;
	return wfs_steal_fd(&fd);
}

uint64_t wfs_proc_namespace(pid_t tgid, const char *name)
{
	char *path wfs_autofree = wfs_asprintf("/proc/%d/ns/%s", tgid, name);
	struct stat st;

	return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* Both are of a thread, not of the process, on Linux. */
void wfs_thread_stand_back(void)
{
	pid_t me = (pid_t)syscall(SYS_gettid);

	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, me,
		    IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)) < 0)
		wfs_debug("no idle i/o priority: %s", strerror(errno));
	if (setpriority(PRIO_PROCESS, (id_t)me, NICE_LEAST) < 0)
		wfs_debug("no low priority: %s", strerror(errno));
}
