/* SPDX-License-Identifier: MIT */
/*
 * test_property.c - random programs against the oracle, the invariants and the model of boundaries; drive.c has the
 * command line.
 */
#include "program.h"

int main(int argc, char **argv)
{
	return drive(argc, argv, PROGRAM_PLENTY);
}
