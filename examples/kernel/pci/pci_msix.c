/* SPDX-License-Identifier: MIT */
/*
 * pci_msix.c - MSI-X: messages from a table in the memory of the device.
 *
 * One entry is enough for a device with one queue; the others are masked, since the firmware may have left anything there.
 */
#include "pci.h"
#include "pci_regs.h"

static int map_table(struct pci_dev *dev, unsigned at, unsigned entries, struct mmio *table)
{
	uint32_t where = pci_read(dev, at + PCI_MSIX_TABLE, 4);
	unsigned bar = where & PCI_MSIX_BAR;
	int err = pci_map_bar(dev, bar, where & ~PCI_MSIX_BAR, (uint64_t)entries * PCI_MSIX_ENTRY,
			      table);

	if (err == -AVM_ENXIO || err == -AVM_EINVAL) {
		pci_fault(dev, "no MSI-X: a table of %u entries at %x does not lie in BAR %u",
			  entries, where & ~PCI_MSIX_BAR, bar);
		return -AVM_EIO;
	}
	return err;
}

static void write_entry(const struct mmio *table, const struct msi_message *message)
{
	mmio_write(table, PCI_MSIX_ENTRY_ADDRESS, 4, (uint32_t)message->address);
	mmio_write(table, PCI_MSIX_ENTRY_UPPER, 4, (uint32_t)(message->address >> 32));
	mmio_write(table, PCI_MSIX_ENTRY_DATA, 4, message->data);
	mmio_write(table, PCI_MSIX_ENTRY_CONTROL, 4, 0);
}

/*
 * 0, or -EIO: it did not take. The device is enabled with everything masked first, since there may be no way to the table
 * before.
 */
static int send(struct pci_dev *dev, unsigned at, const struct mmio *table, unsigned entries,
		const struct msi_message *message)
{
	unsigned control_at = at + PCI_MSIX_CONTROL;
	uint32_t control = pci_read(dev, control_at, 2) | PCI_MSIX_ENABLE;

	pci_write(dev, control_at, 2, control | PCI_MSIX_MASK_ALL);
	if (!(pci_read(dev, control_at, 2) & PCI_MSIX_ENABLE)) {
		pci_fault(dev, "no MSI-X: the capability at %02x cannot be enabled", at);
		return -AVM_EIO;
	}
	for (unsigned i = 1; i < entries; i++)
		mmio_write(table, (uint64_t)i * PCI_MSIX_ENTRY + PCI_MSIX_ENTRY_CONTROL, 4,
			   PCI_MSIX_ENTRY_MASKED);
	write_entry(table, message);
	pci_command(dev, PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX, 0);
	pci_write(dev, control_at, 2, control & ~PCI_MSIX_MASK_ALL);
	return 0;
}

int pci_enable_msix(struct pci_dev *dev, void (*handler)(void *arg), void *arg)
{
	const struct platform *p = dev->pci->platform;
	int cap = pci_next_cap(dev, PCI_CAP_MSIX, 0), err = pci_may_send(dev);
	struct msi_message message;
	struct mmio table;
	unsigned at, entries;

	if (err)
		return err;
	if (cap < 0)
		return -AVM_ENODEV;
	at = dev->caps[cap].at;
	if (at + PCI_MSIX_CAP_SIZE > PCI_CONFIG_SIZE) {
		pci_fault(dev, "no MSI-X: the capability at %02x does not fit", at);
		return -AVM_EIO;
	}
	entries = (pci_read(dev, at + PCI_MSIX_CONTROL, 2) & PCI_MSIX_SIZE) + 1;
	err = map_table(dev, at, entries, &table);
	if (err)
		return err;
	dev->vector = p->vector_take(p->context, handler, arg, &message);
	if (dev->vector < 0)
		return dev->vector;
	dev->irq = PCI_IRQ_MSIX;
	err = send(dev, at, &table, entries, &message);
	if (err) {
		pci_disable_messages(dev);
		return err;
	}
	pci_log(dev, "MSI-X, vector %u, entry 0 of %u", (unsigned)dev->vector, entries);
	return 0;
}
