/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioctls on files of a weightfs mount.  Usable from C and C++, with nothing
 * else of weightfs.  Structs have a fixed size and hold no pointers; the size
 * is part of the command.
 */
#ifndef WEIGHTFS_IOCTL_H
#define WEIGHTFS_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * On `.weightfs/version`: takes everything out of the arena that nobody holds
 * or maps.  For uid 0 and the uid of the daemon, else EPERM.
 */
struct weightfs_evict {
	__u64 freed; /* out: bytes that came back */
	__u64 left;  /* out: bytes still in the arena, in use */
};

#define WEIGHTFS_IOC_EVICT _IOR(0xB7, 64, struct weightfs_evict)

/*
 * On a file of a model: with `start` it is to be in memory soon, without it
 * tells how far that is.  Returns at once either way.  ENOSPC when there is no
 * room for it, ESTALE when its source was rewritten, EOPNOTSUPP where the
 * daemon has no arena.
 */
enum weightfs_warm_state {
	WEIGHTFS_WARM_ABSENT, /* nobody brings it: not started, or failed */
	WEIGHTFS_WARM_UNDER_WAY,
	WEIGHTFS_WARM_COMPLETE, /* all of it, verified */
	WEIGHTFS_WARM_LOCAL,	/* a file of this node itself, which needs no
				    arena: reading it is what warms it */
};

struct weightfs_warm {
	__u32 start;	/* in: 0 or 1 */
	__u32 state;	/* out: enum weightfs_warm_state */
	__u64 size;	/* out: bytes of the file */
	__u64 resident; /* out: bytes of it in the arena now */
};

#define WEIGHTFS_IOC_WARM _IOWR(0xB7, 65, struct weightfs_warm)

#endif
