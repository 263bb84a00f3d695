# SPDX-License-Identifier: MIT
"""What the checks of this folder share: where the tree is, the list of core files, the port."""

import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def strip_comments(text):
    """C text with comments blanked out, line numbers kept; strings are left alone."""

    def blank(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token
        return re.sub(r"[^\n]", " ", token)

    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, blank, text, flags=re.S)


def core_sources(root=ROOT, allow_missing=False):
    """The files of sources.mk, in its order."""
    listed = re.findall(r"\bsrc/[a-z0-9_]+\.c\b", read(os.path.join(root, "sources.mk")))
    there = [path for path in listed if os.path.exists(os.path.join(root, path))]
    missing = [path for path in listed if path not in there]
    if missing and not allow_missing:
        raise SystemExit("sources.mk lists files that do not exist: " + " ".join(missing))
    return there


def observer_sources(root=ROOT):
    """Those of them that an embedder may leave out."""
    _, _, listed = read(os.path.join(root, "sources.mk")).partition("AVM_OBSERVER_SOURCES")
    return re.findall(r"\bsrc/[a-z0-9_]+\.c\b", listed)


def port_tiers(text):
    """{tier: [functions]} of the port contract: prototypes below lines that say TIER n.

    Functions before the first such line count as tier None."""
    tiers = {None: []}
    current = None
    marked = re.split(r"/\*\s*(TIER \d+|END OF TIERS)\s*\*/", text)
    for i, part in enumerate(marked):
        if i % 2:
            current = int(part.split()[1]) if part.startswith("TIER") else "end"
            tiers.setdefault(current, [])
            continue
        code = re.sub(r"^\s*#(?:[^\n]*\\\n)*[^\n]*", "", strip_comments(part), flags=re.M)
        for name in re.findall(r"\b(avm_(?:port|arch)_\w+)\s*\(", code):
            if name not in tiers[current]:
                tiers[current].append(name)
    return tiers
