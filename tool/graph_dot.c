/* SPDX-License-Identifier: MIT */
/*
 * graph_dot.c - the picture as DOT. From left to right: processes, with a row for each VMA and in it
 * a cell for each entry of its chain and each group of its pages; the pages; the anon_vmas. A
 * process is one node, because Graphviz keeps the order of rows, and not that of nodes.
 */
#include <stdlib.h>
#include <string.h>

#include "graph_priv.h"

#define RED "#d00000"

/* One for each family, in turn; none of them looks like red. */
static const char *const family_colours[] = { "#1f5fa8", "#2e7d32", "#7b3fa0",
					      "#a86500", "#00838f", "#6d4c41" };

struct state_look {
	const char *text, *fill, *line;
};

static const struct state_look looks[] = {
	[GRAPH_DEAD] = { "DEAD: freed anon_vma", "#ffd6d6", RED },
	[GRAPH_WRONG] = { "WRONG: not on a chain", "#ffd6d6", RED },
	[GRAPH_MISPLACED] = { "WRONG: index", "#ffd6d6", RED },
	[GRAPH_WRONG_FILE] = { "WRONG: other file", "#ffd6d6", RED },
	[GRAPH_EXCLUSIVE] = { "exclusive", "#ffffff", "#555555" },
	[GRAPH_ANON] = { NULL, "#ffffff", "#555555" },
	[GRAPH_MERGED] = { "merged", "#e3d9f5", "#555555" },
	[GRAPH_FILE] = { "of a file", "#ececec", "#999999" },
	[GRAPH_SWAP] = { "swapped out", "#d5ecf5", "#555555" },
	[GRAPH_MIGRATION] = { "migrating", "#d5ecf5", "#555555" },
	[GRAPH_POISON] = { "poisoned", "#c8c8c8", "#555555" },
};
#define SHARED_FILL "#fff3c4"

/* ---- text ----------------------------------------------------------------------------------- */

/* A name inside of an HTML-like label. */
static void put_name(FILE *out, const char *name)
{
	for (; *name; name++) {
		switch (*name) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		default:
			fputc((unsigned char)*name >= ' ' ? *name : '?', out);
		}
	}
}

static void put_count(FILE *out, size_t n, const char *what)
{
	fprintf(out, "%zu %s%s", n, what, n == 1 ? "" : "s");
}

static void put_process(const struct graph *g, size_t proc, FILE *out)
{
	const struct avm_mm *mm = g->procs[proc].mm;
	char name[64] = "";

	if (g->names->process)
		g->names->process(g->names->context, mm, name, sizeof(name));
	if (name[0])
		put_name(out, name);
	else
		fprintf(out, "mm %llu", (unsigned long long)mm->id);
}

static const char *colour_of(const struct graph *g, size_t av)
{
	const size_t n = sizeof(family_colours) / sizeof(family_colours[0]);

	return g->avs[av].live ? family_colours[g->avs[av].family % n] : RED;
}

static void put_av(const struct graph *g, size_t av, FILE *out)
{
	const struct graph_av *a = &g->avs[av];

	if (a->live)
		fprintf(out, "anon_vma %llu", (unsigned long long)a->info.id);
	else
		fprintf(out, "freed anon_vma");
}

/* "0-3, 5, 7-9, ..." of n increasing numbers. */
struct runs {
	uint64_t first, last;
	unsigned nr;
	bool open;
};

#define MAX_RUNS 3

static void end_run(struct runs *r, FILE *out)
{
	if (!r->open)
		return;
	if (++r->nr > MAX_RUNS) {
		if (r->nr == MAX_RUNS + 1)
			fputs(", ...", out);
		return;
	}
	fprintf(out, "%s%llu", r->nr > 1 ? ", " : "", (unsigned long long)r->first);
	if (r->last != r->first)
		fprintf(out, "-%llu", (unsigned long long)r->last);
}

static void add_to_run(struct runs *r, uint64_t n, FILE *out)
{
	if (!r->open || n != r->last + 1) {
		end_run(r, out);
		r->first = n;
		r->open = true;
	}
	r->last = n;
}

/* The pages of a group as its mapper i numbers them. */
static void put_pages(const struct graph *g, const struct graph_group *group, size_t i, FILE *out)
{
	struct runs runs = { 0 };

	fputs(group->nr == 1 ? "page " : "pages ", out);
	for (size_t k = 0; k < group->nr; k++)
		add_to_run(&runs, g->entries[g->items[group->first + k].first + i].at, out);
	end_run(&runs, out);
}

