/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GPU helper: a process of its own that holds all that there is of CUDA for
 * the readers of one user, in one pid namespace and cgroup, on one GPU.
 *
 * The daemon starts it by executing itself with the word below, and it ends
 * with its end of the socket (talk.h), or by an error of CUDA's that sticks.
 */
#ifndef WFS_TRANSPORT_CUDA_HELPER_H
#define WFS_TRANSPORT_CUDA_HELPER_H

#define WFS_GPU_HELPER "gpu-helper"

/*
 * argv: the name, the numbers of the socket's descriptor, the user, the group,
 * and of the descriptors of a pid namespace and a cgroup.procs, which may be
 * -1; the further groups, with blanks between.  The exit status.
 */
int wfs_gpu_helper_main(int argc, char **argv);

#endif
