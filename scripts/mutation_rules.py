# SPDX-License-Identifier: MIT
"""One-line mutants of C sources, made by rules. Nothing is chosen by hand.

A mutant is named FILE:FUNCTION:RULE:K, the K-th place in the function to which the rule applies. Names outlive
changes elsewhere. Which of them are drawn says a hash of the name and the rate of its rule (RATES): also that does not
depend on the others, so a change of a function draws anew in that function only.

The source is read by its tokens, into statements; layout does not matter but for one thing: a function begins with a
brace in the first column, and ends so. Macros, declarations and code for AVM_DEBUG are left alone."""

import bisect
import collections
import dataclasses
import hashlib
import re

import repo

TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|\w+|->|\+\+|--|<<=|>>=|<<|>>|'
                   r"[-+*/%&|^<>=!]=|&&|\|\||\S")
TYPES = set("struct enum union const unsigned int bool char void static size_t uintptr_t _Atomic volatile avm_addr_t "
            "avm_pfn_t avm_pte_t avm_swp_t int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t".split())
JUMPS = ("return", "break", "continue", "goto")

# What a call is for, by its name; the first that fits.
LOCK = re.compile(r"lock|rw_(read|write)|^(avm_)?rcu_|^enter$|^leave$")
FLUSH = re.compile(r"flush|notify|revoke|fence|_told|dirty|young|wake")
UNDO = re.compile(r"put|free|drop|uncommit|drain|undo|discard|release|unmap|remove|_del|unlink|clear|erase|trim|forget|"
                  r"settle|give|finish|_end$|cancel|unpin|abort")
# Judges, hints and hooks: not to have them changes nothing.
JUDGE = re.compile(r"^(AVM_ASSERT\w*|AVM_BUG_ON\w*|avm_assert_\w+|avm_might_sleep|__builtin_\w+|avm_port_lock_event|"
                   r"avm_port_panic|avm_verify_\w+|static_assert|_Static_assert)$")

# How many of a thousand places are drawn: so many that each rule has some ten to twenty-five, those about locks, order
# and undoing the most.
RATES = {
    "drop-lock": 75, "shared": 650, "drop-flush": 300, "drop-undo": 60, "drop-call": 25, "drop-assign": 17,
    "skip-guard": 18, "force-guard": 11, "negate": 11, "drop-clause": 22, "and-or": 30, "swap": 55,
    "relation": 40, "equality": 35, "off-by-one": 130, "range": 32, "constant": 20, "arithmetic": 25, "drop-flag": 130,
    "truth": 65, "swallow": 70, "early-return": 17, "free-now": 1000, "relaxed": 280, "drop-jump": 130,
}
RULES = {
    "drop-lock": "a call that locks or unlocks is dropped",
    "shared": "a lock for writing is one for reading, throughout a function",
    "drop-flush": "a flush, notification, barrier or mark is dropped",
    "drop-undo": "a call that gives back, takes out or undoes is dropped",
    "drop-call": "another call is dropped",
    "drop-assign": "an assignment is dropped",
    "skip-guard": "what follows an if is never done; the condition is still looked at",
    "force-guard": "... is always done",
    "negate": "... is done when it should not",
    "drop-clause": "one side of && or || is dropped",
    "and-or": "&& for ||, or || for &&",
    "swap": "two statements change places, one of which locks, flushes, undoes or is atomic",
    "relation": "< for <=, > for >=, and back",
    "equality": "== for !=, and back",
    "off-by-one": "+ 1 or - 1 is dropped",
    "range": "an end is a page (or one) less, a start more, as an argument of a call",
    "constant": "0 for 1, or a number more by one",
    "arithmetic": "+ for -, += for -=, ++ for --, an atomic addition for a subtraction; and back",
    "drop-flag": "one of several flags is dropped",
    "truth": "true for false, and back",
    "swallow": "an error is returned as success",
    "early-return": "a function that returns nothing stops earlier",
    "free-now": "what is to be deferred is done at once",
    "relaxed": "an atomic operation orders nothing",
    "drop-jump": "break or continue is dropped",
}


