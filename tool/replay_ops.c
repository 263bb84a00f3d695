/* SPDX-License-Identifier: MIT */
/*
 * replay_ops.c - the system calls of a trace as operations of the core, at the addresses that the kernel returned.
 */
#include <string.h>

#include "replay_priv.h"

#define PR_SET_VMA 0x53564d41u
#define FALLOC_PUNCH_HOLE 2u
#define SHM_RDONLY 010000u
#define SHM_EXEC 0100000u

/* Flags of mmap() that the core knows and a replay may repeat. */
#define MAP_KEPT \
	(AVM_MAP_TYPE | AVM_MAP_ANONYMOUS | AVM_MAP_GROWSDOWN | AVM_MAP_LOCKED | \
	 AVM_MAP_NORESERVE | AVM_MAP_POPULATE | AVM_MAP_NONBLOCK | AVM_MAP_STACK)
#define MAP_HUGETLB 0x40000u

/* ---- ranges -------------------------------------------------------------------------------------------- */

static int range(uint64_t start, uint64_t len, uint64_t *s, uint64_t *e)
{
	*s = start;
	*e = page_up(start + len);
	return *e > *s ? 0 : -AVM_EINVAL;
}

/* What the call may unmap or drop pages of; -EINVAL: nothing. */
int op_range(const struct call *c, uint64_t *start, uint64_t *end)
{
	const uint64_t *a = c->sys.arg;

	switch (c->sys.call) {
	case TRACE_CALL_MUNMAP:
		return range(a[0], a[1], start, end);
	case TRACE_CALL_MMAP:
		if (!(a[3] & AVM_MAP_FIXED))
			return -AVM_EINVAL;
		return range(a[0], a[1], start, end);
	case TRACE_CALL_MADVISE:
		if (a[2] != AVM_MADV_DONTNEED && a[2] != AVM_MADV_REMOVE)
			return -AVM_EINVAL;
		return range(a[0], a[1], start, end);
	case TRACE_CALL_MREMAP:
		if (a[3] & AVM_MREMAP_FIXED)
			return range(a[4], a[2], start, end);
		if (page_up(a[1]) <= page_up(a[2]))
			return -AVM_EINVAL;
		return range(a[0] + page_up(a[2]), page_up(a[1]) - page_up(a[2]), start, end);
	default:
		return -AVM_EINVAL;
	}
}

/* Where it may have made boundaries. */
int op_changed(const struct call *c, uint64_t ret, uint64_t *start, uint64_t *end)
{
	const uint64_t *a = c->sys.arg;

	switch (c->sys.call) {
	case TRACE_CALL_MMAP:
		return range(ret, a[1], start, end);
	case TRACE_CALL_MREMAP:
		return range(ret, a[2], start, end);
	case TRACE_CALL_SHMAT:
		return range(ret, c->record.len, start, end);
	case TRACE_CALL_BRK:
		return range(page_up(c->cursor), ret - page_up(c->cursor), start, end);
	case TRACE_CALL_MUNMAP:
	case TRACE_CALL_MPROTECT:
	case TRACE_CALL_PKEY_MPROTECT:
	case TRACE_CALL_MADVISE:
	case TRACE_CALL_MLOCK:
	case TRACE_CALL_MLOCK2:
	case TRACE_CALL_MUNLOCK:
	case TRACE_CALL_MBIND:
		return range(a[0], a[1], start, end);
	case TRACE_CALL_PRCTL:
		return a[0] == PR_SET_VMA ? range(a[2], a[3], start, end) : -AVM_EINVAL;
	default:
		return -AVM_EINVAL;
	}
}

/* ---- mapping ------------------------------------------------------------------------------------------- */

static bool populates(const struct avm_mm *mm, const struct avm_mmap *m)
{
	return m->prot && ((m->flags & (AVM_MAP_POPULATE | AVM_MAP_LOCKED)) ||
			   (mm->default_flags & AVM_VM_LOCKED));
}

