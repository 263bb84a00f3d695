/* SPDX-License-Identifier: MIT */
/* pci_cap.c - the list of capabilities. */
#include "pci.h"
#include "pci_regs.h"

#define NOBODY 0xff /* the identity that a register reads as where nothing answers */

static void disbelieve(struct pci_dev *dev, const char *what, unsigned at)
{
	pci_fault(dev, "the list of capabilities %s at %02x; it counts as empty", what, at);
	dev->nr_caps = 0;
}

void pci_read_caps(struct pci_dev *dev)
{
	uint64_t seen = 0; /* a bit for each dword */
	unsigned at;

	dev->nr_caps = 0;
	if (!(pci_read(dev, PCI_STATUS, 2) & PCI_STATUS_CAPS))
		return;
	/* The two low bits are reserved, and to be ignored. */
	at = pci_read(dev, PCI_CAPS, 1) & 0xfcu;
	while (at) {
		uint32_t head;

		if (at < PCI_CAP_FIRST) {
			disbelieve(dev, "leads into the header,", at);
			return;
		}
		if (seen >> (at / 4) & 1) {
			disbelieve(dev, "loops,", at);
			return;
		}
		seen |= 1ull << (at / 4);
		head = pci_read(dev, at, 2);
		if ((head & 0xff) == NOBODY) {
			disbelieve(dev, "leads nowhere,", at);
			return;
		}
		/* No more than PCI_MAX_CAPS dwords can be seen. */
		dev->caps[dev->nr_caps++] =
			(struct pci_cap){ .id = (uint8_t)head, .at = (uint8_t)at };
		at = head >> 8 & 0xfcu;
	}
}

int pci_next_cap(const struct pci_dev *dev, uint8_t id, int from)
{
	for (int i = from; i < dev->nr_caps; i++) {
		if (dev->caps[i].id == id)
			return i;
	}
	return -1;
}
