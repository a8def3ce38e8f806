/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FAKE, for tests only: weightfs whose sources misbehave on demand; see
 * fault_source.h.
 */
#include "tests/faults/fault_source.h"
#include "tools/cmd.h"

int main(int argc, char **argv)
{
	static const struct wfs_hooks hooks = {
		.wrap_source = wfs_fault_source_wrap,
	};

	return wfs_main(argc, argv, &hooks);
}