int op_map(struct replay *r, struct space *s, const struct avm_mmap *m)
{
	uint64_t since = time_now();
	avm_addr_t out;
	int err;

	if (populates(space_mm(s), m) &&
	    !work_populate(r, page_up(m->len) / PAGE_SIZE, m->prot & AVM_PROT_WRITE))
		return -AVM_ENOMEM;
	err = avm_mmap(space_mm(s), m, &out);
	time_add(r, REPLAY_OP_MMAP, since);
	return err;
}

int op_unmap(struct replay *r, struct space *s, uint64_t start, uint64_t end)
{
	uint64_t since = time_now();
	int err = avm_munmap(space_mm(s), start, end - start);

	time_add(r, REPLAY_OP_MUNMAP, since);
	return err;
}

static void remember_fd(struct space *s, int32_t fd, struct file *f)
{
	struct fd *free_slot = &s->fds[(uint32_t)fd % FDS];

	for (int i = 0; i < FDS; i++) {
		if (s->fds[i].file && s->fds[i].fd == fd)
			free_slot = &s->fds[i];
	}
	*free_slot = (struct fd){ fd, f };
}

static struct file *find_fd(const struct space *s, int32_t fd)
{
	for (int i = 0; i < FDS; i++) {
		if (s->fds[i].file && s->fds[i].fd == fd)
			return s->fds[i].file;
	}
	return NULL;
}

/* The file of an mmap(): its MMAP2 record knows it, strace wrote its path; else all there is is its number. */
static struct file *mapped_file(struct replay *r, struct task *t)
{
	const struct call *c = &t->call;
	struct file *f;
	char name[32];
	struct trace_str s = { name, 0 };

	if (c->has_record) {
		f = c->file;
	} else if (c->sys.path.n) {
		f = file_by_name(r, c->sys.path);
	} else {
		f = find_fd(t->space, (int32_t)c->sys.arg[4]);
		if (f)
			return f;
		s.n = (size_t)snprintf(name, sizeof(name), "/pid %d fd %d", t->pid,
				       (int)c->sys.arg[4]);
		f = file_by_name(r, s);
	}
	if (f && f->file)
		remember_fd(t->space, (int32_t)c->sys.arg[4], f);
	return f;
}

static int do_mmap(struct replay *r, struct task *t, uint64_t ret)
{
	const uint64_t *a = t->call.sys.arg;
	struct avm_mmap m = { .addr = ret,
			      .len = a[1],
			      .prot = (uint32_t)a[2] & AVM_PROT_ALL,
			      .flags = ((uint32_t)a[3] & MAP_KEPT) | AVM_MAP_FIXED,
			      .pgoff = a[5] >> PAGE_SHIFT };

	if (a[3] & MAP_HUGETLB)
		note_cause(r, "call: mmap of huge pages");
	if (!(m.flags & AVM_MAP_ANONYMOUS)) {
		struct file *f = mapped_file(r, t);

		m.file = f ? f->file : NULL;
		m.private_data = (uintptr_t)f;
	}
	if (!m.file) {
		m.flags |= AVM_MAP_ANONYMOUS;
		m.pgoff = 0;
	}
	t->call.out = ret;
	return op_map(r, t->space, &m);
}

static int do_shmat(struct replay *r, struct task *t, uint64_t ret)
{
	uint64_t flags = t->call.sys.arg[2];
	struct avm_mmap m = { .addr = ret,
			      .len = t->call.record.len,
			      .prot = AVM_PROT_READ,
			      .flags = AVM_MAP_SHARED | AVM_MAP_FIXED };
	struct file *f = t->call.file;

	if (!t->call.has_record) {
		note_cause(r, "call: shmat without a record of its mapping");
		return 0;
	}
	if (!f || !f->file)
		return -AVM_ENOMEM;
	if (!(flags & SHM_RDONLY))
		m.prot |= AVM_PROT_WRITE;
	if (flags & SHM_EXEC)
		m.prot |= AVM_PROT_EXEC;
	m.file = f->file;
	m.private_data = (uintptr_t)f;
	return op_map(r, t->space, &m);
}

