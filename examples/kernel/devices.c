/* SPDX-License-Identifier: MIT */
/*
 * devices.c - see devices.h.
 *
 * One lock is around all drivers, which wait() gives up. Handlers of interrupts need none: they count, and wake.
 */
#include "devices.h"

#include <string.h>

#include "avm_arch.h"
#include "clock.h"
#include "edu.h"
#include "gfx.h"
#include "glue.h"
#include "interrupt.h"
#include "kernel.h"
#include "vswap.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ENABLE 0x80000000u

/* Where q35 has devices: above are the chipset's own, below configuration space and memory. */
#define FIRST_DEVICE 0xc0000000u
#define LAST_DEVICE 0xfebfffffu

#define MESSAGE_ADDRESS 0xfee00000u
#define NR_VECTORS 8
#define EDU_INTERRUPTS 100

struct vector {
	void (*_Atomic handler)(void *arg); /* NULL: free */
	void *arg;
	int number; /* 0: never registered */
};

static struct pci pci;
static struct edu edu;
static struct gfx gfx;
static struct vblk disk;
static struct vector vectors[NR_VECTORS];

static struct {
	uint64_t page; /* of the core's array; POOL_NONE: none */
	unsigned order;
} slots_at = { .page = POOL_NONE };

static _Atomic uint32_t events; /* interrupts and ticks: who waits for one sleeps on it */
static struct spinlock lock; /* covers the drivers */
static uintptr_t lock_flags; /* of whoever has it */

static void enter(void)
{
	uintptr_t flags = spin_lock(&lock);

	lock_flags = flags;
}

static void leave(void)
{
	spin_unlock(&lock, lock_flags);
}

/* ---- time ------------------------------------------------------------------------------------------ */

static void happened(void)
{
	atomic_fetch_add(&events, 1);
	thread_wake(&events);
}

void devices_tick(void)
{
	if (cpu_id())
		return;
	clock_tick();
	happened();
}

static uint64_t microseconds(void *context)
{
	(void)context;
	return clock_us();
}

/* An interrupt that comes after the lock was given up has changed the word: no sleep. */
static void wait(void *context, bool interrupt_comes)
{
	uint32_t seen = atomic_load(&events);

	(void)context;
	leave();
	if (interrupt_comes)
		thread_sleep(&events, seen);
	else
		thread_yield();
	enter();
}

/* ---- configuration space ------------------------------------------------------------------------------ */

static void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

/* => lock: the two ports belong together. The port at which the data is. */
static uint16_t config_select(unsigned bus, unsigned devfn, unsigned offset)
{
	out32(CONFIG_ADDRESS, CONFIG_ENABLE | bus << 16 | devfn << 8 | (offset & 0xfc));
	return (uint16_t)(CONFIG_DATA + (offset & 3));
}

static uint32_t config_read(void *context, unsigned bus, unsigned devfn, unsigned offset,
			    unsigned size)
{
	uint32_t value;

	(void)context;
	config_select(bus, devfn, offset);
	value = in32(CONFIG_DATA) >> 8 * (offset & 3);
	return size == 4 ? value : value & ((1u << 8 * size) - 1);
}

