/* SPDX-License-Identifier: MIT */
/* gcc's own limits.h goes on to the next one, libc's, when gcc was built with a libc: this one. */