static void put_slots(const struct graph *g, const struct graph_group *group, FILE *out)
{
	struct runs runs = { 0 };

	fputs("swap ", out);
	for (size_t k = 0; k < group->nr; k++)
		add_to_run(&runs, g->entries[g->items[group->first + k].first].value, out);
	end_run(&runs, out);
}

/* "heap, ", where it has a name. */
static void put_vma_name(const struct graph *g, size_t vma, FILE *out)
{
	char name[80] = "";

	if (g->names->vma)
		g->names->vma(g->names->context, g->vmas[vma].vma, name, sizeof(name));
	if (!name[0])
		return;
	put_name(out, name);
	fputs(", ", out);
}

/* ---- processes ------------------------------------------------------------------------------ */

static void print_vma_title(const struct graph *g, const struct graph_vma *v, FILE *out)
{
	const struct avm_vma *vma = v->vma;
	char name[80] = "";

	if (g->names->vma)
		g->names->vma(g->names->context, vma, name, sizeof(name));
	if (name[0]) {
		fputs("<B>", out);
		put_name(out, name);
		fputs("</B><BR ALIGN=\"LEFT\"/>", out);
	}
	fprintf(out, "%llx-%llx<BR ALIGN=\"LEFT\"/>", (unsigned long long)vma->start,
		(unsigned long long)vma->end);
	fprintf(out, "%c%c%c%c ", vma->flags & AVM_VM_READ ? 'r' : '-',
		vma->flags & AVM_VM_WRITE ? 'w' : '-', vma->flags & AVM_VM_EXEC ? 'x' : '-',
		vma->flags & AVM_VM_SHARED ? 's' : 'p');
	put_count(out, (vma->end - vma->start) / GRAPH_PAGE, "page");
	if (vma->file) {
		name[0] = '\0';
		if (g->names->file)
			g->names->file(g->names->context, vma->file, name, sizeof(name));
		fputs(" [", out);
		put_name(out, name[0] ? name : vma->flags & AVM_VM_SHARED ? "shared" : "file");
		fputs("]", out);
	}
	fputs("<BR ALIGN=\"LEFT\"/>", out);
}

/* The right column is a list of cells; the first one shares its row with the title. */
struct cells {
	FILE *out;
	size_t nr;
};

static void next_cell(struct cells *c, const char *attributes)
{
	if (c->nr++)
		fputs("</TR><TR>", c->out);
	fprintf(c->out, "<TD ALIGN=\"LEFT\" %s", attributes);
}

static void print_link(const struct graph *g, const struct graph_vma *v, size_t i, struct cells *c)
{
	size_t av = g->links[v->chain + i];
	bool own = g->avs[av].ptr == atomic_load(&v->vma->anon_vma);

	next_cell(c, "");
	fprintf(c->out, "PORT=\"v%zuc%zu\"><FONT COLOR=\"%s\">%s%zu. ", (size_t)(v - g->vmas), i,
		colour_of(g, av), own ? "<B>" : "", i + 1);
	put_av(g, av, c->out);
	fprintf(c->out, "%s</FONT></TD>", own ? ", own</B>" : "");
}

static void print_chain(const struct graph *g, const struct graph_vma *v, struct cells *c)
{
	size_t hidden = 0;

	for (size_t i = 0; i < v->nr_chain; i++) {
		if (graph_link_shown(i, v->nr_chain)) {
			print_link(g, v, i, c);
			continue;
		}
		if (hidden++)
			continue;
		next_cell(c, "");
		fprintf(c->out, "PORT=\"v%zux\"><I>... %zu more</I></TD>", (size_t)(v - g->vmas),
			v->nr_chain - GRAPH_MAX_CHAIN + 1);
	}
}

/* The mapper of a group that is this VMA; GRAPH_NONE. */
static size_t mapper_of(const struct graph *g, size_t group, size_t vma)
{
	size_t nr;
	const struct graph_entry *e = graph_mappers(g, &g->groups[group], &nr);

	for (size_t k = 0; k < nr; k++) {
		if (e[k].vma == vma)
			return k;
	}
	return GRAPH_NONE;
}

/* Of the groups that the VMA maps at or behind `at`, the one it maps lowest; moves `at` behind it. */
static size_t next_group(const struct graph *g, size_t vma, uint64_t *at)
{
	size_t best = GRAPH_NONE;
	uint64_t lowest = UINT64_MAX;

	for (size_t i = 0; i < g->nr_shown; i++) {
		const struct graph_group *group = &g->groups[g->shown[i]];
		size_t k = mapper_of(g, g->shown[i], vma);
		uint64_t first;

		if (k == GRAPH_NONE)
			continue;
		first = g->entries[g->items[group->first].first + k].at;
		if (first >= *at && first < lowest) {
			lowest = first;
			best = g->shown[i];
		}
	}
	*at = lowest + 1;
	return best;
}

