/* SPDX-License-Identifier: MIT */
/* program.c - see program.h. What the file says is not trusted: avm_exec() refuses segments that make no sense. */
#include "program.h"

#include <string.h>

#include "avm_arch.h"
#include "avm_port.h"
#include "cpu.h"
#include "interrupt.h"
#include "kernel.h"

struct elf_header {
	unsigned char ident[16]; /* magic, 64 bits, little-endian */
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, segments, sections; /* the latter two: places in the file */
	uint32_t flags;
	uint16_t header_size, segment_size, nr_segments, section_size, nr_sections, names;
};

struct elf_segment {
	uint32_t type, flags;
	uint64_t offset, addr, physical, in_file, in_memory, align;
};

enum {
	ELF_EXECUTABLE = 2, /* at fixed addresses */
	ELF_X86_64 = 62,
	ELF_LOAD = 1,
	ELF_EXEC = 1,
	ELF_WRITE = 2,
	ELF_READ = 4,
};

#define MAX_SEGMENTS 8
#define STACK_END 0x7fffff000000ull
#define STACK_PAGES 8
#define MAX_ARGUMENTS 256

static int read_page(struct avm_file *file, uint64_t index, struct avm_page *page)
{
	const struct program *p = file->context;
	uint64_t offset = index << AVM_PAGE_SHIFT;
	uint64_t len = p->size - offset;

	/* The core asks for pages that begin within the file, and zeroes what is beyond its end. */
	if (len > AVM_PAGE_SIZE)
		len = AVM_PAGE_SIZE;
	memcpy(avm_port_frame_ptr(file->machine, page->pfn), p->data + offset, len);
	return 0;
}

static const struct avm_file_ops program_ops = { .read_page = read_page };

int program_open(struct program *p)
{
	return avm_file_init(&kernel.machine, &p->file, &program_ops, p, p->size);
}

void program_close(struct program *p)
{
	avm_file_put(&p->file);
}

/* ---- segments ------------------------------------------------------------------------------------- */

struct layout {
	struct avm_segment
		segments[2 * MAX_SEGMENTS]; /* of each the part in the file, and the rest */
	unsigned nr;
	avm_addr_t end; /* of the last one */
};

static uint64_t page_up(uint64_t n)
{
	return (n + AVM_PAGE_SIZE - 1) & AVM_PAGE_MASK;
}

static uint32_t prot_of(uint32_t flags)
{
	return (flags & ELF_READ ? AVM_PROT_READ : 0) | (flags & ELF_WRITE ? AVM_PROT_WRITE : 0) |
	       (flags & ELF_EXEC ? AVM_PROT_EXEC : 0);
}

static int add_segment(struct layout *l, struct program *p, const struct elf_segment *h)
{
	uint64_t inside = h->addr & ~AVM_PAGE_MASK;
	avm_addr_t start = h->addr & AVM_PAGE_MASK;
	avm_addr_t file_end = page_up(h->addr + h->in_file);
	avm_addr_t end = page_up(h->addr + h->in_memory);

	if (h->addr >= AVM_ARCH_TASK_SIZE || h->in_memory >= AVM_ARCH_TASK_SIZE ||
	    h->in_file > h->in_memory || (h->offset & ~AVM_PAGE_MASK) != inside ||
	    h->offset > p->size || h->in_file > p->size - h->offset)
		return -AVM_EINVAL;
	if (!h->in_file)
		file_end = start;
	if (file_end > start)
		l->segments[l->nr++] =
			(struct avm_segment){ .start = start,
					      .pages = (file_end - start) >> AVM_PAGE_SHIFT,
					      .prot = prot_of(h->flags),
					      .file = &p->file,
					      .pgoff = h->offset >> AVM_PAGE_SHIFT };
	if (end > file_end)
		l->segments[l->nr++] =
			(struct avm_segment){ .start = file_end,
					      .pages = (end - file_end) >> AVM_PAGE_SHIFT,
					      .prot = prot_of(h->flags) };
	if (end > l->end)
		l->end = end;
	return 0;
}

static int read_header(const struct program *p, struct elf_header *h)
{
	if (p->size < sizeof(*h))
		return -AVM_EINVAL;
	memcpy(h, p->data, sizeof(*h));
	if (memcmp(h->ident, "\177ELF\2\1", 6) || h->machine != ELF_X86_64 ||
	    h->type != ELF_EXECUTABLE || h->segment_size != sizeof(struct elf_segment) ||
	    h->nr_segments > MAX_SEGMENTS || h->segments > p->size ||
	    h->nr_segments * sizeof(struct elf_segment) > p->size - h->segments)
		return -AVM_EINVAL;
	return 0;
}

static struct elf_segment segment_header(const struct program *p, const struct elf_header *h,
					 unsigned i)
{
	struct elf_segment ph;

	memcpy(&ph, p->data + h->segments + i * sizeof(ph), sizeof(ph));
	return ph;
}

/* The last page from the file goes on with zeroes, in memory of the process's own. */
static int clear_tail(struct avm_mm *mm, const struct elf_segment *h)
{
	static const unsigned char zeroes[AVM_PAGE_SIZE];
	avm_addr_t from = h->addr + h->in_file;
	uint64_t len = page_up(from) - from;

	if (h->in_memory == h->in_file || !h->in_file || !len)
		return 0;
	return avm_copy_in(mm, from, zeroes, len, AVM_COPY_FORCE) == (int64_t)len ? 0 : -AVM_ENOMEM;
}

/* ---- the image ------------------------------------------------------------------------------------ */

static int map(struct program *p, struct avm_mm *mm, const struct elf_header *h)
{
	struct layout l = { 0 };
	struct avm_image image = { .stack_end = STACK_END,
				   .stack_pages = STACK_PAGES,
				   .argument_pages = 1 };
	int err = 0;

	for (unsigned i = 0; i < h->nr_segments && !err; i++) {
		struct elf_segment ph = segment_header(p, h, i);

		if (ph.type == ELF_LOAD && ph.in_memory)
			err = add_segment(&l, p, &ph);
	}
	if (err)
		return err;
	image.segments = l.segments;
	image.nr_segments = l.nr;
	image.brk_start = l.end;
	err = avm_exec(mm, &image);
	for (unsigned i = 0; i < h->nr_segments && !err; i++) {
		struct elf_segment ph = segment_header(p, h, i);

		if (ph.type == ELF_LOAD && ph.in_memory)
			err = clear_tail(mm, &ph);
	}
	return err;
}

int program_load(struct program *p, struct avm_mm *mm, const char *arguments,
		 struct interrupt_frame *frame)
{
	avm_addr_t top = STACK_END - MAX_ARGUMENTS;
	struct elf_header h;
	size_t len = 0;
	int err = read_header(p, &h);

	if (!err)
		err = map(p, mm, &h);
	if (err)
		return err;
	while (arguments[len] && len < MAX_ARGUMENTS - 1)
		len++;
	/* The page is there, and zero behind the text. */
	if (avm_copy_in(mm, top, arguments, len, 0) != (int64_t)len)
		return -AVM_ENOMEM;
	*frame = (struct interrupt_frame){ .rip = h.entry,
					   .cs = USER_CODE,
					   .ss = USER_DATA,
					   .rsp = top,
					   .rdi = top,
					   .rflags = RFLAGS_IF | 2 };
	return 0;
}
