/* SPDX-License-Identifier: MIT */
/* sim_pci.c - a machine of configuration spaces. */
#include <stdlib.h>

#include "sim_pci.h"

#define DMA_BASE 0x4000000000ull /* addresses of devices look like none of the CPU's */

/* ---- configuration space ---------------------------------------------------------------------------- */

void sim_set(struct sim_function *f, unsigned offset, unsigned size, uint32_t value)
{
	assert_true(offset + size <= PCI_CONFIG_SIZE);
	for (unsigned i = 0; i < size; i++)
		f->config[offset + i] = (uint8_t)(value >> 8 * i);
}

uint32_t sim_get(const struct sim_function *f, unsigned offset, unsigned size)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)f->config[offset + i] << 8 * i;
	return value;
}

void sim_allow(struct sim_function *f, unsigned offset, unsigned size, uint32_t bits)
{
	for (unsigned i = 0; i < size; i++)
		f->writable[offset + i] = (uint8_t)(bits >> 8 * i);
}

static struct sim_function *function_at(struct sim_pci *s, unsigned bus, unsigned devfn)
{
	if (s->mirrored)
		bus = 0;
	for (unsigned i = 0; i < s->nr_functions; i++) {
		struct sim_function *f = &s->functions[i];

		if (f->bus == bus && f->devfn == devfn)
			return f;
	}
	return NULL;
}

static void check_access(unsigned bus, unsigned devfn, unsigned offset, unsigned size)
{
	assert_true(bus < 256 && devfn < 256);
	assert_true(size == 1 || size == 2 || size == 4);
	assert_true(offset % size == 0 && offset + size <= PCI_CONFIG_SIZE);
}

static uint32_t config_read(void *context, unsigned bus, unsigned devfn, unsigned offset,
			    unsigned size)
{
	struct sim_pci *s = context;
	struct sim_function *f = function_at(s, bus, devfn);
	uint32_t value;

	check_access(bus, devfn, offset, size);
	s->reads++;
	s->buses[bus / 64] |= 1ull << bus % 64;
	if (!f)
		return UINT32_MAX >> (32 - 8 * size);
	value = sim_get(f, offset, size);
	return f->read ? f->read(f, offset, value) & (UINT32_MAX >> (32 - 8 * size)) : value;
}

static void config_write(void *context, unsigned bus, unsigned devfn, unsigned offset,
			 unsigned size, uint32_t value)
{
	struct sim_function *f = function_at(context, bus, devfn);

	check_access(bus, devfn, offset, size);
	if (!f)
		return;
	for (unsigned i = 0; i < size; i++) {
		uint8_t w = f->writable[offset + i], byte = (uint8_t)(value >> 8 * i);

		f->config[offset + i] = (uint8_t)((f->config[offset + i] & ~w) | (byte & w));
	}
	if (f->written)
		f->written(f, offset, value);
}

/* ---- memory ------------------------------------------------------------------------------------------ */

static int map(void *context, uint64_t address, uint64_t size, uintptr_t *base)
{
	(void)context;
	assert_true(size);
	if (address < SIM_RAM)
		return -AVM_EBUSY;
	*base = (uintptr_t)address;
	return 0;
}