/* A cell for each group of its pages that is shown. */
static void print_groups(const struct graph *g, const struct graph_vma *v, struct cells *c)
{
	size_t vma = (size_t)(v - g->vmas);
	uint64_t at = 0;
	size_t i;

	while ((i = next_group(g, vma, &at)) != GRAPH_NONE) {
		next_cell(c, graph_is_wrong(g->items[g->groups[i].first].state) ?
				     "BGCOLOR=\"#ffd6d6\"" :
				     "BGCOLOR=\"#f4f4f4\"");
		fprintf(c->out, " PORT=\"v%zug%zu\">", vma, i);
		put_pages(g, &g->groups[i], mapper_of(g, i, vma), c->out);
		fputs("</TD>", c->out);
	}
	if (v->folded_groups) {
		next_cell(c, "BGCOLOR=\"#f4f4f4\"");
		fprintf(c->out, "><I>... ");
		put_count(c->out, v->folded_pages, "page");
		fputs(" more</I></TD>", c->out);
	}
}

static void print_plain(const struct graph_vma *v, struct cells *c)
{
	if (v->zero) {
		next_cell(c, "BGCOLOR=\"#f4f4f4\"");
		fputs(">zero page", c->out);
		if (v->zero > 1)
			fprintf(c->out, ", %llu times", (unsigned long long)v->zero);
		fputs("</TD>", c->out);
	}
	if (v->bare) {
		next_cell(c, "BGCOLOR=\"#f4f4f4\"");
		fputc('>', c->out);
		put_count(c->out, v->bare, "bare frame");
		fputs("</TD>", c->out);
	}
}

static void print_vma(const struct graph *g, const struct graph_vma *v, FILE *out)
{
	struct cells c = { 0 };
	char *text = NULL;
	size_t len;

	/* The height of the title's cell is known when the others have been counted. */
	c.out = open_memstream(&text, &len);
	if (!c.out)
		return;
	print_chain(g, v, &c);
	if (!v->nr_chain) {
		next_cell(&c, "");
		fputs("><FONT COLOR=\"#777777\">unfaulted</FONT></TD>", c.out);
	}
	print_groups(g, v, &c);
	print_plain(v, &c);
	fclose(c.out);
	fprintf(out, "    <TR><TD ALIGN=\"LEFT\" BALIGN=\"LEFT\" ROWSPAN=\"%zu\" PORT=\"v%zu\"%s>",
		c.nr, (size_t)(v - g->vmas), v->wrong ? " COLOR=\"" RED "\"" : "");
	print_vma_title(g, v, out);
	fprintf(out, "</TD>%s</TR>\n", text ? text : "");
	free(text);
}

static void print_folded_vmas(size_t n, const char *what, size_t wrong, FILE *out)
{
	if (!n)
		return;
	fputs("    <TR><TD COLSPAN=\"2\" ALIGN=\"LEFT\"><I>", out);
	put_count(out, n, what);
	if (wrong)
		fprintf(out, " <FONT COLOR=\"" RED "\">(%zu wrong)</FONT>", wrong);
	fputs("</I></TD></TR>\n", out);
}

static void print_proc(const struct graph *g, size_t i, FILE *out)
{
	const struct graph_proc *p = &g->procs[i];

	fprintf(out, "  p%zu [class=\"process\", shape=plain, label=<\n", i);
	fputs("    <TABLE BORDER=\"0\" CELLBORDER=\"1\" CELLSPACING=\"0\" CELLPADDING=\"3\""
	      " BGCOLOR=\"white\" COLOR=\"#888888\">\n"
	      "    <TR><TD COLSPAN=\"2\" BGCOLOR=\"#37474f\"><FONT COLOR=\"white\"><B>",
	      out);
	put_process(g, i, out);
	fputs("</B>", out);
	if (p->alike)
		fprintf(out, " and %zu like it", p->alike);
	fputs("</FONT></TD></TR>\n", out);
	for (size_t k = 0; k < p->nr; k++) {
		if (g->vmas[p->first + k].shown)
			print_vma(g, &g->vmas[p->first + k], out);
	}
	print_folded_vmas(p->folded_unfaulted, "unfaulted VMA", 0, out);
	print_folded_vmas(p->folded_faulted, "more faulted VMA", p->folded_wrong, out);
	if (!p->nr)
		fputs("    <TR><TD COLSPAN=\"2\"><I>no VMAs</I></TD></TR>\n", out);
	fputs("    </TABLE>>];\n", out);
}

