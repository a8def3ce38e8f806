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

#endif