static void config_write(void *context, unsigned bus, unsigned devfn, unsigned offset,
			 unsigned size, uint32_t value)
{
	uint16_t port = config_select(bus, devfn, offset);

	(void)context;
	if (size == 4)
		out32(port, value);
	else if (size == 2)
		out16(port, (uint16_t)value);
	else
		outb(port, (uint8_t)value);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static int map(void *context, uint64_t address, uint64_t size, uintptr_t *base)
{
	(void)context;
	if (address < FIRST_DEVICE)
		return -AVM_EBUSY;
	if (address > LAST_DEVICE || size > LAST_DEVICE + 1ull - address)
		return -AVM_ENOMEM;
	*base = (uintptr_t)direct_map(address); /* uncached: boot.S */
	return 0;
}

static uint32_t read_mmio(void *context, uintptr_t at, unsigned size)
{
	(void)context;
	if (size == 4)
		return *(volatile uint32_t *)at;
	return size == 2 ? *(volatile uint16_t *)at : *(volatile uint8_t *)at;
}

static void write_mmio(void *context, uintptr_t at, unsigned size, uint32_t value)
{
	(void)context;
	if (size == 4)
		*(volatile uint32_t *)at = value;
	else if (size == 2)
		*(volatile uint16_t *)at = (uint16_t)value;
	else
		*(volatile uint8_t *)at = (uint8_t)value;
}

static int dma_take(void *context, struct dma_page *page)
{
	uint64_t n = pool_alloc(&kernel.objects, 0);

	(void)context;
	if (n == POOL_NONE)
		return -AVM_ENOMEM;
	page->address = n << AVM_PAGE_SHIFT;
	page->memory = direct_map(page->address);
	memset(page->memory, 0, DMA_PAGE_SIZE);
	return 0;
}

static void dma_give(void *context, struct dma_page *page)
{
	(void)context;
	pool_free(&kernel.objects, page->address >> AVM_PAGE_SHIFT, 0);
}

/* ---- interrupts ---------------------------------------------------------------------------------------- */

static void dispatch(void *context)
{
	struct vector *v = context;
	void (*handler)(void *arg) = atomic_load(&v->handler);

	if (handler)
		handler(v->arg);
	happened();
}

static struct vector *free_vector(void)
{
	for (struct vector *v = vectors; v < vectors + NR_VECTORS; v++) {
		if (!atomic_load(&v->handler))
			return v;
	}
	return NULL;
}

/* Numbers are never given back, but kept for the next one. */
static int vector_take(void *context, void (*handler)(void *arg), void *arg,
		       struct msi_message *message)
{
	struct vector *v = free_vector();

	(void)context;
	if (!v)
		return -AVM_ENOSPC;
	if (!v->number) {
		int number = interrupt_register(dispatch, v);

		if (number < 0)
			return -AVM_ENOSPC;
		v->number = number;
	}
	v->arg = arg;
	atomic_store(&v->handler, handler);
	*message = (struct msi_message){ .address = MESSAGE_ADDRESS | cpus[0].apic_id << 12,
					 .data = (uint32_t)v->number };
	return v->number;
}

static void vector_give(void *context, int number)
{
	(void)context;
	for (struct vector *v = vectors; v < vectors + NR_VECTORS; v++) {
		if (v->number == number)
			atomic_store(&v->handler, NULL);
	}
}

static void log_line(void *context, const char *line)
{
	(void)context;
	print("# %s\n", line);
}

static const struct platform platform = {
	.config_read = config_read,
	.config_write = config_write,
	.map = map,
	.mmio_read = read_mmio,
	.mmio_write = write_mmio,
	.dma_take = dma_take,
	.dma_give = dma_give,
	.vector_take = vector_take,
	.vector_give = vector_give,
	.microseconds = microseconds,
	.wait = wait,
	.log = log_line,
};

/* ---- finding them --------------------------------------------------------------------------------------- */

static void flag_bus(unsigned number)
{
	for (unsigned i = 0; i < pci.nr_buses; i++) {
		if (pci.buses[i].number == number)
			pci_flag_bus(&pci.buses[i], PCI_BUS_NO_MSI, "the command line says so");
	}
}

void devices_start(void)
{
	clock_start();
	enter();
	if (pci_scan(&pci, &platform) > 0) {
		flag_bus((unsigned)kernel.options.no_msi);
		pci_bind(&pci, &edu_driver, &edu);
		pci_bind(&pci, &gfx_driver, &gfx);
		pci_bind(&pci, &vblk_driver, &disk);
	}
	leave();
}

static bool all_interrupts_come(void)
{
	for (unsigned i = 1; i <= EDU_INTERRUPTS; i++) {
		if (edu_interrupt(&edu, i) || edu.cause != i)
			return false;
	}
	return edu.interrupts == EDU_INTERRUPTS;
}

void devices_check(void (*report)(bool passed, const char *what))
{
	bool sends, good;
	uint32_t result = 0;

	if (!edu.dev)
		return;
	enter();
	sends = edu.dev->irq == PCI_IRQ_MSI;
	good = sends ? all_interrupts_come() : pci_msi_refusal(edu.dev) != NULL;
	print("# edu: %u interrupts by message\n", edu.interrupts);
	report(good, sends ? "edu: each message has come" : "edu: messages are refused");
	good = !edu_factorial(&edu, 12, &result) && result == 479001600;
	report(good, "edu: 12! is right");
	leave();
}

bool devices_have_disk(void)
{
	return disk.virtio.dev;
}

void devices_stop(void)
{
	enter();
	if (edu.dev)
		pci_disable_messages(edu.dev);
	if (disk.virtio.dev) {
		print("# disk: %lu reads, %lu writes, %lu errors, %u interrupts\n", disk.nr_reads,
		      disk.nr_writes, disk.nr_errors, disk.interrupts);
		vblk_close(&disk);
	}
	if (slots_at.page != POOL_NONE)
		pool_free(&kernel.objects, slots_at.page, slots_at.order);
	slots_at.page = POOL_NONE;
	leave();
}

/* ---- the disk as a store ---------------------------------------------------------------------------------- */

static int disk_write(struct store *s, uint64_t slot, const void *page)
{
	int err;

	(void)s;
	enter();
	err = vswap_write(&disk, (uint32_t)slot, physical(page));
	leave();
	return err;
}

static int disk_read(struct store *s, uint64_t slot, void *page)
{
	int err;

	(void)s;
	enter();
	err = vswap_read(&disk, (uint32_t)slot, physical(page));
	leave();
	return err;
}

/* Memory for the core's array, of as many slots as there is a block for. */
static struct avm_swap_slot *slot_array(uint64_t *slots)
{
	for (unsigned order = POOL_ORDERS; order--;) {
		uint64_t room = (AVM_PAGE_SIZE << order) / sizeof(struct avm_swap_slot), page;

		/* Not more than twice of what is needed, and not the last of the kernel's memory. */
		if ((order && room / 2 >= *slots) || 4ull << order > kernel.objects.nr_free)
			continue;
		page = pool_alloc(&kernel.objects, order);
		if (page == POOL_NONE)
			continue;
		slots_at.page = page;
		slots_at.order = order;
		*slots = *slots < room ? *slots : room;
		memset(direct_map(page << AVM_PAGE_SHIFT), 0, AVM_PAGE_SIZE << order);
		return direct_map(page << AVM_PAGE_SHIFT);
	}
	return NULL;
}

struct store *devices_swap(struct avm_swap_slot **slots)
{
	static struct store store = { .write = disk_write, .read = disk_read };
	int n = vswap_slots(&disk, INT32_MAX);

	if (n == -AVM_ENODEV)
		return NULL;
	if (n < 0) {
		print("# no swap: the disk %s\n",
		      n == -AVM_ENOSPC ? "has no room for a page" : "cannot be written");
		return NULL;
	}
	store.slots = (uint64_t)n;
	*slots = slot_array(&store.slots);
	if (!*slots)
		return NULL;
	print("# swap: %lu slots of the disk's %lu\n", store.slots, (uint64_t)n);
	return &store;
}