/* ---- pages and anon_vmas -------------------------------------------------------------------- */

static void print_group(const struct graph *g, size_t i, FILE *out)
{
	const struct graph_group *group = &g->groups[i];
	const struct graph_item *item = &g->items[group->first];
	const struct state_look *look = &looks[item->state];
	bool wrong = graph_is_wrong(item->state);
	bool shared = item->nr > 1 && (item->state == GRAPH_ANON || item->state == GRAPH_FILE);

	fprintf(out, "  g%zu [class=\"%s\", shape=box, fillcolor=\"%s\", color=\"%s\"%s, label=\"",
		i,
		wrong			  ? "wrong" :
		item->state == GRAPH_SWAP ? "swap" :
					    "pages",
		shared ? SHARED_FILL : look->fill, look->line,
		wrong ? ", penwidth=2, fontcolor=\"" RED "\"" : "");
	if (item->state == GRAPH_SWAP) {
		put_slots(g, group, out);
		fputs("\\n", out);
	}
	put_vma_name(g, g->entries[item->first].vma, out);
	put_pages(g, group, 0, out);
	if (look->text)
		fprintf(out, "\\n%s", look->text);
	if (item->nr > 1)
		fprintf(out, "\\nshared: mapped %zu times", item->nr);
	else if (item->state == GRAPH_ANON)
		fputs("\\nmapped once", out);
	if (g->entries[item->first].page && item->mapcount != item->nr)
		fprintf(out, "\\n(its mapcount: %u)", item->mapcount);
	fputs("\"];\n", out);
}

static void print_av(const struct graph *g, size_t i, FILE *out)
{
	const struct graph_av *av = &g->avs[i];
	const struct avm_anon_vma_info *info = &av->info;
	bool root = info->id == info->root_id;

	if (!av->live) {
		fprintf(out,
			"  a%zu [class=\"dead\", style=\"filled,dashed\", fillcolor=\"#ffd6d6\", "
			"color=\"" RED "\", fontcolor=\"" RED "\", penwidth=2, "
			"label=\"freed anon_vma\\n(DEAD)\"];\n",
			i);
		return;
	}
	fprintf(out,
		"  a%zu [class=\"anon_vma\", color=\"%s\", peripheries=%d, "
		"label=\"anon_vma %llu%s\\nrefs %u, children %u, active %u\"];\n",
		i, colour_of(g, i), root ? 2 : 1, (unsigned long long)info->id,
		root ? " (root)" : "", info->refcount, info->num_children, info->num_active_vmas);
}

/* ---- edges ---------------------------------------------------------------------------------- */

static void print_chain_edges(const struct graph *g, size_t vma, FILE *out)
{
	const struct graph_vma *v = &g->vmas[vma];

	for (size_t i = 0; i < v->nr_chain; i++) {
		size_t av = g->links[v->chain + i];
		bool own = g->avs[av].ptr == atomic_load(&v->vma->anon_vma);

		/* One that is folded may be drawn all the same: a page is on it. */
		if (!g->avs[av].shown)
			continue;
		fprintf(out, "  p%zu:v%zu", v->proc, vma);
		if (graph_link_shown(i, v->nr_chain))
			fprintf(out, "c%zu", i);
		else
			fputs("x", out);
		fprintf(out, ":e -> a%zu [class=\"avc\", color=\"%s\", minlen=2, penwidth=%s];\n",
			av, colour_of(g, av), own ? "2.5" : "1");
	}
}

static void print_group_edges(const struct graph *g, size_t i, FILE *out)
{
	const struct graph_group *group = &g->groups[i];
	const struct graph_item *item = &g->items[group->first];
	const char *colour = graph_is_wrong(item->state) ? RED :
			     item->av == GRAPH_NONE	 ? "#777777" :
							   colour_of(g, item->av);
	size_t nr;
	const struct graph_entry *e = graph_mappers(g, group, &nr);

	for (size_t k = 0; k < nr; k++) {
		const struct graph_vma *v = &g->vmas[e[k].vma];

		if (v->shown && g->procs[v->proc].shown)
			fprintf(out,
				"  p%zu:v%zug%zu:e -> g%zu:w [class=\"maps\", color=\"%s90\"];\n",
				v->proc, e[k].vma, i, i, colour);
	}
	if (item->av != GRAPH_NONE)
		fprintf(out,
			"  g%zu -> a%zu [class=\"mapping\", style=dotted, color=\"%s\", "
			"penwidth=%s];\n",
			i, item->av, colour, graph_is_wrong(item->state) ? "3" : "2");
}

