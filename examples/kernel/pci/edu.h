/* SPDX-License-Identifier: MIT */
/* edu.h - QEMU's device for teaching: it computes factorials and interrupts when asked to. */
#ifndef EDU_H
#define EDU_H

#include "pci.h"

struct edu {
	struct pci_dev *dev; /* NULL: there is none */
	struct mmio registers;
	volatile unsigned interrupts; /* messages that came */
	volatile uint32_t cause; /* of the last one */
};

extern const struct pci_driver edu_driver;

/* Has the device raise an interrupt and waits for it. 0; -EIO: it did not come in time. */
int edu_interrupt(struct edu *e, uint32_t cause);

/* n! modulo 2^32 as the device finds it, which interrupts when done if it may. 0 or -EIO. */
int edu_factorial(struct edu *e, uint32_t n, uint32_t *result);

#endif
