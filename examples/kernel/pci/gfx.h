/* SPDX-License-Identifier: MIT */
/* gfx.h - which graphics may interrupt by message: the rule of a driver for the Radeons of 2010. */
#ifndef GFX_H
#define GFX_H

#include "pci.h"

/* In the order in which they came: older ones are smaller. */
enum gfx_family {
	GFX_UNKNOWN,
	GFX_R100,
	GFX_RV200,
	GFX_RS200,
	GFX_R300,
	GFX_RV380,
	GFX_R420,
	GFX_RS480,
	GFX_RS690,
	GFX_R520,
	GFX_R600,
	GFX_RV610,
	GFX_RS780,
	GFX_RS880,
	GFX_RV770,
	GFX_RV710,
};

struct gfx_chip {
	uint16_t device;
	uint8_t family;
	bool integrated; /* into the chipset: its messages are the bridge's business */
};

struct gfx {
	unsigned cards;
	volatile unsigned interrupts;
};

/* What is known of it; NULL: nothing. */
const struct gfx_chip *gfx_chip(const struct pci_dev *dev);

/* Counts the cards that it finds, and has each interrupt by message that may. The context is a struct gfx. */
extern const struct pci_driver gfx_driver;

#endif
