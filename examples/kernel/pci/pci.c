/* SPDX-License-Identifier: MIT */
/* pci.c - registers of one device, and drivers. */
#include "pci.h"
#include "pci_regs.h"

uint32_t pci_read(const struct pci_dev *dev, unsigned offset, unsigned size)
{
	const struct platform *p = dev->pci->platform;

	return p->config_read(p->context, dev->bus->number, dev->devfn, offset, size);
}

void pci_write(const struct pci_dev *dev, unsigned offset, unsigned size, uint32_t value)
{
	const struct platform *p = dev->pci->platform;

	p->config_write(p->context, dev->bus->number, dev->devfn, offset, size, value);
}

static void say(const struct pci_dev *dev, const char *format, va_list ap)
{
	static const char digits[] = "0123456789abcdef";
	unsigned bus = dev->bus->number, slot = dev->devfn >> 3;
	const char place[] = { 'p',
			       'c',
			       'i',
			       ' ',
			       digits[bus >> 4],
			       digits[bus & 15],
			       ':',
			       digits[slot >> 4],
			       digits[slot & 15],
			       '.',
			       digits[dev->devfn & 7],
			       ':',
			       ' ',
			       '\0' };

	platform_vlog(dev->pci->platform, place, format, ap);
}

void pci_log(const struct pci_dev *dev, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(dev, format, ap);
	va_end(ap);
}

void pci_fault(const struct pci_dev *dev, const char *format, ...)
{
	va_list ap;

	dev->pci->nr_faults++;
	va_start(ap, format);
	say(dev, format, ap);
	va_end(ap);
}

void pci_command(const struct pci_dev *dev, uint16_t set, uint16_t clear)
{
	uint32_t command = pci_read(dev, PCI_COMMAND, 2);

	pci_write(dev, PCI_COMMAND, 2, (command | set) & ~(uint32_t)clear);
}

bool pci_matches(const struct pci_id *id, const struct pci_dev *dev)
{
	return (id->vendor == PCI_ANY || id->vendor == dev->vendor) &&
	       (id->device == PCI_ANY || id->device == dev->device);
}

static bool drives(const struct pci_driver *driver, const struct pci_dev *dev)
{
	for (const struct pci_id *id = driver->ids; id->vendor; id++) {
		if (pci_matches(id, dev))
			return true;
	}
	return false;
}

unsigned pci_bind(struct pci *pci, const struct pci_driver *driver, void *context)
{
	unsigned bound = 0;

	for (struct pci_dev *dev = pci->devs; dev < pci->devs + pci->nr_devs; dev++) {
		if (dev->driver || !drives(driver, dev))
			continue;
		dev->driver = driver; /* its rules hold during probe() */
		if (driver->probe(dev, context) == 0)
			bound++;
		else
			dev->driver = NULL;
	}
	return bound;
}