/* Where an address lies in the memory of the function, which decodes; false: not there. */
static bool decodes(const struct sim_function *f, uint64_t at, uint64_t *offset)
{
	if (!(sim_get(f, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY))
		return false;
	for (unsigned bar = 0; bar < PCI_BARS; bar++) {
		unsigned o = PCI_BAR0 + 4 * bar;
		uint32_t low = sim_get(f, o, 4), mask = 0;
		uint64_t address = low & ~15u;

		for (unsigned i = 0; i < 4; i++)
			mask |= (uint32_t)f->writable[o + i] << 8 * i;
		if (low & PCI_BAR_IO || !mask)
			continue;
		if ((low & PCI_BAR_TYPE) == PCI_BAR_64) {
			address |= (uint64_t)sim_get(f, o + 4, 4) << 32;
			bar++;
		}
		/* Simulated memory is below 4 GiB a BAR. */
		*offset = at - address;
		if (at >= address && *offset <= (uint32_t)~mask)
			return true;
	}
	return false;
}

static struct sim_function *owner(struct sim_pci *s, uint64_t at, uint64_t *offset)
{
	s->last_mmio = at;
	for (unsigned i = 0; i < s->nr_functions; i++) {
		if (decodes(&s->functions[i], at, offset))
			return &s->functions[i];
	}
	return NULL;
}

static uint32_t mmio_read_(void *context, uintptr_t at, unsigned size)
{
	uint64_t offset;
	struct sim_function *f = owner(context, at, &offset);

	if (!f || !f->mmio_read)
		return UINT32_MAX >> (32 - 8 * size);
	return f->mmio_read(f, offset, size) & (UINT32_MAX >> (32 - 8 * size));
}

static void mmio_write_(void *context, uintptr_t at, unsigned size, uint32_t value)
{
	uint64_t offset;
	struct sim_function *f = owner(context, at, &offset);

	if (f && f->mmio_write)
		f->mmio_write(f, offset, size, value);
}

static int dma_take(void *context, struct dma_page *page)
{
	struct sim_pci *s = context;
	unsigned i = 0;

	if (!s->pages_left)
		return -AVM_ENOMEM;
	while (s->pages[i])
		i++;
	s->pages_left--;
	s->nr_pages++;
	s->pages[i] = aligned_alloc(DMA_PAGE_SIZE, DMA_PAGE_SIZE);
	assert_non_null(s->pages[i]);
	memset(s->pages[i], 0, DMA_PAGE_SIZE);
	*page = (struct dma_page){ .memory = s->pages[i],
				   .address = DMA_BASE + (uint64_t)i * DMA_PAGE_SIZE };
	return 0;
}

static void dma_give(void *context, struct dma_page *page)
{
	struct sim_pci *s = context;
	uint64_t i = (page->address - DMA_BASE) / DMA_PAGE_SIZE;

	assert_ptr_equal(s->pages[i], page->memory);
	free(s->pages[i]);
	s->pages[i] = NULL;
	s->pages_left++;
	s->nr_pages--;
}

void *sim_dma(const struct sim_function *f, uint64_t address, uint64_t len)
{
	uint64_t i = (address - DMA_BASE) / DMA_PAGE_SIZE, offset = address % DMA_PAGE_SIZE;

	if (!(sim_get(f, PCI_COMMAND, 2) & PCI_COMMAND_MASTER))
		return NULL;
	if (i >= SIM_DMA_PAGES || !f->sim->pages[i] || len > DMA_PAGE_SIZE - offset)
		return NULL;
	return (char *)f->sim->pages[i] + offset;
}

/* ---- vectors, time, the log --------------------------------------------------------------------------- */

static int vector_take(void *context, void (*handler)(void *arg), void *arg,
		       struct msi_message *message)
{
	struct sim_pci *s = context;
	unsigned i = 0;

	if (!s->vectors_left)
		return -AVM_ENOSPC;
	while (s->vectors[i].handler)
		i++;
	s->vectors_left--;
	s->nr_vectors++;
	s->vectors[i] = (struct sim_vector){ .handler = handler, .arg = arg };
	*message =
		(struct msi_message){ .address = s->vector_address, .data = SIM_VECTOR_DATA + i };
	return (int)i;
}

static void vector_give(void *context, int vector)
{
	struct sim_pci *s = context;

	assert_in_range(vector, 0, SIM_VECTORS - 1);
	assert_non_null(s->vectors[vector].handler);
	s->vectors[vector].handler = NULL;
	s->vectors_left++;
	s->nr_vectors--;
}

void sim_deliver(struct sim_pci *s, uint64_t address, uint32_t data)
{
	assert_int_equal(address, s->vector_address);
	assert_in_range(data, SIM_VECTOR_DATA, SIM_VECTOR_DATA + SIM_VECTORS - 1);
	assert_non_null(s->vectors[data - SIM_VECTOR_DATA].handler);
	s->vectors[data - SIM_VECTOR_DATA].handler(s->vectors[data - SIM_VECTOR_DATA].arg);
}

/* Each look at the clock takes a microsecond, so that nobody waits for ever. */
static uint64_t microseconds(void *context)
{
	struct sim_pci *s = context;

	return s->now++;
}

static void wait_(void *context, bool interrupt_comes)
{
	struct sim_pci *s = context;

	(void)interrupt_comes;
	s->now += 1000;
	if (s->on_wait)
		s->on_wait(s);
}

static void log_(void *context, const char *line)
{
	struct sim_pci *s = context;
	size_t len = strlen(line);

	if (len + 2 > sizeof(s->log) - s->log_len)
		return;
	memcpy(s->log + s->log_len, line, len);
	s->log_len += len;
	s->log[s->log_len++] = '\n';
	s->log[s->log_len] = '\0';
}

bool sim_logged(const struct sim_pci *s, const char *text)
{
	return sim_count(s, text);
}

unsigned sim_count(const struct sim_pci *s, const char *text)
{
	unsigned n = 0;

	for (const char *p = strstr(s->log, text); p; p = strstr(p + 1, text))
		n++;
	return n;
}

/* ---- building ------------------------------------------------------------------------------------------ */

void sim_open(struct sim_pci *s)
{
	memset(s, 0, sizeof(*s));
	s->platform = (struct platform){ .context = s,
					 .config_read = config_read,
					 .config_write = config_write,
					 .map = map,
					 .mmio_read = mmio_read_,
					 .mmio_write = mmio_write_,
					 .dma_take = dma_take,
					 .dma_give = dma_give,
					 .vector_take = vector_take,
					 .vector_give = vector_give,
					 .microseconds = microseconds,
					 .wait = wait_,
					 .log = log_ };
	s->vectors_left = SIM_VECTORS;
	s->pages_left = SIM_DMA_PAGES;
	s->vector_address = SIM_VECTOR_ADDRESS;
}

void sim_close(struct sim_pci *s)
{
	assert_int_equal(s->nr_vectors, 0);
	assert_int_equal(s->nr_pages, 0);
}

struct sim_function *sim_add(struct sim_pci *s, unsigned bus, uint8_t devfn, uint16_t vendor,
			     uint16_t device, uint32_t class)
{
	struct sim_function *f = &s->functions[s->nr_functions++];

	assert_true(s->nr_functions <= SIM_FUNCTIONS);
	*f = (struct sim_function){ .sim = s, .bus = (uint8_t)bus, .devfn = devfn };
	sim_set(f, PCI_VENDOR, 4, vendor | (uint32_t)device << 16);
	sim_set(f, PCI_CLASS, 4, class << 8);
	sim_allow(f, PCI_COMMAND, 2, 0x0547);
	return f;
}

struct sim_function *sim_bridge(struct sim_pci *s, unsigned bus, uint8_t devfn, unsigned secondary,
				unsigned subordinate)
{
	struct sim_function *f = sim_add(s, bus, devfn, PCI_VENDOR_AMD, 0x9603, 0x060400);

	sim_set(f, PCI_HEADER_TYPE, 1, 1);
	sim_set(f, PCI_SECONDARY, 1, secondary);
	sim_set(f, PCI_SUBORDINATE, 1, subordinate);
	return f;
}

void sim_bar(struct sim_function *f, unsigned bar, uint32_t address, uint32_t size)
{
	sim_set(f, PCI_BAR0 + 4 * bar, 4, address);
	sim_allow(f, PCI_BAR0 + 4 * bar, 4, ~(size - 1));
}

void sim_bar64(struct sim_function *f, unsigned bar, uint64_t address, uint64_t size)
{
	unsigned o = PCI_BAR0 + 4 * bar;
	uint64_t bits = ~(size - 1);

	sim_set(f, o, 4, (uint32_t)address | PCI_BAR_64);
	sim_set(f, o + 4, 4, (uint32_t)(address >> 32));
	sim_allow(f, o, 4, (uint32_t)bits);
	sim_allow(f, o + 4, 4, (uint32_t)(bits >> 32));
}

void sim_cap(struct sim_function *f, unsigned at, uint8_t id, unsigned next)
{
	if (!f->config[PCI_CAPS]) {
		sim_set(f, PCI_STATUS, 2, sim_get(f, PCI_STATUS, 2) | PCI_STATUS_CAPS);
		sim_set(f, PCI_CAPS, 1, at);
	}
	sim_set(f, at, 2, id | next << 8);
}

void sim_msi(struct sim_function *f, unsigned at)
{
	sim_cap(f, at, PCI_CAP_MSI, 0);
	sim_set(f, at + PCI_MSI_CONTROL, 2, PCI_MSI_64);
	sim_allow(f, at + PCI_MSI_CONTROL, 2, PCI_MSI_ENABLE | PCI_MSI_COUNT);
	sim_allow(f, at + PCI_MSI_ADDRESS, 4, ~3u);
	sim_allow(f, at + PCI_MSI_ADDRESS + 4, 4, UINT32_MAX);
	sim_allow(f, at + 12, 2, 0xffff);
}

bool sim_send_msi(struct sim_function *f)
{
	unsigned at = f->config[PCI_CAPS];
	uint32_t control = sim_get(f, at + PCI_MSI_CONTROL, 2);
	uint64_t address = sim_get(f, at + PCI_MSI_ADDRESS, 4);

	if (!(control & PCI_MSI_ENABLE) || !(sim_get(f, PCI_COMMAND, 2) & PCI_COMMAND_MASTER))
		return false;
	if (control & PCI_MSI_64)
		address |= (uint64_t)sim_get(f, at + PCI_MSI_ADDRESS + 4, 4) << 32;
	sim_deliver(f->sim, address, sim_get(f, at + (control & PCI_MSI_64 ? 12 : 8), 2));
	return true;
}

struct pci_dev *sim_found(struct sim_pci *s, unsigned bus, uint8_t devfn)
{
	for (unsigned i = 0; i < s->pci.nr_devs; i++) {
		if (s->pci.devs[i].bus->number == bus && s->pci.devs[i].devfn == devfn)
			return &s->pci.devs[i];
	}
	return NULL;
}
