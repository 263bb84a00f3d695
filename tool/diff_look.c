/* SPDX-License-Identifier: MIT */
/*
 * diff_look.c - how a process of the host looks at itself: VMAs, page tables, contents. Looking must change nothing: no
 * page is touched that is not there.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "diff_worker.h"

/* ---- VMAs, by ioctl ----------------------------------------------------------------------------------------- */

/* The argument of PROCMAP_QUERY (Linux 6.11), which older headers do not have. */
struct map_query {
	uint64_t size;
	uint64_t query_flags, query_addr;
	uint64_t start, end, flags, page_size, offset, inode;
	uint32_t dev_major, dev_minor;
	uint32_t name_size, build_id_size;
	uint64_t name_addr, build_id_addr;
};
#define MAP_QUERY _IOWR('f', 17, struct map_query)
#define MAP_QUERY_OR_NEXT 0x10u /* covering the address, or else the next one above */

static uint32_t file_of(const struct diff_shared *s, uint64_t inode)
{
	if (!inode)
		return 0;
	for (uint32_t i = 0; i < DIFF_FILES; i++) {
		if (s->inodes[i] == inode)
			return 1 + i;
	}
	return DIFF_VMA_SHMEM;
}

bool diff_look_query(int maps, uint64_t addr, const struct diff_shared *s, struct diff_vma *out)
{
	struct map_query q = { .size = sizeof(q),
			       .query_flags = MAP_QUERY_OR_NEXT,
			       .query_addr = addr };

	if (ioctl(maps, MAP_QUERY, &q))
		return false;
	/* Read, write, exec, shared: bits 0 to 3, as ours. */
	*out = (struct diff_vma){ q.start,
				  q.end,
				  q.inode ? q.offset : 0,
				  (uint32_t)q.flags & 15u,
				  file_of(s, q.inode),
				  0 };
	return true;
}

void diff_look_around(struct diff_worker *w, const struct diff_op *op, struct diff_seen *seen)
{
	struct diff_range ranges[2];
	int n = w->shared->can.query ? diff_ranges(op, ranges) : 0;

	for (int i = 0; i < n; i++) {
		struct diff_vma v = { .end = ranges[i].start };

		while (v.end < ranges[i].end && diff_look_query(w->maps, v.end, w->shared, &v) &&
		       v.start < ranges[i].end)
			diff_hash_vma(seen, &v);
	}
}

/* ---- VMAs, as text ------------------------------------------------------------------------------------------- */

/* A line of maps or smaps that begins a VMA. */
static bool parse_map(const struct diff_shared *s, const char *line, struct diff_vma *v)
{
	static const char letters[] = "rwx";

	*v = (struct diff_vma){ 0 };
	v->start = diff_number(&line, 16);
	if (*line++ != '-')
		return false;
	v->end = diff_number(&line, 16);
	if (*line++ != ' ')
		return false;
	for (unsigned i = 0; i < 3; i++)
		v->prot |= *line++ == letters[i] ? 1u << i : 0;
	v->prot |= *line++ == 's' ? DIFF_VMA_SHARED : 0;
	line++;
	v->offset = diff_number(&line, 16);
	line++;
	diff_number(&line, 16);
	line++;
	diff_number(&line, 16);
	line++;
	v->file = file_of(s, diff_number(&line, 10));
	if (!v->file)
		v->offset = 0;
	return true;
}

static const struct {
	char letters[3];
	uint64_t flag;
} flag_words[] = {
	{ "rd", AVM_VM_READ },	    { "wr", AVM_VM_WRITE },	 { "ex", AVM_VM_EXEC },
	{ "ms", AVM_VM_SHARED },    { "mr", AVM_VM_MAYREAD },	 { "mw", AVM_VM_MAYWRITE },
	{ "me", AVM_VM_MAYEXEC },   { "gd", AVM_VM_GROWSDOWN },	 { "lo", AVM_VM_LOCKED },
	{ "dc", AVM_VM_DONTCOPY },  { "wf", AVM_VM_WIPEONFORK }, { "dd", AVM_VM_DONTDUMP },
	{ "mg", AVM_VM_MERGEABLE }, { "nr", AVM_VM_NORESERVE },	 { "ac", AVM_VM_ACCOUNT },
	{ "hg", AVM_VM_HUGEPAGE },  { "nh", AVM_VM_NOHUGEPAGE }, { "sr", AVM_VM_SEQ_READ },
	{ "rr", AVM_VM_RAND_READ },
};

static uint64_t parse_flags(const char *line)
{
	uint64_t flags = 0;

	while (*line == ' ') {
		line++;
		for (size_t i = 0; i < sizeof(flag_words) / sizeof(flag_words[0]); i++) {
			if (!strncmp(line, flag_words[i].letters, 2))
				flags |= flag_words[i].flag;
		}
		while (*line > ' ')
			line++;
	}
	return flags;
}

