/* SPDX-License-Identifier: MIT */
/*
 * pci_bar.c - where a device has its registers, and how many.
 *
 * A size is found by writing ones and seeing which bits stay zero. Meanwhile the device must not decode, or its memory
 * would lie over somebody else's.
 */
#include "pci.h"
#include "pci_regs.h"

static unsigned bar_offset(unsigned bar)
{
	return PCI_BAR0 + 4 * bar;
}

/* Which bits of the register can be set. `was` is put back; false if the device does not keep it. */
static bool probe(const struct pci_dev *dev, unsigned bar, uint32_t was, uint32_t *mask)
{
	unsigned offset = bar_offset(bar);

	pci_write(dev, offset, 4, UINT32_MAX);
	*mask = pci_read(dev, offset, 4);
	pci_write(dev, offset, 4, was);
	return pci_read(dev, offset, 4) == was;
}

static void refuse(struct pci_dev *dev, unsigned bar, const char *why)
{
	pci_fault(dev, "BAR %u is refused: %s", bar, why);
	dev->bars[bar] = (struct pci_bar){ .kind = PCI_BAR_REFUSED };
}

/* `mask` has a one for each bit of an address that can be chosen: ones above, zeroes below, or it is no size. */
static void set_bar(struct pci_dev *dev, unsigned bar, enum pci_bar_kind kind, uint64_t address,
		    uint64_t mask)
{
	uint64_t size = ~mask + 1;

	if (!mask)
		return;
	if (size & (size - 1)) {
		refuse(dev, bar, "its size is no power of two");
		return;
	}
	if (address & (size - 1)) {
		refuse(dev, bar, "its address is not a multiple of its size");
		return;
	}
	dev->bars[bar] = (struct pci_bar){ .address = address, .size = size, .kind = kind };
}

static void read_ports(struct pci_dev *dev, unsigned bar, uint32_t was)
{
	uint32_t mask;

	if (!probe(dev, bar, was, &mask)) {
		refuse(dev, bar, "it does not keep its address");
		return;
	}
	mask &= ~PCI_BAR_IO_FLAGS;
	if (!mask)
		return;
	/* There are 64 Ki ports; the upper half of the register may be missing. */
	set_bar(dev, bar, PCI_BAR_PORTS, was & ~PCI_BAR_IO_FLAGS,
		~(uint64_t)UINT16_MAX | (mask & UINT16_MAX));
}

/* Returns how many registers it takes. */
static unsigned read_memory(struct pci_dev *dev, unsigned bar, unsigned nr, uint32_t was)
{
	bool wide = (was & PCI_BAR_TYPE) == PCI_BAR_64;
	uint64_t address = was & ~PCI_BAR_FLAGS, settable;
	uint32_t mask, upper = UINT32_MAX;
	bool kept;

	if (wide && bar + 1 == nr) {
		refuse(dev, bar, "its upper half would lie outside");
		return 1;
	}
	kept = probe(dev, bar, was, &mask);
	mask &= ~PCI_BAR_FLAGS;
	settable = ~(uint64_t)UINT32_MAX | mask;
	if (wide) {
		uint32_t high = pci_read(dev, bar_offset(bar + 1), 4);

		kept = probe(dev, bar + 1, high, &upper) && kept;
		address |= (uint64_t)high << 32;
		settable = (uint64_t)upper << 32 | mask;
	}
	if (!kept)
		refuse(dev, bar, "it does not keep its address");
	else if (wide || mask)
		set_bar(dev, bar, PCI_BAR_MEMORY, address, settable);
	return wide ? 2 : 1;
}

static unsigned read_bar(struct pci_dev *dev, unsigned bar, unsigned nr)
{
	uint32_t was = pci_read(dev, bar_offset(bar), 4), type = was & PCI_BAR_TYPE;

	if (was & PCI_BAR_IO) {
		read_ports(dev, bar, was);
		return 1;
	}
	if (type == PCI_BAR_32 || type == PCI_BAR_64)
		return read_memory(dev, bar, nr, was);
	refuse(dev, bar, "it is of no known type");
	return 1;
}

/*
 * Not of a host bridge: what it decodes is the way to memory, which would be shut for everybody, and there is nothing that a
 * driver would want.
 */
void pci_read_bars(struct pci_dev *dev)
{
	unsigned nr = dev->header == 0 ? PCI_BARS : 2, bar = 0;
	uint32_t command = pci_read(dev, PCI_COMMAND, 2);

	if (dev->class >> 8 == PCI_CLASS_HOST)
		return;
	pci_write(dev, PCI_COMMAND, 2, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
	while (bar < nr)
		bar += read_bar(dev, bar, nr);
	pci_write(dev, PCI_COMMAND, 2, command);
}

/* What was found before `dev`, and before its BAR `nr`, and overlaps this one. */
static const struct pci_dev *overlaps(const struct pci_dev *dev, unsigned nr)
{
	const struct pci_bar *bar = &dev->bars[nr];

	for (const struct pci_dev *other = dev->pci->devs; other <= dev; other++) {
		unsigned end = other == dev ? nr : PCI_BARS;

		for (const struct pci_bar *b = other->bars; b < other->bars + end; b++) {
			/* Last bytes, since an end may be 2^64. */
			if (b->kind == bar->kind && b->address &&
			    b->address <= bar->address + (bar->size - 1) &&
			    bar->address <= b->address + (b->size - 1))
				return other;
		}
	}
	return NULL;
}

void pci_check_bars(struct pci *pci)
{
	for (struct pci_dev *dev = pci->devs; dev < pci->devs + pci->nr_devs; dev++) {
		for (unsigned i = 0; i < PCI_BARS; i++) {
			struct pci_bar *bar = &dev->bars[i];

			if (!bar->address || bar->kind == PCI_BAR_REFUSED)
				continue;
			if (overlaps(dev, i))
				refuse(dev, i, "it overlaps one that was found before");
		}
	}
}

int pci_map_bar(const struct pci_dev *dev, unsigned bar, uint64_t offset, uint64_t size,
		struct mmio *m)
{
	const struct platform *p = dev->pci->platform;
	const struct pci_bar *b;
	int err;

	if (bar >= PCI_BARS)
		return -AVM_ENXIO;
	b = &dev->bars[bar];
	if (b->kind != PCI_BAR_MEMORY || !b->address)
		return -AVM_ENXIO;
	if (!size || size > b->size || offset > b->size - size)
		return -AVM_EINVAL;
	*m = (struct mmio){ .platform = p, .size = size };
	err = p->map(p->context, b->address + offset, size, &m->base);
	if (err) {
		pci_fault(dev, "BAR %u cannot be mapped at %llx: %s", bar,
			  (unsigned long long)b->address,
			  err == -AVM_EBUSY ? "something else lies there" : "out of reach");
		return err;
	}
	pci_command(dev, PCI_COMMAND_MEMORY, 0);
	return 0;
}