@dataclasses.dataclass
class Mutant:
    file: str
    function: str
    rule: str
    ordinal: int
    line: int
    edits: list  # (begin, end, text), not overlapping

    @property
    def name(self):
        return f"{self.file}:{self.function}:{self.rule}:{self.ordinal}"

    def apply(self, text):
        for begin, end, new in sorted(self.edits, reverse=True):
            # Lines stay where they are.
            text = text[:begin] + new + "\n" * (text.count("\n", begin, end) - new.count("\n")) + text[end:]
        return text

    def shown(self, text):
        """(before, after): the lines it changes, blanks made one."""
        begin = text.rfind("\n", 0, min(e[0] for e in self.edits)) + 1
        end = text.find("\n", max(e[1] for e in self.edits))
        inside = Mutant(self.file, "", "", 0, 0, [(b - begin, e - begin, new) for b, e, new in self.edits])
        before = text[begin:end]
        return " ".join(before.split()), " ".join(inside.apply(before).split())


def chance(name, seed):
    """0 to 999, by the name alone."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:6], "big") % 1000


def drawn(mutants, seed, scale=1.0):
    return [m for m in mutants if chance(m.name, seed) < RATES[m.rule] * scale]


# ---- reading -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Statement:
    kind: str  # call assign other declare return break continue goto if loop switch block
    first: int  # tokens: [first, last)
    last: int
    condition: tuple = None  # tokens within the parentheses
    inner: list = dataclasses.field(default_factory=list)  # lists of statements
    bare: bool = False  # an if without else


def blanked(text):
    """Without comments, preprocessor lines, and what is compiled for AVM_DEBUG only; of the same length."""
    text = repo.strip_comments(text)
    out, debug, depth = [], 0, 0
    lines = text.split("\n")
    continued = False
    for line in lines:
        directive = continued or re.match(r"\s*#", line)
        found = None if continued else re.match(r"\s*#\s*(ifdef|ifndef|if|else|elif|endif)\b\s*(\w*)", line)
        if found:
            word = found[1]
            if word.startswith("if"):
                depth += 1
                if not debug and word != "ifndef" and found[2] == "AVM_DEBUG":
                    debug = depth
            elif debug == depth:
                debug = 0
            depth -= word == "endif"
        continued = bool(directive) and line.endswith("\\")
        out.append(" " * len(line) if directive or debug else line)
    return "\n".join(out)


class Reader:
    """The statements of one function."""

    def __init__(self, text, begin, end):
        self.text = text
        self.tokens = [(m.group(0), m.start(), m.end()) for m in TOKEN.finditer(text, begin, end)]
        self.words = [t[0] for t in self.tokens]
        self.pairs = {}
        stack = []
        for i, word in enumerate(self.words):
            if word in ("(", "[", "{"):
                stack.append(i)
            elif word in (")", "]", "}"):
                self.pairs[stack.pop()] = i
        self.all = []
        self.top, _ = self.block(0)
        self.loops = [s for s in self.all if s.kind == "loop" and self.words[s.first] == "for"]

    def block(self, i):
        """=> the statements between the braces, and what comes after"""
        end = self.pairs[i]
        i += 1
        out = []
        while i < end:
            statement, i = self.statement(i)
            if statement:
                out.append(statement)
        return out, end + 1

    def note(self, *args, **more):
        statement = Statement(*args, **more)
        self.all.append(statement)
        return statement

    def statement(self, i):
        words = self.words
        word = words[i]
        if word == "{":
            inner, after = self.block(i)
            return self.note("block", i, after, inner=[inner]), after
        if word == ";":
            return None, i + 1
        if word == "do":
            body, after = self.statement(i + 1)
            condition = (after + 2, self.pairs[after + 1])
            return self.note("loop", i, condition[1] + 2, condition, [[body] if body else []]), condition[1] + 2
        if word in ("if", "while", "for", "switch") or self.is_macro_loop(i):
            return self.controlled(i)
        if word in ("case", "default"):
            while words[i] != ":":
                i += 1
            return None, i + 1
        if re.match(r"[a-z]\w*$", word) and words[i + 1] == ":":
            return None, i + 2
        return self.simple(i)

    def is_macro_loop(self, i):
        return (re.match(r"[a-zA-Z_]\w*$", self.words[i]) and self.words[i + 1] == "(" and
                re.match(r"\{|[a-z_]\w*$", self.words[self.pairs[i + 1] + 1]))

    def controlled(self, i):
        word = self.words[i]
        condition = (i + 2, self.pairs[i + 1])
        body, after = self.statement(condition[1] + 1)
        inner = [[body] if body else []]
        other = word == "if" and self.words[after] == "else"
        if other:
            body, after = self.statement(after + 1)
            inner.append([body] if body else [])
        kind = word if word in ("if", "switch") else "loop"
        return self.note(kind, i, after, condition, inner, word == "if" and not other), after

    def simple(self, i):
        """Up to its semicolon."""
        words = self.words
        first = i
        while words[i] != ";":
            i = self.pairs[i] + 1 if i in self.pairs else i + 1
        head = words[first]
        if head in JUMPS:
            kind = head
        elif head in TYPES or (re.match(r"[a-z_]\w*$", head) and re.match(r"[a-z_]\w*$", words[first + 1])):
            kind = "declare"
        elif self.callee(first, i):
            kind = "call"
        else:
            kind = "assign"
        return self.note(kind, first, i + 1), i + 1

    def callee(self, first, last):
        """The function that the statement calls, and does nothing else."""
        if self.words[first:first + 3] == ["(", "void", ")"]:
            first += 3
        if re.match(r"\w+$", self.words[first]) and self.words[first + 1] == "(" and \
                self.pairs[first + 1] == last - 1:
            return self.words[first]
        return None

    def span(self, first, last):
        return self.tokens[first][1], self.tokens[last - 1][2]

    def of(self, statement):
        return self.span(statement.first, statement.last)

    def source(self, first, last):
        begin, end = self.span(first, last)
        return self.text[begin:end]


def functions(text):
    """(name, begin, end) of each body, with its braces."""
    for found in re.finditer(r"^\{\n", text, re.M):
        end = text.find("\n}", found.start())
        head = text[:found.start()]
        head = head[max(head.rfind("\n}"), head.rfind(";\n"), head.rfind("\n\n"), 0):]
        name = re.search(r"\b(?!AVM_|__)(\w+)\(", head)
        if name and end > 0 and re.search(r"\)\s*(/\*.*\*/)?\s*$", head):
            yield name[1], re.search(r"\bvoid\s+\w+\($|\bvoid\s+\w+\(", head) is not None, found.start(), end + 2


# ---- rules ---------------------------------------------------------------------------------------------------------


def call_rule(name):
    if LOCK.search(name):
        return "drop-lock"
    if FLUSH.search(name):
        return "drop-flush"
    if UNDO.search(name):
        return "drop-undo"
    return "drop-call"


class Rules:
    """Applies every rule to a function; .found: (rule, edits) in the order of the text."""

    def __init__(self, reader, returns_nothing):
        self.r = reader
        self.found = []
        self.judged = []  # token ranges of assertions
        for s in reader.all:
            name = reader.callee(s.first, s.last - 1) if s.kind == "call" else None
            if name and JUDGE.search(name):
                self.judged.append((s.first, s.last))
        for s in reader.all:
            self.of_statement(s)
        self.of_lists(reader.top)
        for s in reader.all:
            for inner in s.inner:
                self.of_lists(inner)
        self.of_tokens()
        self.shared()
        if returns_nothing:
            self.early()

    def add(self, rule, *edits):
        self.found.append((rule, list(edits)))

    def is_judged(self, i):
        return any(first <= i < last for first, last in self.judged)

    def of_statement(self, s):
        r = self.r
        if s.kind == "call" and not self.is_judged(s.first):
            name = r.callee(s.first, s.last - 1)
            self.add(call_rule(name), (*r.of(s), ";"))
            if name == "avm_rcu_defer":
                what = re.search(r"&?(.*)", r.source(s.first, s.last).split(",", 1)[1].strip()[:-2])[0]
                self.add("free-now", (*r.of(s), f"({what})->call({what});"))
        elif s.kind == "assign":
            self.add("drop-assign", (*r.of(s), ";"))
        elif s.kind == "if":
            self.of_if(s)
        elif s.kind in ("break", "continue"):
            self.add("drop-jump", (*r.of(s), ";"))
        elif s.kind == "return":
            if r.words[s.first + 1] == "-" and r.words[s.first + 2].startswith("AVM_E") and s.last - s.first == 4:
                self.add("swallow", (*r.of(s), "return 0;"))
        if s.condition and s.kind in ("if", "loop") and r.words[s.first] in ("if", "while"):
            self.of_clauses(*s.condition)
        elif s.kind == "return":
            self.of_clauses(s.first + 1, s.last - 1)

    def of_if(self, s):
        r = self.r
        text = r.source(*s.condition)
        where = r.span(*s.condition)
        if s.bare:
            self.add("skip-guard", (*where, f"({text}) && 0"))
            self.add("force-guard", (*where, f"({text}) || 1"))
        self.add("negate", (*where, f"!({text})"))

    def of_clauses(self, first, last):
        """At && and ||, at each depth of parentheses."""
        r = self.r
        starts, i = [first], first
        ops = []
        while i < last:
            word = r.words[i]
            if word in ("&&", "||"):
                ops.append(i)
                starts.append(i + 1)
            elif word in ("?", ":"):
                return
            if i in r.pairs:
                if word == "(" and (i == first or not re.match(r"\w+$|\)", r.words[i - 1]) or
                                    r.words[i - 1] == "return"):
                    self.of_clauses(i + 1, r.pairs[i])
                i = r.pairs[i]
            i += 1
        for k, op in enumerate(ops):
            word = r.words[op]
            end = ops[k + 1] if k + 1 < len(ops) else last
            self.add("and-or", (*r.span(op, op + 1), "||" if word == "&&" else "&&"))
            self.add("drop-clause", (r.tokens[op][1], r.tokens[end - 1][2], ""))  # the right side
            if k == 0:
                self.add("drop-clause", (r.tokens[first][1], r.tokens[op][2], ""))

    def of_lists(self, statements):
        """Neighbours that change places."""
        r = self.r
        for a, b in zip(statements, statements[1:]):
            if {a.kind, b.kind} - {"call", "assign"} or self.is_judged(a.first) or self.is_judged(b.first):
                continue
            names = [r.callee(s.first, s.last - 1) or "" for s in (a, b)]
            if "avm_count" in names or not any(n and (call_rule(n) != "drop-call" or n.startswith("atomic_"))
                                               for n in names):
                continue
            self.add("swap", (*r.of(a), r.source(b.first, b.last)), (*r.of(b), r.source(a.first, a.last)))

    def of_tokens(self):
        r = self.r
        for i, word in enumerate(r.words):
            if self.is_judged(i) or i == 0:
                continue
            before, after = r.words[i - 1], r.words[i + 1] if i + 1 < len(r.words) else ""
            here = r.span(i, i + 1)
            binary = re.match(r"\w+$|\)|\]", before) and before not in JUMPS + ("case",)
            if word in ("<", "<=", ">", ">="):
                self.add("relation", (*here, word[:-1] if word.endswith("=") else word + "="))
            elif word in ("==", "!="):
                self.add("equality", (*here, "!=" if word == "==" else "=="))
            elif word in ("+", "-") and binary:
                if after == "1" and r.words[i + 2] not in ("*", "/", "<<"):
                    self.add("off-by-one", (here[0], r.tokens[i + 1][2], ""))
                else:
                    self.add("arithmetic", (*here, "-" if word == "+" else "+"))
            elif word in ("+=", "-=", "++", "--"):
                if any(s.condition[0] <= i < s.condition[1] for s in r.loops):
                    continue  # a loop that goes the wrong way: no question whether that is noticed
                self.add("arithmetic", (*here, {"+": "-", "-": "+"}[word[0]] * (2 if word[1] != "=" else 1) +
                                        ("=" if word[1] == "=" else "")))
            elif re.match(r"atomic_fetch_(add|sub)", word):
                self.add("arithmetic", (*here, word.replace("_add", "_SUB").replace("_sub", "_add").lower()))
            elif word in ("true", "false"):
                self.add("truth", (*here, "false" if word == "true" else "true"))
            elif re.match(r"memory_order_(acquire|release|acq_rel|seq_cst)$", word):
                self.add("relaxed", (*here, "memory_order_relaxed"))
            elif re.match(r"\d+[uU]?$", word) and before not in ("case", "+", "-"):
                self.add("constant", (*here, str(int(word.rstrip("uU")) + 1)))
            elif word == "|":
                self.of_flag(i, before, after)
            elif re.match(r"(start|end|addr|first|last|new_end|old_end)$", word):
                self.of_range(i, word)

    def of_flag(self, i, before, after):
        r = self.r
        if re.match(r"[A-Z]\w+$", after) and r.words[i + 2] in (")", ";", "|", ","):
            self.add("drop-flag", (r.tokens[i][1], r.tokens[i + 1][2], ""))
        elif re.match(r"[A-Z]\w+$", before) and r.words[i - 2] in ("(", "=", ",", "return"):
            self.add("drop-flag", (r.tokens[i - 1][1], r.tokens[i][2], ""))

    def of_range(self, i, word):
        """A whole argument of a call."""
        r = self.r
        begin = i
        while r.words[begin - 1] in ("->", ".") and re.match(r"\w+$", r.words[begin - 2]):
            begin -= 2
        if r.words[i + 1] not in (",", ")") or r.words[begin - 1] not in (",", "("):
            return
        opening = begin - 1
        depth = 0
        while depth or r.words[opening] != "(":
            if r.words[opening] in ("{", ";", "}"):
                return
            depth += {")": 1, "(": -1}.get(r.words[opening], 0)
            opening -= 1
        callee = r.words[opening - 1]
        if not re.match(r"[a-z_]\w*$", callee) or "aligned" in callee or \
                callee in ("if", "while", "for", "switch", "return", "sizeof"):
            return
        step = "1" if word in ("first", "last") else "AVM_PAGE_SIZE"
        sign = "+" if word in ("start", "addr", "first") else "-"
        self.add("range", (*r.span(i, i + 1), f"{word} {sign} {step}"))

    def shared(self):
        """Each kind of lock that the function takes for writing and lets go."""
        r = self.r
        kinds = {}
        for i, word in enumerate(r.words):
            if r.words[i + 1:i + 2] != ["("]:
                continue
            found = re.match(r"(avm_mmap|avm_rw|avm_mappings|avm_family)_.*(lock|write)", word)
            if found:
                kinds.setdefault(found[1], []).append(i)
        for where in kinds.values():
            edits = [(*r.span(i, i + 1), self.for_reading(r.words[i])) for i in where]
            edits = [e for e, i in zip(edits, where) if e[2] != r.words[i]]
            if len(edits) > 1:
                self.add("shared", *edits)

    @staticmethod
    def for_reading(name):
        if name in ("avm_mappings_lock", "avm_mappings_unlock"):
            return name + "_read"
        return name.replace("_write", "_read").replace("_read_lock_always", "_read_lock")

    def early(self):
        r = self.r
        for s in r.top[1:]:
            if s.kind not in ("declare", "return") and not self.is_judged(s.first):
                begin = r.of(s)[0]
                self.add("early-return", (begin, begin, "if (1) return; "))


def mutants_of(path, text):
    """Every mutant of a file."""
    clean = blanked(text)
    starts = [0] + [m.end() for m in re.finditer("\n", text)]
    out = []
    counts = collections.Counter()  # a function may be there twice, under #if
    for name, returns_nothing, begin, end in functions(clean):
        rules = Rules(Reader(clean, begin, end), returns_nothing)
        for rule, edits in sorted(rules.found, key=lambda f: (f[1][0][0], f[1][0][1], f[0])):
            if re.search(r"^\s*#", text[edits[0][0]:edits[-1][1]], re.M):
                continue  # across a directive
            counts[name, rule] += 1
            line = bisect.bisect_right(starts, edits[0][0])
            out.append(Mutant(path, name, rule, counts[name, rule], line, edits))
    return out