static int do_shmdt(struct replay *r, struct task *t)
{
	uint64_t addr = t->call.sys.arg[0];
	const struct avm_vma *v = avm_find_vma(space_mm(t->space), addr);

	if (!v || v->start != addr || !v->file)
		return -AVM_EINVAL;
	return op_unmap(r, t->space, addr, v->end);
}

/* ---- protection ---------------------------------------------------------------------------------------- */

static int protect(struct replay *r, struct space *s, uint64_t start, uint64_t len, uint32_t prot)
{
	uint64_t since = time_now();
	int err;

	if (space_mm(s)->locked_vm && (prot & AVM_PROT_WRITE) &&
	    !work_populate_range(r, s, start, start + len))
		return -AVM_ENOMEM;
	err = avm_mprotect(space_mm(s), start, len, prot);
	time_add(r, REPLAY_OP_MPROTECT, since);
	if (!err && r->config.wrong == REPLAY_WRONG_MPROTECT)
		(void)avm_madvise(space_mm(s), start, len, AVM_MADV_DONTNEED);
	return err;
}

/*
 * The kernel goes from VMA to VMA, and writes a record after each: the same here, so that each record finds what it
 * shows. => The core's answer is looked at when the rest is done.
 */
void op_protect(struct replay *r, struct task *t, uint64_t end)
{
	struct call *c = &t->call;
	uint64_t stop = page_up(c->sys.arg[0] + c->sys.arg[1]);

	if (end > stop)
		end = stop;
	if (c->sys.arg[2] & ~(uint64_t)AVM_PROT_ALL)
		return;
	if (end <= c->cursor || c->result)
		return;
	if (t->space->forking)
		life_fork_passed(r, t, LIFE_ANYWHERE);
	r->state->doing = trace_call_name(c->sys.call);
	c->result = protect(r, t->space, c->cursor, end - c->cursor, (uint32_t)c->sys.arg[2]);
	note_called(r, t->space, c->cursor, end);
	c->cursor = end;
	r->state->changed = true;
}

/* Parts of an image of which there is no record: strace tells of no exec's mappings. */
static void adopt_holes(struct replay *r, struct space *s, uint64_t start, uint64_t end)
{
	while (s->unknown_image && start < end) {
		const struct avm_vma *v = avm_find_vma(space_mm(s), start);
		uint64_t to = v && v->start < end ? v->start : end;
		struct avm_mmap m = { .addr = start,
				      .len = to - start,
				      .prot = AVM_PROT_READ | AVM_PROT_WRITE,
				      .flags = AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS |
					       AVM_MAP_FIXED };

		if (to > start) {
			(void)op_map(r, s, &m);
			r->adopted++;
		}
		start = v && v->end > to ? v->end : end;
	}
}

static int do_mprotect(struct replay *r, struct task *t)
{
	struct call *c = &t->call;
	uint64_t stop = page_up(c->sys.arg[0] + c->sys.arg[1]);

	if (c->result || c->cursor >= stop)
		return c->result;
	if (!c->sys.err && r->state->strace)
		adopt_holes(r, t->space, c->cursor, stop);
	return protect(r, t->space, c->cursor, stop - c->cursor, (uint32_t)c->sys.arg[2]);
}

/* ---- moving -------------------------------------------------------------------------------------------- */

static bool grows_locked(const struct space *s, uint64_t addr)
{
	const struct avm_vma *v = avm_find_vma(space_mm(s), addr);

	return v && (v->flags & AVM_VM_LOCKED);
}

