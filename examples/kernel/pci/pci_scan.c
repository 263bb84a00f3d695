/* SPDX-License-Identifier: MIT */
/*
 * pci_scan.c - what hangs on which bus.
 *
 * Buses are looked at in the order in which they are found: pci->buses is the queue, and nothing calls itself. A bridge is
 * followed only if its numbers lie strictly inside those of the bus it is on, and not inside those of a neighbour: then
 * every number is looked at once at most, whatever the registers say.
 */
#include "pci.h"
#include "pci_regs.h"

#define SLOTS 32
#define FUNCTIONS 8

struct pci_dev *pci_get_slot(struct pci_bus *bus, uint8_t devfn)
{
	struct pci *pci = bus->pci;

	for (struct pci_dev *dev = pci->devs; dev < pci->devs + pci->nr_devs; dev++) {
		if (dev->bus == bus && dev->devfn == devfn)
			return dev;
	}
	return NULL;
}

/* A neighbour on the same bus whose numbers meet [first, last]. */
static const struct pci_bus *neighbour(const struct pci_bus *parent, unsigned first, unsigned last)
{
	const struct pci *pci = parent->pci;

	for (const struct pci_bus *b = pci->buses; b < pci->buses + pci->nr_buses; b++) {
		if (b->parent == parent && b->number <= last && first <= b->last)
			return b;
	}
	return NULL;
}

/* Why the buses [first, last] cannot lie behind a bridge on `parent`, or NULL. */
static const char *nonsense(const struct pci_bus *parent, unsigned first, unsigned last)
{
	if (!first)
		return "the firmware has given it no bus";
	if (last < first)
		return "the last is below the first";
	if (first <= parent->number)
		return "they lead back to where it is";
	if (last > parent->last)
		return "they leave those of the bus it is on";
	if (neighbour(parent, first, last))
		return "a neighbour has them";
	return NULL;
}

static void add_behind(struct pci_dev *bridge)
{
	struct pci *pci = bridge->pci;
	struct pci_bus *bus = &pci->buses[pci->nr_buses], *parent = bridge->bus;
	unsigned first = pci_read(bridge, PCI_SECONDARY, 1);
	unsigned last = pci_read(bridge, PCI_SUBORDINATE, 1);
	const char *why = nonsense(parent, first, last);

	if (!why && pci->nr_buses == PCI_MAX_BUSES)
		why = "there are too many buses";
	if (why) {
		pci_fault(bridge, "nothing is looked for on buses %02x to %02x: %s", first, last,
			  why);
		return;
	}
	*bus = (struct pci_bus){ .pci = pci,
				 .parent = parent,
				 .bridge = bridge,
				 .flags = parent->flags,
				 .why = parent->why,
				 .number = (uint8_t)first,
				 .last = (uint8_t)last };
	pci->nr_buses++;
	bridge->behind = bus;
}

/* The identity of a function; false where nobody answers. */
static bool answers(const struct pci_dev *dev, uint32_t *id)
{
	*id = pci_read(dev, PCI_VENDOR, 4);
	return (*id & 0xffff) != 0xffff && (*id & 0xffff) != 0;
}

/* Looks at one function. Whether there may be more in the slot. */
static bool add_function(struct pci_bus *bus, uint8_t devfn)
{
	struct pci *pci = bus->pci;
	struct pci_dev at = { .pci = pci, .bus = bus, .devfn = devfn, .vector = -1 };
	struct pci_dev *dev = &pci->devs[pci->nr_devs];
	uint32_t id, header;

	if (!answers(&at, &id))
		return false;
	header = pci_read(&at, PCI_HEADER_TYPE, 1);
	at.header = header & PCI_HEADER_MASK;
	if (at.header > 1) {
		pci_fault(&at, "%04x:%04x is left alone: its header is of type %02x", id & 0xffff,
			  id >> 16, at.header);
		return header & PCI_HEADER_MULTI;
	}
	if (pci->nr_devs == PCI_MAX_DEVS) {
		pci_fault(&at, "%04x:%04x is left alone: there are too many devices", id & 0xffff,
			  id >> 16);
		return false;
	}
	at.vendor = (uint16_t)id;
	at.device = (uint16_t)(id >> 16);
	at.class = pci_read(&at, PCI_CLASS, 4) >> 8;
	*dev = at;
	pci->nr_devs++;
	pci_read_caps(dev);
	pci_read_bars(dev);
	pci_log(dev, "%04x:%04x class %06x%s", dev->vendor, dev->device, dev->class,
		dev->header ? ", a bridge" : "");
	pci_run_fixups(dev, pci_fixups, PCI_PASS_HEADER);
	if (dev->header)
		add_behind(dev);
	return header & PCI_HEADER_MULTI;
}

static void scan_bus(struct pci_bus *bus)
{
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		if (!add_function(bus, PCI_DEVFN(slot, 0)))
			continue;
		for (unsigned function = 1; function < FUNCTIONS; function++)
			add_function(bus, PCI_DEVFN(slot, function));
	}
}

int pci_scan(struct pci *pci, const struct platform *platform)
{
	pci->platform = platform;
	pci->nr_devs = 0;
	pci->nr_faults = 0;
	pci->nr_buses = 1;
	pci->buses[0] = (struct pci_bus){ .pci = pci, .last = UINT8_MAX };
	for (unsigned i = 0; i < pci->nr_buses; i++)
		scan_bus(&pci->buses[i]);
	if (!pci->nr_devs) {
		platform_log(platform, "pci: nobody answers");
		return -AVM_ENODEV;
	}
	pci_check_bars(pci);
	for (unsigned i = 0; i < pci->nr_devs; i++)
		pci_run_fixups(&pci->devs[i], pci_fixups, PCI_PASS_FINAL);
	return (int)pci->nr_devs;
}
