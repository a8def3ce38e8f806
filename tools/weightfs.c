/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program `weightfs`: nothing but its main, so that a test can link the
 * rest with sources of its own.
 */
#include "tools/cmd.h"

int main(int argc, char **argv)
{
	return wfs_main(argc, argv, NULL);
}