static void print_parent(const struct graph *g, size_t i, FILE *out)
{
	const struct avm_anon_vma_info *info = &g->avs[i].info;

	if (!g->avs[i].live || info->id == info->root_id)
		return;
	for (size_t k = 0; k < g->nr_avs; k++) {
		if (!g->avs[k].live || !g->avs[k].shown || g->avs[k].info.id != info->parent_id)
			continue;
		fprintf(out,
			"  a%zu -> a%zu [class=\"parent\", style=dashed, color=\"%s\", "
			"arrowhead=empty];\n",
			i, k, colour_of(g, i));
		return;
	}
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void print_nodes(const struct graph *g, FILE *out)
{
	for (size_t i = 0; i < g->nr_procs; i++) {
		if (g->procs[i].shown)
			print_proc(g, i, out);
	}
	if (g->other_procs) {
		fputs("  others [shape=box, style=dashed, label=\"", out);
		fprintf(out, "%zu other process%s", g->other_procs, g->other_procs > 1 ? "es" : "");
		if (g->other_wrong)
			fprintf(out, ",\\n%zu of them with something wrong", g->other_wrong);
		fputs("\"];\n", out);
	}
	for (size_t i = 0; i < g->nr_shown; i++)
		print_group(g, g->shown[i], out);
	for (size_t i = 0; i < g->nr_avs; i++) {
		if (g->avs[i].shown)
			print_av(g, i, out);
	}
}

/* Processes in one column, in order of making; pages in another. */
static void print_columns(const struct graph *g, FILE *out)
{
	bool first = true;

	fputs("  { rank=same; edge [style=invis, weight=100]; ", out);
	for (size_t i = 0; i < g->nr_procs; i++) {
		if (!g->procs[i].shown)
			continue;
		fprintf(out, "%sp%zu", first ? "" : " -> ", i);
		first = false;
	}
	if (g->other_procs)
		fputs(" -> others", out);
	fputs(" }\n  { rank=same;", out);
	for (size_t i = 0; i < g->nr_shown; i++)
		fprintf(out, " g%zu", g->shown[i]);
	fputs(" }\n  { rank=max;", out);
	for (size_t i = 0; i < g->nr_avs; i++) {
		const struct graph_av *av = &g->avs[i];

		if (av->shown && (!av->live || av->info.id == av->info.root_id))
			fprintf(out, " a%zu", i);
	}
	fputs(" }\n", out);
}

static void print_edges(const struct graph *g, FILE *out)
{
	for (size_t i = 0; i < g->nr_vmas; i++) {
		if (g->vmas[i].shown && g->procs[g->vmas[i].proc].shown)
			print_chain_edges(g, i, out);
	}
	for (size_t i = 0; i < g->nr_shown; i++)
		print_group_edges(g, g->shown[i], out);
	for (size_t i = 0; i < g->nr_avs; i++) {
		if (g->avs[i].shown)
			print_parent(g, i, out);
	}
}

static void print_legend(FILE *out)
{
	fputs("  labelloc=b; labeljust=l; label=<<TABLE BORDER=\"0\" CELLSPACING=\"4\">\n"
	      "  <TR><TD ALIGN=\"LEFT\">A process lists its VMAs: the chain, numbered, own anon_vma "
	      "first, root last; below it pages, counted from the start of the VMA.</TD></TR>\n"
	      "  <TR><TD ALIGN=\"LEFT\">Thick line: the VMA's own anon_vma. Thin line: an ancestor's. "
	      "Pale line: a mapping. Dotted: the anon_vma that page-&gt;mapping names. Dashed: parent. "
	      "Double ring: root. One colour: one family.</TD></TR>\n"
	      "  <TR><TD ALIGN=\"LEFT\">Pages: white, of one process; <FONT COLOR=\"#a08000\">yellow"
	      "</FONT>, shared; grey, of a file; blue, swapped out or on the way; "
	      "<FONT COLOR=\"" RED "\">red, on a wrong or dead anon_vma</FONT>.</TD></TR>\n"
	      "  </TABLE>>;\n",
	      out);
}

void graph_print(const struct graph *g, FILE *out)
{
	fputs("digraph anonvm {\n"
	      "  rankdir=LR; nodesep=0.15; ranksep=1.3; fontname=\"Helvetica\"; fontsize=11;\n"
	      "  node [fontname=\"Helvetica\", fontsize=11, style=filled, fillcolor=white, "
	      "margin=\"0.1,0.05\"];\n"
	      "  edge [fontname=\"Helvetica\", fontsize=10, color=\"#777777\", arrowsize=0.7];\n",
	      out);
	print_legend(out);
	print_nodes(g, out);
	print_columns(g, out);
	print_edges(g, out);
	fputs("}\n", out);
}
