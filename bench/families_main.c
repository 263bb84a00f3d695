#include "families.h"
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
	static const struct shape shapes[] = {
		{ "wide", FORM_STAR, 1000, 10, 100 },
		{ "relay", FORM_RELAY, 5000, 10, 1 },
		{ "chain100", FORM_CHAIN, 100, 10, 1 },
		{ "chain1000", FORM_CHAIN, 1000, 10, 1 },
		{ "tree", FORM_TREE, 9, 10, 1 },
		{ "zygote", FORM_STAR, 100, 1000, 1 },
	};
	static const char *names[] = {"reuse","chain","flat"};
	for (unsigned i = 0; i < 6; i++) {
		if (argc > 1 && strcmp(argv[1], shapes[i].name)) continue;
		for (int p = 0; p < 3; p++) {
			struct figures f; double t = now_ns();
			families_core(&shapes[i], p, &f);
			printf("%-9s %-5s %u avcs %.0f av %.0f bytes %.0f leaf %.0f [%.0f %.0f] %u alone %.0f\n", shapes[i].name, names[p], f.processes, f.avcs, f.anon_vmas, f.bytes, f.leaf.median, f.leaf.min, f.leaf.max, f.leaf.runs, f.alone.median);
			struct walks w[3] = {f.migrate, f.page_out, f.shrink};
			for (int k = 0; k < 3; k++) printf("   %lu walks %lu visited %lu mapped %.0f ns\n", w[k].walks, w[k].visited, w[k].mapped, w[k].ns);
			for (unsigned k = 0; k < f.nr_points; k++) printf("   depth %u entries %.0f ns %.0f: %.1f\n", f.points[k].depth, f.points[k].entries, f.points[k].leaf.median, f.points[k].leaf.median/f.points[k].entries);
			printf("   took %.2f s\n", (now_ns()-t)/1e9);
		}
	}
}