static void look_text(struct diff_worker *w, bool flags, struct diff_audit *a)
{
	static const char label[] = "VmFlags:";
	const char *line = diff_read_all(flags ? "/proc/self/smaps" : "/proc/self/maps");
	struct diff_vma v = { 0 };

	for (; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		if (!strncmp(line, label, sizeof(label) - 1) && v.end && a->nr_vmas) {
			a->vmas[a->nr_vmas - 1].flags = parse_flags(line + sizeof(label) - 1);
			continue;
		}
		/* Other lines of smaps begin with a capital. */
		if (*line >= 'A' && *line <= 'Z')
			continue;
		v = (struct diff_vma){ 0 };
		if (!parse_map(w->shared, line, &v) || v.end <= DIFF_START) {
			v.end = 0;
			continue;
		}
		if (v.start >= DIFF_END)
			break;
		if (a->nr_vmas < DIFF_MAX_VMAS)
			a->vmas[a->nr_vmas++] = v;
	}
	a->flags = flags;
}

/* ---- pages ------------------------------------------------------------------------------------------------------ */

uint64_t diff_look_entry(struct diff_worker *w, uint64_t addr)
{
	uint64_t entry = 0;

	if (pread(w->pagemap, &entry, sizeof(entry), (off_t)(addr / DIFF_PAGE * sizeof(entry))) !=
	    (ssize_t)sizeof(entry))
		return 0;
	return entry;
}

static uint8_t state_of(const struct diff_shared *s, uint64_t entry)
{
	if (entry & DIFF_PM_SWAPPED)
		return DIFF_SWAPPED;
	if (!(entry & DIFF_PM_PRESENT))
		return DIFF_ABSENT;
	if (s->can.frames && (entry & DIFF_PM_FRAME) == s->can.zero_frame)
		return DIFF_ZERO;
	return entry & DIFF_PM_FILE ? DIFF_FILE : DIFF_ANON;
}

/* The page is present: reading it changes nothing but its accessed bit. */
static uint64_t value_at(struct diff_worker *w, uint64_t addr)
{
	uint64_t value = 0;

	if (pread(w->mem, &value, sizeof(value), (off_t)addr) != (ssize_t)sizeof(value))
		return UINT64_MAX;
	return value;
}

static const struct diff_vma *next_vma(const struct diff_audit *a, uint32_t *i, uint64_t addr)
{
	while (*i < a->nr_vmas && a->vmas[*i].end <= addr)
		++*i;
	return *i < a->nr_vmas && a->vmas[*i].start <= addr ? &a->vmas[*i] : NULL;
}

static void look_page(struct diff_worker *w, uint32_t what, uint64_t addr, bool readable,
		      uint64_t entry, struct diff_page *p)
{
	const struct diff_shared *s = w->shared;

	p->state = state_of(s, entry);
	if (p->state == DIFF_ABSENT || p->state == DIFF_SWAPPED)
		return;
	p->value = readable ? *(volatile const uint64_t *)(uintptr_t)addr : value_at(w, addr);
	p->frame = s->can.frames ? entry & DIFF_PM_FRAME : 0;
	if (what & DIFF_AUDIT_COUNTS && s->can.counts && p->state != DIFF_ZERO) {
		uint64_t count;

		p->counted = pread(DIFF_FD_COUNTS, &count, sizeof(count),
				   (off_t)(p->frame * sizeof(count))) == (ssize_t)sizeof(count);
		p->mapcount = p->counted ? (uint32_t)count : 0;
	}
}

void diff_look_audit(struct diff_worker *w, uint32_t what, struct diff_audit *a)
{
	static uint64_t entries[DIFF_PAGES];
	struct diff_vma v = { .end = DIFF_START };
	uint32_t at = 0;

	a->nr_vmas = 0;
	a->flags = false;
	memset(a->pages, 0, sizeof(a->pages));
	if (what & DIFF_AUDIT_FLAGS || !w->shared->can.query) {
		look_text(w, what & DIFF_AUDIT_FLAGS, a);
	} else {
		while (a->nr_vmas < DIFF_MAX_VMAS && v.end < DIFF_END &&
		       diff_look_query(w->maps, v.end, w->shared, &v) && v.start < DIFF_END)
			a->vmas[a->nr_vmas++] = v;
	}
	if (pread(w->pagemap, entries, sizeof(entries),
		  (off_t)(DIFF_START / DIFF_PAGE * sizeof(entries[0]))) != (ssize_t)sizeof(entries))
		return;
	for (uint32_t i = 0; i < DIFF_PAGES; i++) {
		uint64_t addr = DIFF_START + i * DIFF_PAGE;
		const struct diff_vma *vma = next_vma(a, &at, addr);

		if (entries[i])
			look_page(w, what, addr, vma && vma->prot & AVM_PROT_READ, entries[i],
				  &a->pages[i]);
	}
}
