/* SPDX-License-Identifier: MIT */
/*
 * test_pressure.c - random programs on a machine that is too small for them: swap that fills up, fails, comes and goes;
 * reclaim at every allocation; and others that run in the middle of operations. drive.c has the command line.
 */
#include "program.h"

int main(int argc, char **argv)
{
	return drive(argc, argv, PROGRAM_PRESSURE);
}
