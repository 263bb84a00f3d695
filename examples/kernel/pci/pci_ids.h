/* SPDX-License-Identifier: MIT */
/* pci_ids.h - numbers of vendors, and of devices that something is known of. */
#ifndef PCI_IDS_H
#define PCI_IDS_H

#define PCI_VENDOR_ATI 0x1002
#define PCI_VENDOR_AMD 0x1022
#define AMD_8131 0x7450
#define RS780_HOST 0x9600
#define RS880_HOST 0x9601
#define RS780_INT_GFX_BRIDGE 0x9602

#define PCI_VENDOR_ASUSTEK 0x1043
#define PCI_VENDOR_ASROCK 0x1849

#define PCI_VENDOR_INTEL 0x8086
#define PIIX4_POWER 0x7113

#define PCI_VENDOR_QEMU 0x1234
#define QEMU_EDU 0x11e8

#define PCI_VENDOR_VIRTIO 0x1af4
#define VIRTIO_BLK_TRANSITIONAL 0x1001
#define VIRTIO_BLK 0x1042

#endif
