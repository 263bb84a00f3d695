/* SPDX-License-Identifier: MIT */
/*
 * check_port.c - what ports/sim has for one thread, for several: the CPU, grace periods, the end of it all.
 */
#include <stdlib.h>

#include "check_priv.h"
#include "check_region.h"

static void (*outside)(const char *what);

void check_set_panic(void (*panic)(const char *what))
{
	outside = panic;
}

_Noreturn void avm_port_panic(struct avm *m, const char *why)
{
	char text[256];

	snprintf(text, sizeof(text), "panic: %s", why);
	check_fail(text);
	if (outside)
		outside(text);
	fprintf(sim_of(m)->config.log, "%s\n", text);
	abort();
}

unsigned avm_port_cpu_id(struct avm *m)
{
	(void)m;
	return check_running ? check_running->current % CHECK_THREADS : 0;
}

void sim_touched(const void *object, bool write)
{
	check_touch(object, write);
}

void sim_walked(const void *slot, bool write)
{
	check_touch_kind(check_running, slot, CHECK_ATOMIC, write);
}

void sim_wrote(const void *at, size_t size)
{
	check_wrote(at, size);
}

/* ---- failures -------------------------------------------------------------------------------------------------------- */

static enum check_failing kind_of_failing(enum sim_at at)
{
	switch (at) {
	case SIM_AT_SWAP_READ:
		return CHECK_SWAP_READ;
	case SIM_AT_SWAP_WRITE:
		return CHECK_SWAP_WRITE;
	case SIM_AT_FILE_READ:
		return CHECK_FILE_READ;
	case SIM_AT_FILE_WRITE:
		return CHECK_FILE_WRITE;
	default:
		return CHECK_ALLOC;
	}
}

bool check_fails(enum sim_at at)
{
	struct check *c = check_running;
	enum check_failing kind = kind_of_failing(at);
	uint32_t asked;

	if (!c || c->current == CHECK_THREADS)
		return false;
	asked = ++c->threads[c->current].asked[kind];
	for (uint32_t i = 0; i < c->schedule->nr_failures; i++) {
		const struct check_failure *f = &c->schedule->failures[i];

		if (f->thread == c->current && f->kind == kind &&
		    (f->on ? asked >= f->at : asked == f->at))
			return true;
	}
	return false;
}

/* ---- RCU ------------------------------------------------------------------------------------------------------------- */

/*
 * A deferred call may come as soon as every thread that was inside a read section has left it once, and not before. `late`:
 * when all threads are done.
 */
static uint32_t readers(const struct check *c)
{
	uint32_t threads = 0;

	for (unsigned i = 0; i < c->nr_threads; i++) {
		unsigned depth = i == c->current ? c->sim->irq_depth : c->threads[i].irq_depth;

		if (depth && c->threads[i].state != CHECK_DONE)
			threads |= 1u << i;
	}
	return threads;
}

/* On behalf of nobody: what the call has seen, the thread that happens to run it has not. */
static void call(struct check *c, const struct check_grace *g)
{
	struct check_course before = check_call_begin(c, &g->seen);

	g->deferred->call(g->deferred);
	check_call_end(c, &before);
}

static void run_graces(struct check *c)
{
	for (uint32_t i = 0; i < c->nr_graces;) {
		const struct check_grace g = c->graces[i];

		if (g.threads) {
			i++;
			continue;
		}
		c->graces[i] = c->graces[--c->nr_graces];
		call(c, &g);
		check_touch(c->graces, true); /* others may have been there */
	}
}

uintptr_t avm_port_irq_save(struct avm *m)
{
	struct check *c = check_running;

	/* A call that is deferred later waits for this one. */
	if (c && !sim_of(m)->irq_depth && !c->schedule->late)
		check_touch(c->graces, false);
	return sim_of(m)->irq_depth++;
}

void avm_port_irq_restore(struct avm *m, uintptr_t saved)
{
	struct check *c = check_running;
	struct sim *s = sim_of(m);

	if (!s->irq_depth || s->irq_depth - 1 != saved)
		sim_error(s, "interrupts are restored out of order");
	s->irq_depth = (unsigned)saved;
	if (s->irq_depth)
		return;
	if (!c) {
		sim_run_deferred(s);
		return;
	}
	if (!c->schedule->late)
		check_touch(c->graces, c->nr_graces > 0);
	check_section_left(c);
	for (uint32_t i = 0; i < c->nr_graces; i++)
		c->graces[i].threads &= ~(1u << c->current);
	if (!c->schedule->late)
		run_graces(c);
}

void avm_port_defer(struct avm *m, struct avm_deferred *d)
{
	struct check *c = check_running;
	struct check_grace g = { .deferred = d };

	check_defers(c);
	if (!c || c->schedule->late || c->nr_graces == CHECK_GRACES) {
		sim_defer(sim_of(m), d);
		return;
	}
	g.threads = readers(c);
	check_deferred(c, &g.seen);
	if (!g.threads)
		call(c, &g);
	else
		c->graces[c->nr_graces++] = g;
}
