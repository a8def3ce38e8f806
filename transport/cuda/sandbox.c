/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See sandbox.h.
 *
 * The filter names what is forbidden, not what is allowed: what a driver of
 * NVIDIA's calls changes with its version, and an error where it counts on none
 * would look like a broken GPU.
 */
#include "transport/cuda/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define GROUPS_MAX 256

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#else
#define OWN_ARCH 0 /* no filter */
#endif
#define X32 0x40000000u /* calls of another ABI of the same architecture */

/* What no process that only copies to a GPU calls. */
static const int forbidden[] = {
	SYS_execve,
	SYS_execveat,
	SYS_ptrace,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_mount,
	SYS_umount2,
	SYS_pivot_root,
	SYS_chroot,
	SYS_setns,
	SYS_unshare,
	SYS_bpf,
	SYS_keyctl,
	SYS_add_key,
	SYS_request_key,
	SYS_perf_event_open,
	SYS_kexec_load,
	SYS_init_module,
	SYS_finit_module,
	SYS_delete_module,
	SYS_reboot,
	SYS_swapon,
	SYS_swapoff,
	SYS_open_by_handle_at,
	SYS_userfaultfd,
	SYS_io_uring_setup,
};
#define FORBIDDEN (sizeof(forbidden) / sizeof(forbidden[0]))

static int enter_filter(void)
{
	struct sock_filter code[FORBIDDEN + 6];
	struct sock_fprog program = { .filter = code };
	unsigned n = 0;

	if (!OWN_ARCH)
		return 0;
	code[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
						 OWN_ARCH, 0, FORBIDDEN + 3);
	code[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32,
						 FORBIDDEN + 1, 0);
	for (size_t i = 0; i < FORBIDDEN; i++)
		code[n++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, (unsigned)forbidden[i],
			(unsigned char)(FORBIDDEN - i), 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						 SECCOMP_RET_ALLOW);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						 SECCOMP_RET_ERRNO | EPERM);
	program.len = (unsigned short)n;
	/* A kernel without it is not refused: the rest holds. */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0 &&
	    errno != EINVAL && errno != ENOSYS)
		return -errno;
	return 0;
}

static int enter_namespace(int pidns)
{
	int status;
	pid_t child;

	if (setns(pidns, CLONE_NEWPID) != 0)
		return -errno;
	child = fork();
	if (child < 0)
		return -errno;
	if (child == 0)
		return 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static int set_groups(const char *text)
{
	gid_t groups[GROUPS_MAX];
	size_t n = 0;

	while (n < GROUPS_MAX) {
		char *end;
		unsigned long one = strtoul(text, &end, 10);

		if (end == text)
			break;
		groups[n++] = (gid_t)one;
		text = end;
	}
	return setgroups(n, groups) == 0 ? 0 : -errno;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];

	memset(none, 0, sizeof(none));
	return syscall(SYS_capset, &header, none) == 0 ? 0 : -errno;
}

/* Root gets capabilities back by executing, unless it is told not to. */
static int become(const struct wfs_sandbox *sandbox)
{
	int rc;

	if (geteuid() == 0) {
		prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED);
		for (unsigned long cap = 0;
		     prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
		rc = set_groups(sandbox->groups);
		if (rc)
			return rc;
	}
	if (setresgid(sandbox->gid, sandbox->gid, sandbox->gid) != 0 ||
	    setresuid(sandbox->uid, sandbox->uid, sandbox->uid) != 0)
		return -errno;
	return drop_capabilities();
}

int wfs_sandbox_enter(const struct wfs_sandbox *sandbox)
{
	int rc = 0;

	/* Its memory counts as its reader's, where that can be. */
	if (sandbox->cgroup >= 0) {
		ssize_t n = write(sandbox->cgroup, "0", 1);

		(void)n;
		close(sandbox->cgroup);
	}
	if (sandbox->pidns >= 0) {
		rc = enter_namespace(sandbox->pidns);
		close(sandbox->pidns);
	}
	if (!rc)
		rc = become(sandbox);
	if (!rc && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		rc = -errno;
	if (!rc)
		rc = enter_filter();
	/* Set anew with each change of user. */
	if (!rc && sandbox->pidns >= 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return rc;
}
