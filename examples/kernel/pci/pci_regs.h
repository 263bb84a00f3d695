/* SPDX-License-Identifier: MIT */
/* pci_regs.h - configuration space, as the PCI Local Bus and PCI-to-PCI Bridge specifications lay it out. */
#ifndef PCI_REGS_H
#define PCI_REGS_H

#define PCI_CONFIG_SIZE 256

#define PCI_VENDOR 0x00 /* 2; the device's number in the upper half of the same dword */
#define PCI_COMMAND 0x04 /* 2 */
#define PCI_COMMAND_IO 0x0001u
#define PCI_COMMAND_MEMORY 0x0002u
#define PCI_COMMAND_MASTER 0x0004u /* may read and write memory, and send messages */
#define PCI_COMMAND_NO_INTX 0x0400u
#define PCI_STATUS 0x06 /* 2 */
#define PCI_STATUS_CAPS 0x0010u
#define PCI_CLASS 0x08 /* 4: class, subclass, interface in the upper three bytes */
#define PCI_HEADER_TYPE 0x0e /* 1 */
#define PCI_HEADER_MASK 0x7fu
#define PCI_HEADER_MULTI 0x80u
#define PCI_BAR0 0x10 /* 4 each: six of a device, two of a bridge */
#define PCI_BAR_IO 0x1u
#define PCI_BAR_IO_FLAGS 0x3u
#define PCI_BAR_FLAGS 0xfu
#define PCI_BAR_TYPE 0x6u
#define PCI_BAR_32 0x0u
#define PCI_BAR_64 0x4u
#define PCI_CAPS 0x34 /* 1 */

/* Type 1: a bridge to another bus. */
#define PCI_SECONDARY 0x19 /* 1 */
#define PCI_SUBORDINATE 0x1a /* 1 */

#define PCI_CLASS_HOST 0x0600 /* the upper two bytes */
#define PCI_CLASS_BRIDGE 0x0604
#define PCI_CLASS_VGA 0x0300
#define PCI_CLASS_HDA 0x0403

/* Capabilities: identity and next, a byte each, and what follows. */
#define PCI_CAP_FIRST 0x40 /* below is the header */
#define PCI_CAP_MSI 0x05
#define PCI_CAP_VENDOR 0x09
#define PCI_CAP_MSIX 0x11

#define PCI_MSI_CONTROL 2 /* 2 */
#define PCI_MSI_ENABLE 0x0001u
#define PCI_MSI_COUNT 0x0070u /* log2 of how many messages are in use */
#define PCI_MSI_64 0x0080u
#define PCI_MSI_MASKS 0x0100u
#define PCI_MSI_ADDRESS 4 /* 4; then, with PCI_MSI_64, the upper half */

#define PCI_MSIX_CONTROL 2 /* 2 */
#define PCI_MSIX_SIZE 0x07ffu /* of the table, less one */
#define PCI_MSIX_MASK_ALL 0x4000u
#define PCI_MSIX_ENABLE 0x8000u
#define PCI_MSIX_TABLE 4 /* 4: offset, and the BAR in the low three bits */
#define PCI_MSIX_PBA 8
#define PCI_MSIX_BAR 0x7u
#define PCI_MSIX_CAP_SIZE 12

/* An entry of the table. */
#define PCI_MSIX_ENTRY 16
#define PCI_MSIX_ENTRY_ADDRESS 0
#define PCI_MSIX_ENTRY_UPPER 4
#define PCI_MSIX_ENTRY_DATA 8
#define PCI_MSIX_ENTRY_CONTROL 12
#define PCI_MSIX_ENTRY_MASKED 0x1u

#endif
