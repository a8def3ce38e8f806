/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor's findings, and the checks that make them.
 */
#ifndef WFS_TOOLS_DOCTOR_H
#define WFS_TOOLS_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

enum wfs_level {
	WFS_LEVEL_OK,
	WFS_LEVEL_SLOW,	  /* works, but not at full speed */
	WFS_LEVEL_BROKEN, /* does not work */
};

struct wfs_finding {
	const char *name; /* of the condition */
	enum wfs_level level;
	char *text;   /* how it is here */
	char *remedy; /* what to do, or "" */
};

struct wfs_findings {
	struct wfs_finding *rows;
	size_t count;
	uint64_t arena; /* bytes that an arena may have here; 0: none */
};

/* Adds a finding; `remedy` may be NULL. */
void wfs_findings_add(struct wfs_findings *found, const char *name,
		      enum wfs_level level, const char *remedy, const char *fmt,
		      ...) __attribute__((format(printf, 5, 6)));
void wfs_findings_clear(struct wfs_findings *found);

/* Kernel, device, privilege, passthrough. */
void wfs_doctor_fuse(struct wfs_findings *found);
/* Arena, huge pages, memory, cgroup; `arena_size` as the option of a mount. */
void wfs_doctor_memory(struct wfs_findings *found, uint64_t arena_size);
/* Open files, requests, what users other than root need. */
void wfs_doctor_limits(struct wfs_findings *found);
/* Devices for RDMA, and what they need. */
void wfs_doctor_rdma(struct wfs_findings *found);
/* GPUs. */
void wfs_doctor_cuda(struct wfs_findings *found);
/*
 * Reads 64 MiB of this process by RDMA, or what comes in 3 s; verified.
 * *ret_rate in bytes a second, or a negative errno with a sentence.
 */
int wfs_doctor_loop(double *ret_rate, struct wfs_err *err);
/* The checkpoint in `dir`: can it be read, from where, does it fit? */
void wfs_doctor_model(struct wfs_findings *found, const char *dir);

/*
 * Tries passthrough with the kernel, on a mount of our own that nobody sees.
 * 0, or a negative errno: -EOPNOTSUPP when the kernel has none, else what
 * kept us from trying or what the kernel said.
 */
int wfs_doctor_try_passthrough(void);

#endif
