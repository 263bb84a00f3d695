/* SPDX-License-Identifier: MIT */
/* pci_msi.c - who may send messages, and MSI. */
#include "pci.h"
#include "pci_regs.h"

/*
 * A message is a write that has to find its way through every bus above, so each of them is asked. The flag is inherited,
 * but a bus may have been flagged by hand as well.
 */
const char *pci_msi_refusal(const struct pci_dev *dev)
{
	for (const struct pci_bus *b = dev->bus; b; b = b->parent) {
		if (b->flags & PCI_BUS_NO_MSI)
			return b->why;
	}
	if (dev->flags & PCI_DEV_NO_MSI)
		return dev->why;
	if (dev->driver && dev->driver->no_msi)
		return dev->driver->no_msi(dev);
	return NULL;
}

int pci_may_send(const struct pci_dev *dev)
{
	const char *why = pci_msi_refusal(dev);

	if (why) {
		pci_log(dev, "no MSI: %s", why);
		return -AVM_EOPNOTSUPP;
	}
	return dev->irq == PCI_IRQ_NONE ? 0 : -AVM_EBUSY;
}

/* Behind an address of one or two halves stands the data, and behind that the masks, where there are any. */
static unsigned data_at(unsigned at, uint32_t control)
{
	return at + (control & PCI_MSI_64 ? 12 : 8);
}

static unsigned mask_at(unsigned at, uint32_t control)
{
	return data_at(at, control) + 4;
}

static unsigned end_of(unsigned at, uint32_t control)
{
	return control & PCI_MSI_MASKS ? mask_at(at, control) + 8 : data_at(at, control) + 2;
}

static void write_message(const struct pci_dev *dev, unsigned at, uint32_t control,
			  const struct msi_message *message)
{
	pci_write(dev, at + PCI_MSI_ADDRESS, 4, (uint32_t)message->address);
	if (control & PCI_MSI_64)
		pci_write(dev, at + PCI_MSI_ADDRESS + 4, 4, (uint32_t)(message->address >> 32));
	pci_write(dev, data_at(at, control), 2, message->data);
	if (control & PCI_MSI_MASKS)
		pci_write(dev, mask_at(at, control), 4, 0);
}

/* 0, or -EIO: it did not take. */
static int send(struct pci_dev *dev, unsigned at, uint32_t control,
		const struct msi_message *message)
{
	if (message->address >> 32 && !(control & PCI_MSI_64)) {
		pci_fault(dev, "no MSI: the capability at %02x has no room for the address", at);
		return -AVM_EIO;
	}
	pci_write(dev, at + PCI_MSI_CONTROL, 2, control);
	write_message(dev, at, control, message);
	pci_command(dev, PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX, 0);
	pci_write(dev, at + PCI_MSI_CONTROL, 2, control | PCI_MSI_ENABLE);
	if (pci_read(dev, at + PCI_MSI_CONTROL, 2) & PCI_MSI_ENABLE)
		return 0;
	pci_fault(dev, "no MSI: the capability at %02x cannot be enabled", at);
	return -AVM_EIO;
}

int pci_enable_msi(struct pci_dev *dev, void (*handler)(void *arg), void *arg)
{
	const struct platform *p = dev->pci->platform;
	int cap = pci_next_cap(dev, PCI_CAP_MSI, 0), err = pci_may_send(dev);
	struct msi_message message;
	uint32_t control;
	unsigned at;

	if (err)
		return err;
	if (cap < 0)
		return -AVM_ENODEV;
	at = dev->caps[cap].at;
	control = pci_read(dev, at + PCI_MSI_CONTROL, 2) & ~(PCI_MSI_ENABLE | PCI_MSI_COUNT);
	if (end_of(at, control) > PCI_CONFIG_SIZE) {
		pci_fault(dev, "no MSI: the capability at %02x does not fit", at);
		return -AVM_EIO;
	}
	dev->vector = p->vector_take(p->context, handler, arg, &message);
	if (dev->vector < 0)
		return dev->vector;
	dev->irq = PCI_IRQ_MSI;
	err = send(dev, at, control, &message);
	if (err) {
		pci_disable_messages(dev);
		return err;
	}
	pci_log(dev, "MSI, vector %u", (unsigned)dev->vector);
	return 0;
}

static void disable(struct pci_dev *dev, uint8_t id, unsigned offset, uint32_t bit)
{
	unsigned at = dev->caps[pci_next_cap(dev, id, 0)].at + offset;

	pci_write(dev, at, 2, pci_read(dev, at, 2) & ~bit);
}

void pci_disable_messages(struct pci_dev *dev)
{
	const struct platform *p = dev->pci->platform;

	if (dev->irq == PCI_IRQ_NONE)
		return;
	if (dev->irq == PCI_IRQ_MSI)
		disable(dev, PCI_CAP_MSI, PCI_MSI_CONTROL, PCI_MSI_ENABLE);
	else
		disable(dev, PCI_CAP_MSIX, PCI_MSIX_CONTROL, PCI_MSIX_ENABLE);
	pci_command(dev, 0, PCI_COMMAND_NO_INTX);
	p->vector_give(p->context, dev->vector);
	dev->vector = -1;
	dev->irq = PCI_IRQ_NONE;
}
