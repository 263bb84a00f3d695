/* SPDX-License-Identifier: MIT */
/* edu.c - the driver of QEMU's edu device, from its documentation. */
#include "edu.h"
#include "pci_ids.h"

#define EDU_SIZE 0x1000 /* of the registers below; the BAR is 1 MiB */
#define EDU_ID 0x00 /* 0xRRrr00ed: revision, identity */
#define EDU_LIVE 0x04 /* reads as the complement of what was written */
#define EDU_FACTORIAL 0x08
#define EDU_STATUS 0x20
#define EDU_STATUS_BUSY 0x01u
#define EDU_STATUS_IRQ 0x80u /* interrupt when a factorial is done */
#define EDU_IRQ_STATUS 0x24 /* the cause */
#define EDU_IRQ_RAISE 0x60
#define EDU_IRQ_ACK 0x64

#define PATIENCE 1000000 /* microseconds */

static void interrupted(void *arg)
{
	struct edu *e = arg;
	uint32_t cause = mmio_read(&e->registers, EDU_IRQ_STATUS, 4);

	mmio_write(&e->registers, EDU_IRQ_ACK, 4, cause);
	e->cause = cause;
	e->interrupts++;
}

static bool alive(const struct edu *e)
{
	const uint32_t word = 0x5ca1ab1e;

	mmio_write(&e->registers, EDU_LIVE, 4, word);
	return (mmio_read(&e->registers, EDU_ID, 4) & 0xff) == 0xed &&
	       mmio_read(&e->registers, EDU_LIVE, 4) == ~word;
}

static int probe(struct pci_dev *dev, void *context)
{
	struct edu *e = context;
	int err;

	if (e->dev)
		return -AVM_EBUSY; /* one is enough */
	err = pci_map_bar(dev, 0, 0, EDU_SIZE, &e->registers);
	if (err) {
		pci_log(dev, "edu: its registers cannot be had");
		return err;
	}
	if (!alive(e)) {
		pci_log(dev, "edu: it is not one");
		return -AVM_ENODEV;
	}
	e->interrupts = 0;
	if (pci_enable_msi(dev, interrupted, e))
		pci_log(dev, "edu: without interrupts");
	e->dev = dev;
	return 0;
}

static const struct pci_id ids[] = { { PCI_VENDOR_QEMU, QEMU_EDU }, { 0 } };
const struct pci_driver edu_driver = { .name = "edu", .ids = ids, .probe = probe };

int edu_interrupt(struct edu *e, uint32_t cause)
{
	const struct platform *p = e->dev->pci->platform;
	uint64_t end = p->microseconds(p->context) + PATIENCE;
	unsigned before = e->interrupts;

	mmio_write(&e->registers, EDU_IRQ_RAISE, 4, cause);
	while (e->interrupts == before) {
		if (p->microseconds(p->context) > end)
			return -AVM_EIO;
		p->wait(p->context, e->dev->irq);
	}
	return 0;
}

int edu_factorial(struct edu *e, uint32_t n, uint32_t *result)
{
	const struct platform *p = e->dev->pci->platform;
	uint64_t end = p->microseconds(p->context) + PATIENCE;

	mmio_write(&e->registers, EDU_STATUS, 4, e->dev->irq ? EDU_STATUS_IRQ : 0);
	mmio_write(&e->registers, EDU_FACTORIAL, 4, n);
	while (mmio_read(&e->registers, EDU_STATUS, 4) & EDU_STATUS_BUSY) {
		if (p->microseconds(p->context) > end)
			return -AVM_EIO;
		p->wait(p->context, e->dev->irq);
	}
	*result = mmio_read(&e->registers, EDU_FACTORIAL, 4);
	return 0;
}
