/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every unit test includes first. cmocka's header wants four others
 * before it; this is the only place that knows which and in what order.
 */
#ifndef WFS_TESTS_UNIT_T_H
#define WFS_TESTS_UNIT_T_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* An entry of a test table: T(pread_is_short_only_at_end), */
#define T(name) cmocka_unit_test(name)

#endif
