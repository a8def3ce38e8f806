/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sub-commands of `weightfs plan`: each is a file cmd_plan_<name>.c and a
 * row in the table of cmd_plan.c.
 */
#ifndef WFS_TOOLS_CMD_PLAN_H
#define WFS_TOOLS_CMD_PLAN_H

#include "tools/cmd.h"

wfs_cmd_fn wfs_cmd_plan_list;
wfs_cmd_fn wfs_cmd_plan_check;
wfs_cmd_fn wfs_cmd_plan_show;
wfs_cmd_fn wfs_cmd_plan_diff;
wfs_cmd_fn wfs_cmd_plan_learn;

#endif