/* The core decides as the kernel did: it may not move what stayed, and goes where the kernel went. */
static int do_mremap(struct replay *r, struct task *t, uint64_t ret)
{
	const uint64_t *a = t->call.sys.arg;
	uint32_t flags = (uint32_t)a[3];
	uint64_t since, target = a[4];
	avm_addr_t out;
	int err;

	if (ret == a[0] && !(flags & AVM_MREMAP_FIXED)) {
		flags = 0;
	} else {
		flags |= AVM_MREMAP_FIXED | AVM_MREMAP_MAYMOVE;
		target = ret;
	}
	if (r->state->strace)
		adopt_holes(r, t->space, a[0], page_up(a[0] + a[1]));
	if (grows_locked(t->space, a[0]) && a[2] > a[1] &&
	    !work_populate(r, (a[2] - a[1]) / PAGE_SIZE, false))
		return -AVM_ENOMEM;
	since = time_now();
	err = avm_mremap(space_mm(t->space), a[0], a[1], a[2], flags, target, &out);
	time_add(r, REPLAY_OP_MREMAP, since);
	if (!err && out != a[0] && r->config.wrong == REPLAY_WRONG_MREMAP)
		(void)avm_madvise(space_mm(t->space), out, a[2], AVM_MADV_DONTNEED);
	return err;
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

static int do_madvise(struct replay *r, struct task *t)
{
	const uint64_t *a = t->call.sys.arg;
	bool populates = a[2] == AVM_MADV_POPULATE_READ || a[2] == AVM_MADV_POPULATE_WRITE ||
			 a[2] == AVM_MADV_WILLNEED;
	uint64_t since;
	int err;

	if (populates && !work_populate_range(r, t->space, a[0], page_up(a[0] + a[1])))
		return -AVM_ENOMEM;
	if (a[2] == AVM_MADV_FREE)
		contents_note_free(r);
	since = time_now();
	err = avm_madvise(space_mm(t->space), a[0], a[1], (enum avm_advice)a[2]);

	time_add(r, REPLAY_OP_MADVISE, since);
	if (!err && a[2] == AVM_MADV_DONTFORK && r->config.wrong == REPLAY_WRONG_DONTFORK)
		(void)avm_madvise(space_mm(t->space), a[0], a[1], AVM_MADV_DONTNEED);
	return err;
}

/* Where the heap begins is known from the first answer: the kernel puts it at random. */
static int do_brk(struct replay *r, struct task *t, uint64_t ret)
{
	struct avm_mm *mm = space_mm(t->space);
	uint64_t want = t->call.sys.arg[0], since;
	avm_addr_t out;
	int err;

	if (!mm->brk_start) {
		if (want && want == ret) {
			note_cause(r, "call: brk of a heap from before the trace");
			return 0;
		}
		mm->brk_start = mm->brk = ret; /* as the loader of an image does */
	}
	t->call.cursor = mm->brk;
	if (want != ret)
		return 0; /* refused, or only asked */
	if ((mm->default_flags & AVM_VM_LOCKED) && want > mm->brk &&
	    !work_populate(r, (want - mm->brk) / PAGE_SIZE, true))
		return -AVM_ENOMEM;
	since = time_now();
	err = avm_brk(mm, want, &out);
	time_add(r, REPLAY_OP_BRK, since);
	return err;
}

static bool may_lock(struct replay *r, const struct task *t)
{
	const uint64_t *a = t->call.sys.arg;

	switch (t->call.sys.call) {
	case TRACE_CALL_MLOCK:
	case TRACE_CALL_MLOCK2:
		return work_populate_range(r, t->space, page_down(a[0]), page_up(a[0] + a[1]));
	case TRACE_CALL_MLOCKALL:
		return !(a[0] & AVM_MCL_CURRENT) ||
		       work_populate_range(r, t->space, 0, space_mm(t->space)->task_size);
	default:
		return true;
	}
}

static int do_lock(struct replay *r, struct task *t)
{
	struct avm_mm *mm = space_mm(t->space);
	const uint64_t *a = t->call.sys.arg;
	uint64_t since = time_now();
	int err = 0;

	if (!may_lock(r, t))
		return -AVM_ENOMEM;
	switch (t->call.sys.call) {
	case TRACE_CALL_MLOCK:
		err = avm_mlock(mm, a[0], a[1], 0);
		break;
	case TRACE_CALL_MLOCK2:
		err = avm_mlock(mm, a[0], a[1], (uint32_t)a[2]);
		break;
	case TRACE_CALL_MUNLOCK:
		err = avm_munlock(mm, a[0], a[1]);
		break;
	case TRACE_CALL_MLOCKALL:
		err = avm_mlockall(mm, (uint32_t)a[0]);
		break;
	default:
		err = avm_munlockall(mm);
		break;
	}
	time_add(r, REPLAY_OP_LOCK, since);
	return err;
}

/* Of names and policies the trace has addresses only: equal ones are equal. */
static uint32_t id_of(uint64_t a, uint64_t b)
{
	uint64_t h = (a ^ b << 7) * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(h >> 32) | 1;
}

/*
 * A descriptor may have been closed and opened again since it was mapped, and no record tells. Truncation shows in the
 * counts where it unmaps something.
 */
bool op_unseen(const struct replay *r, const struct task *t)
{
	const struct file *f;

	if (t->call.sys.call != TRACE_CALL_FTRUNCATE && t->call.sys.call != TRACE_CALL_FALLOCATE)
		return false;
	f = find_fd(t->space, (int32_t)t->call.sys.arg[0]);
	return !t->call.applied && !r->state->strace && !(f && f->sized);
}

static int do_other(struct replay *r, struct task *t)
{
	struct avm_mm *mm = space_mm(t->space);
	const uint64_t *a = t->call.sys.arg;
	uint64_t since = time_now();
	struct file *f;
	int err = 0;

	switch (t->call.sys.call) {
	case TRACE_CALL_PRCTL:
		if (a[0] == PR_SET_VMA && a[1] == 0)
			err = avm_set_name(mm, a[2], a[3], a[4] ? id_of(a[4], 0) : 0);
		break;
	case TRACE_CALL_MBIND:
		err = avm_set_policy(mm, a[0], a[1], a[2] ? id_of(a[2], a[3]) : 0);
		break;
	case TRACE_CALL_FTRUNCATE:
		f = find_fd(t->space, (int32_t)a[0]);
		if (f && f->file && !f->is_special)
			err = sim_file_truncate(f->file, a[1]);
		if (f)
			f->sized = true;
		break;
	case TRACE_CALL_FALLOCATE:
		f = find_fd(t->space, (int32_t)a[0]);
		if (f && f->file && !f->is_special && (a[1] & FALLOC_PUNCH_HOLE))
			err = avm_file_punch(f->file, a[2], a[3]);
		break;
	default:
		break;
	}
	time_add(r, REPLAY_OP_OTHER, since);
	return err;
}

int op_call(struct replay *r, struct task *t, uint64_t ret)
{
	const uint64_t *a = t->call.sys.arg;
	int err;

	switch (t->call.sys.call) {
	case TRACE_CALL_MMAP:
		err = do_mmap(r, t, ret);
		if (!err)
			touch_range(r, t->space, ret, a[1]);
		return err;
	case TRACE_CALL_MUNMAP:
		return op_unmap(r, t->space, a[0], a[0] + a[1]);
	case TRACE_CALL_MPROTECT:
	case TRACE_CALL_PKEY_MPROTECT:
		err = do_mprotect(r, t);
		if (!err)
			touch_range(r, t->space, a[0], a[1]);
		return err;
	case TRACE_CALL_MREMAP:
		err = do_mremap(r, t, ret);
		if (!err && a[2] > a[1])
			touch_range(r, t->space, ret + a[1], a[2] - a[1]);
		return err;
	case TRACE_CALL_MADVISE:
		return do_madvise(r, t);
	case TRACE_CALL_BRK:
		return do_brk(r, t, ret);
	case TRACE_CALL_SHMAT:
		return do_shmat(r, t, ret);
	case TRACE_CALL_SHMDT:
		return do_shmdt(r, t);
	case TRACE_CALL_MLOCK:
	case TRACE_CALL_MLOCK2:
	case TRACE_CALL_MUNLOCK:
	case TRACE_CALL_MLOCKALL:
	case TRACE_CALL_MUNLOCKALL:
		return do_lock(r, t);
	default:
		return do_other(r, t);
	}
}
