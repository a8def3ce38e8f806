/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills that wait for an event of their reader's: the helper is asked from time
 * to time whether it has happened, and works for others in between.
 */
#include <errno.h>

#include "core/base/least.h"
#include "core/base/mem.h"
#include "transport/cuda/inner.h"

/* Between two looks: at first, and at last. */
#define NAP_FIRST_NS 250000u
#define NAP_LAST_NS  16000000u

static int nap(const struct wfs_gpu_talk *talk, uint64_t ns)
{
	uint64_t until = wfs_least(wfs_now_ns() + ns, talk->deadline_ns);
	const struct wfs_gpu_patience patience = {
		.deadline_ns = until,
		.ends = { talk->gone ? *talk->gone : -1,
			  talk->stop ? *talk->stop : -1 },
	};
	int rc = wfs_gpu_wait_for(-1, &patience);

	return rc == -ETIMEDOUT && until < talk->deadline_ns ? 0 : rc;
}

int wfs_gpu_ask_when_ready(struct wfs_cuda_device *dev,
			   struct wfs_gpu_helper *helper,
			   struct wfs_gpu_talk *talk,
			   struct wfs_device_fault *fault, struct wfs_err *err)
{
	uint64_t ns = NAP_FIRST_NS;
	int rc;

	for (;;) {
		rc = wfs_gpu_helper_ask(dev, helper, talk, fault, err);
		if (rc || !talk->ask->has_ready ||
		    talk->answer.status != -EAGAIN)
			return rc;
		rc = nap(talk, ns);
		if (rc)
			return wfs_gpu_say(fault, WFS_DEVICE_STAGE_SYNC, err,
					   rc,
					   "the reader's event has not "
					   "happened");
		ns = wfs_least(2 * ns, NAP_LAST_NS);
		/* Nothing was begun that would end with a helper's life. */
		if (talk->life)
			*talk->life = 0;
	}
}
