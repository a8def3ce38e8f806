/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FAKE libcudart for a unit test, see tests/fake_cudart/fake.h.
 */
#ifndef WFS_TESTS_UNIT_FAKE_GPUS_H
#define WFS_TESTS_UNIT_FAKE_GPUS_H

#include "tests/fake_cudart/fake.h"

/*
 * First of all in main: starts the program again so that it finds the fake,
 * with devices of its own in a folder that is fake_gpus_leave's to remove.
 */
void fake_gpus_enter(char **argv);
/* A tear-down of a group. */
int fake_gpus_leave(void **state);

struct fake_control *fake_gpus_control(void);

#endif
