/* SPDX-License-Identifier: MIT */
/*
 * panic.c - an oops that can be read: registers, a back trace with names, and of an address what the core knows: its
 * VMA, its entry, the page there, everybody who maps it, and the family that links them.
 *
 * The machine may be in any state. What might wait for a lock is asked last, and who sleeps in a panic ends it.
 */
#include "panic.h"

#include "avm_arch.h"
#include "glue.h"
#include "interrupt.h"
#include "process.h"
#include "symbols.h"

#define PANIC_CODE 18
#define DEEPEST 24

_Atomic bool panicking;

/* ---- the kernel ----------------------------------------------------------------------------------- */

static bool is_text(uint64_t addr)
{
	return addr >= (uint64_t)(uintptr_t)text_start && addr < (uint64_t)(uintptr_t)text_end;
}

static void print_place(uint64_t addr)
{
	uint64_t offset;
	const char *name = is_text(addr) ? symbol_name(addr, &offset) : NULL;

	if (name)
		print("  %016lx  %s+0x%lx\n", addr, name, offset);
	else
		print("  %016lx\n", addr);
}

/* Frames lie one above the other on one stack; anything else is the end. */
static void print_back_trace(uint64_t frame)
{
	for (unsigned i = 0; i < DEEPEST && frame >= DIRECT_MAP && !(frame & 7); i++) {
		const uint64_t *at = (const uint64_t *)(uintptr_t)frame;

		if (!at[1])
			return;
		print_place(at[1]);
		if (at[0] <= frame || at[0] - frame > STACK_SIZE)
			return;
		frame = at[0];
	}
}

/* A function that calls no other has no frame: what is on top of the stack is then where it was called from. */
static void print_caller_of_leaf(uint64_t stack)
{
	if (stack >= DIRECT_MAP && !(stack & 7) && is_text(*(const uint64_t *)(uintptr_t)stack))
		print_place(*(const uint64_t *)(uintptr_t)stack);
}

static void print_registers(const struct interrupt_frame *f)
{
	print("rip %016lx  rsp %016lx  rflags %lx  cs %lx  error %lx\n", f->rip, f->rsp, f->rflags,
	      f->cs, f->error);
	print("rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx\n", f->rax, f->rbx, f->rcx, f->rdx);
	print("rsi %016lx  rdi %016lx  rbp %016lx  cr3 %016lx\n", f->rsi, f->rdi, f->rbp,
	      read_cr3());
	print("r8  %016lx  r9  %016lx  r10 %016lx  r11 %016lx\n", f->r8, f->r9, f->r10, f->r11);
	print("r12 %016lx  r13 %016lx  r14 %016lx  r15 %016lx\n", f->r12, f->r13, f->r14, f->r15);
}

/* ---- the address ---------------------------------------------------------------------------------- */

static void print_line(struct avm_sink *sink, const char *line)
{
	(void)sink;
	print("  %s\n", line);
}

static void print_vma(const struct avm_vma *vma)
{
	print("VMA %lx-%lx %c%c%c%c, page %lu of %s\n", vma->start, vma->end,
	      vma->flags & AVM_VM_READ ? 'r' : '-', vma->flags & AVM_VM_WRITE ? 'w' : '-',
	      vma->flags & AVM_VM_EXEC ? 'x' : '-', vma->flags & AVM_VM_SHARED ? 's' : 'p',
	      vma->pgoff, vma->file ? "a file" : "anonymous memory");
}

static void print_entry(const struct avm_pte_info *e)
{
	static const char *const kinds[] = {
		[AVM_PTE_NONE] = "nothing",
		[AVM_PTE_PRESENT] = "a page",
		[AVM_PTE_SWAP] = "a slot of swap",
		[AVM_PTE_MIGRATION] = "a page that is being moved",
		[AVM_PTE_POISON] = "a page that has gone bad",
	};

	print("entry: %s%s%s%s%s%s\n", kinds[e->kind], e->write ? ", writable" : ", read-only",
	      e->young ? ", young" : "", e->dirty ? ", dirty" : "",
	      e->zero ? ", the zero page" : "", e->none ? ", no access" : "");
}

static void print_family(struct avm *m, const struct avm_vma *vma)
{
	struct avm_anon_vma *av = NULL;

	print("family, from the VMA's own to the root:\n");
	while ((av = avm_next_in_chain(vma, av)) && avm_anon_vma_live(m, av)) {
		struct avm_anon_vma_info info;

		avm_anon_vma_info(av, &info);
		print("  anon_vma %lu  root %lu  parent %lu  refs %u  children %u  VMAs %lu\n",
		      info.id, info.root_id, info.parent_id, info.refcount, info.num_children,
		      info.nr_avcs);
	}
}

static void print_address(struct avm_mm *mm, avm_addr_t addr)
{
	struct avm_sink sink = { .line = print_line };
	const struct avm_vma *vma = avm_find_vma(mm, addr);
	struct avm_pte_info entry;

	if (!vma || vma->start > addr) {
		print("nothing is mapped there\n");
		return;
	}
	print_vma(vma);
	avm_pte_at(mm, addr & AVM_PAGE_MASK, &entry);
	print_entry(&entry);
	print_family(mm->machine, vma);
	if (entry.page) {
		print("page, and who maps it:\n");
		avm_dump_page(mm->machine, entry.page, &sink);
	}
}

/* ---- the end -------------------------------------------------------------------------------------- */

static void begin(const char *why)
{
	const struct thread *t = this_cpu()->current;

	irq_off();
	console_break_lock();
	if (atomic_exchange(&panicking, true)) {
		print("\nPANIC within a panic: %s\n", why);
		power_off(PANIC_CODE);
	}
	print("\nPANIC: %s\non CPU %u, ", why, cpu_id());
	if (t && t->process)
		print("process %d (%s), mm %lu\n", t->process->pid, t->process->name,
		      t->process->mm->id);
	else
		print("no process\n");
}

_Noreturn void panic(const char *why)
{
	begin(why);
	print("back trace:\n");
	print_back_trace((uint64_t)(uintptr_t)__builtin_frame_address(0));
	power_off(PANIC_CODE);
}

_Noreturn void panic_at(const struct interrupt_frame *f, const char *why)
{
	const struct thread *t = this_cpu()->current;
	uint64_t addr = read_cr2();

	begin(why);
	print_registers(f);
	print("back trace:\n");
	print_place(f->rip);
	print_caller_of_leaf(f->rsp);
	print_back_trace(f->rbp);
	if (f->vector == VECTOR_PAGE_FAULT) {
		print("address %lx, %s:\n", addr, f->error & FAULT_WRITE ? "written" : "read");
		if (t && t->process)
			print_address(t->process->mm, addr);
	}
	power_off(PANIC_CODE);
}
