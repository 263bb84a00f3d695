# SPDX-License-Identifier: MIT
"""Where mutants are built and tried (mutation-score): the tree as it is, built once; farms in which one file of src/ is
another; the tests, from cheap to dear; and the checker."""

import collections
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time

import repo

STAGES = ["case", "property", "unit", "check", "long"]
LABELS = {"case": "case", "unit": "unit", "port": "unit", "property": "property", "diff": "unit", "fuzz": "property",
          "hostile": "property"}
# Nothing of src/ is tried by these, or it takes minutes.
LEFT_OUT = re.compile(r"unit/(trace|trace_bad|trace_strace|bench_table|graph|oracle|sim|sim_swap)$|hostile/|fuzz/trace")
OPS = {"property/property": "20000", "property/pressure": "20000", "property/failures": "1000"}  # AVM_PROPERTY_OPS
LONG_OPS = "300000"  # the same once more
LONG = {"fuzz/api", "fuzz/script", "unit/diff", "unit/vma_tree", "unit/storm", "unit/bad_args", "diff/errno_host", "property/failures"}
WALL = 150
SHRINKING = r"^program \d+, operation \d+"  # a random test that has failed
DETECTORS = ["race", "V", "panic", "lock", "deadlock", "end", "content", "machine", "leak", "crash"]


class Problem(Exception):
    """Not the fault of a mutant."""


# ---- building ------------------------------------------------------------------------------------------------------


class Base:
    """The tree as it is, built once: with lock rules and assertions, optimized. Mutants are linked to its objects."""

    def __init__(self, root, directory, jobs):
        self.root, self.build = root, os.path.join(directory, "base")
        os.makedirs(self.build, exist_ok=True)
        lld = ["-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=lld"] if shutil.which("ld.lld") else []
        self.must(["cmake", "-S", root, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug",
                   "-DCMAKE_C_FLAGS_DEBUG=-O2", "-DAVM_DEBUG=ON", "-DAVM_WERROR=OFF", *lld])
        self.must(["ninja", "-C", self.build, "-j", str(jobs)])
        self.commands = {}  # object: its compile command
        for entry in json.loads(repo.read(f"{self.build}/compile_commands.json")):
            words = shlex.split(entry["command"])
            self.commands[words[words.index("-o") + 1]] = [w for w in words if w != "-g"]
        self.users = collections.defaultdict(list)  # file of src/: objects made from it
        for block in self.must(["ninja", "-C", self.build, "-t", "deps"]).split("\n\n"):
            lines = block.strip().splitlines()
            for line in lines[1:]:
                path = os.path.normpath(line.strip())
                if path.startswith(f"{root}/src/"):
                    self.users[os.path.relpath(path, root)].append(lines[0].split(":")[0])
        self.links = {}

    @staticmethod
    def must(command):
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode:
            raise Problem(f"{command[0]}: " + "\n".join(run.stdout.strip().splitlines()[-5:]))
        return run.stdout

    def link_of(self, program):
        """Its link command, as words."""
        if program not in self.links:
            last = self.must(["ninja", "-C", self.build, "-t", "commands", program]).strip().splitlines()[-1]
            self.links[program] = [w for w in shlex.split(last) if w not in (":", "&&")]
        return self.links[program]

    def core_objects(self, file, core):
        """Objects of the core, "sim" or "check", that are made from a file of src/."""
        folders = {"sim": ["avm_core_sim.dir"], "check": ["avm_core_check.dir", "avm_observers_check.dir"]}[core]
        return [o for o in self.users[file] if o.split("/")[1] in folders]


def run(command, seconds, env=None, cwd=None, enough=None):
    """=> status, output. Not more than so many seconds of CPU: however busy the machine is, it says the same. No longer
    than until it says what is enough."""
    limited = ["sh", "-c", f'ulimit -c 0; ulimit -t {int(seconds) + 1}; exec "$@"', "sh", *command]
    process = subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                               env=env, cwd=cwd, errors="replace", text=True, start_new_session=True)
    late = threading.Timer(WALL, os.killpg, (process.pid, signal.SIGKILL))
    late.start()
    said = []
    for line in process.stdout:
        said.append(line)
        if enough and re.search(enough, line):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            late.cancel()
            return 1, "".join(said)
    status = process.wait()
    late.cancel()
    return status, "".join(said)


class Farm:
    """A place where one mutant at a time is built: links to src/ and tests/, and the mutated file among them."""

    def __init__(self, base, directory):
        self.base, self.directory = base, directory
        shutil.rmtree(directory, ignore_errors=True)
        for part in ("src", "tests"):
            for folder, _, names in os.walk(os.path.join(base.root, part)):
                inside = os.path.join(directory, os.path.relpath(folder, base.root))
                for name in names:
                    if name.endswith((".c", ".h")):
                        os.makedirs(inside, exist_ok=True)
                        os.symlink(os.path.join(folder, name), os.path.join(inside, name))
        self.file, self.built = None, {}

    def plant(self, mutant):
        """Instead of the last one."""
        if self.file:
            os.unlink(f"{self.directory}/{self.file}")
            os.symlink(f"{self.base.root}/{self.file}", f"{self.directory}/{self.file}")
        self.file, self.built = mutant.file, {}
        text = repo.read(f"{self.base.root}/{mutant.file}")
        os.unlink(f"{self.directory}/{self.file}")
        with open(f"{self.directory}/{self.file}", "w", encoding="utf-8") as f:
            f.write(mutant.apply(text))
        shutil.rmtree(f"{self.directory}/built", ignore_errors=True)

    def compile(self, obj, level="-O0"):
        """=> the path of the mutated object, None if it does not compile. Most are looked at so shortly that it is not worth
        while to optimize them."""
        if (obj, level) not in self.built:
            root, out = self.base.root, f"{self.directory}/built/{level}/{obj}"
            os.makedirs(os.path.dirname(out), exist_ok=True)
            words = [re.sub(rf"^(-I)?{re.escape(root)}/(src|tests)(?=/|$)", rf"\1{self.directory}/\2", w)
                     for w in self.base.commands[obj]]
            words[words.index("-o") + 1] = out
            words += ["-w", level, f"-fmacro-prefix-map={self.directory}/="]
            done = subprocess.run(words, cwd=self.base.build, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.built[obj, level] = None if done.returncode else out
        return self.built[obj, level]

    def same_code(self, core):
        """Does the compiler, when it optimizes, make the same of the mutant?"""
        for obj in self.base.core_objects(self.file, core):
            plain = f"{self.directory}/plain/{core}/{obj}"
            if not os.path.exists(plain):
                self.compile_plain(obj, plain)
            with open(plain, "rb") as a, open(self.compile(obj, "-O2"), "rb") as b:
                if a.read() != b.read():
                    return False
        return True

    def compile_plain(self, obj, out):
        """As the mutant is compiled, without it."""
        os.makedirs(os.path.dirname(out), exist_ok=True)
        words = list(self.base.commands[obj])
        words[words.index("-o") + 1] = out
        subprocess.run(words + ["-w"], cwd=self.base.build, check=True, stderr=subprocess.DEVNULL)

    def compiles(self, core):
        return all(self.compile(o, self.level(core)) for o in self.base.core_objects(self.file, core))

    def level(self, core):
        """The checker runs for seconds, but a header is in half of the core."""
        return "-O0" if core == "sim" or len(self.base.core_objects(self.file, core)) > 5 else "-O2"

    def program(self, name, core="sim"):
        """Links it, with the mutated objects before the library, of which the others are taken. => its path"""
        out = f"{self.directory}/built/{name}"
        if os.path.exists(out):
            return out
        os.makedirs(os.path.dirname(out), exist_ok=True)
        words = list(self.base.link_of(name))
        own = [w for w in words if w.endswith(".o")]
        users = set(self.base.users[self.file])
        for obj in own:
            if obj in users:
                words[words.index(obj)] = self.compile(obj, "-O0") or obj
        words[words.index("-o") + 1] = out
        at = next(i for i, w in enumerate(words) if w.endswith(".a"))
        words[at:at] = ["-Wl,--start-group", self.archive(core)]
        words.append("-Wl,--end-group")
        done = subprocess.run(words, cwd=self.base.build, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise Problem(f"{name} does not link: {done.stdout.strip().splitlines()[0]}")
        return out

    def archive(self, core):
        """The mutated objects of the core; a test that stands in for one does not take it."""
        out = f"{self.directory}/built/{core}.a"
        if not os.path.exists(out):
            self.base.must(["ar", "rcs", out, *(self.compile(o, self.level(core)) for o in self.base.core_objects(self.file, core))])
        return out


# ---- tests ---------------------------------------------------------------------------------------------------------


class Test:
    def __init__(self, name, command, env, base):
        self.name = name
        self.kind = LABELS[name.split("/")[0]]
        self.env = {**os.environ, **env}
        if name in OPS:
            self.env["AVM_PROPERTY_OPS"] = OPS[name]
        self.seconds = 1.0
        self.case = command[-1] if self.kind == "case" and len(command) > 1 else None
        self.target = os.path.relpath(command[1] if self.case else command[0], base.build)
        self.arguments = command[1:]
        self.stage = "long" if name in LONG else self.kind

    def run(self, farm):
        """=> None, or what it says. Without a farm: the tree as it is, for the time."""
        program = farm.program(self.target)
        env = self.env
        if self.name in ("unit/script", "unit/diff"):
            env = {**env, "AVM_TOOL": farm.program("anonvm")}
        if self.case:
            command = [f"{farm.base.root}/tests/scripts/run-case", program, self.case]
        else:
            command = [program, *self.arguments]
        status, said = run(command, 1 + 5 * self.seconds, env, farm.base.build, SHRINKING)
        return None if status in (0, 77) else tell(status, said)


# What kind of judge has spoken, by its words: the first that fits a line, the judges in this order.
SAYS = [
    ("lock rules", r"(lock rules: .*)"),
    ("invariant", r"\b(V\d+: .*)"),
    ("assertion", r"(BUG.*|panic.*)"),
    ("oracle", r"(.*the oracle says.*)"),
    ("machine", r"error: (stale .*|frame .*|.*\b(?:slot|TLB|table|translation|read section|freed|swap device)\b.*)"),
    ("leak", r"(.*leak.*)"),
    ("crash", r"(.*SEGFAULT.*|.*[Ss]egmentation fault.*|.*Test failed with exception.*)"),
    ("result", r"(not ok.*|.*error: .*|^stderr: .*|.*FAILED.*)"),
]


def tell(status, said):
    """(what kind of judge, its words)"""
    if status in (-24, -9, 137, 152) or "CPU time limit" in said:
        return "hang", "does not end"
    lines = "\n".join(line for line in said.splitlines() if "lines as expected" not in line)
    for kind, pattern in SAYS:
        found = re.search(pattern, lines, re.M)
        if found:
            return kind, found[1].strip()[:160]
    if status < 0 or status > 128:
        return "crash", f"signal {-status if status < 0 else status - 128}"
    return "result", (lines.strip().splitlines() or [""])[-1][:160]


def read_tests(base):
    listed = json.loads(base.must(["ctest", "--test-dir", base.build, "--show-only=json-v1"]))
    tests = []
    for t in listed["tests"]:
        if t["name"].split("/")[0] not in LABELS or LEFT_OUT.search(t["name"]):
            continue
        env = next(p["value"] for p in t["properties"] if p["name"] == "ENVIRONMENT")
        if t["command"][0].endswith(("/run-case",)) or os.access(t["command"][0], os.X_OK):
            if not t["name"].startswith("case/") and "tests/test-" in t["command"][0]:
                continue
            tests.append(Test(t["name"], t["command"], dict(e.split("=", 1) for e in env), base))
            if t["name"] in ("property/property", "property/pressure"):
                tests.append(Test(t["name"], t["command"], dict(e.split("=", 1) for e in env), base))
                tests[-1].env["AVM_PROPERTY_OPS"] = LONG_OPS
                tests[-1].stage = "long"
    return tests


class Cases(Test):
    """Many cases in one process, which says at which it stopped."""

    def __init__(self, tests, base):
        super().__init__(tests[0].name, [base.build + "/anonvm"], {}, base)
        self.kind = self.stage = "case"
        self.case = None
        self.target = "anonvm"
        self.arguments = ["run", *(t.case for t in tests)]
        self.name = "case"
        self.seconds = 1.0

    def run(self, farm):
        status, said = run([farm.program("anonvm"), *self.arguments], 1 + 5 * self.seconds, self.env, farm.base.build)
        if not status:
            return None
        kind, words = tell(status, said)
        where = re.search(r"tests/cases/(\S+?\.avm):\d+: ", said)
        return kind, (f"{where[1]}: " if where else ": ") + words.rpartition(".avm:")[2]


def has_header(path):
    return bool(re.search(r"^# (status|stderr|args):", repo.read(path), re.M)) or os.path.exists(path[:-4] + ".out")


class Bench:
    """The tests, measured on the tree as it is, and sorted."""

    def __init__(self, base, farm, args):
        tests = read_tests(base)
        plain = [t for t in tests if t.kind == "case" and not has_header(t.case)]
        self.tests = [Cases(plain[i:i + 80], base) for i in range(0, len(plain), 80)]
        self.tests += [t for t in tests if t not in plain]
        self.tests = [t for t in self.tests if t.stage in args.stages]
        for t in self.tests:
            t.seconds = 60
            before = os.times()
            begin = time.monotonic()
            said = t.run(farm)
            after = os.times()
            t.seconds = min(time.monotonic() - begin, after[2] + after[3] - before[2] - before[3])
            if said:
                raise Problem(f"{t.name} fails without any mutant: {said[1]}")
        self.tests.sort(key=lambda t: t.seconds)
        self.kills = collections.Counter()
        self.mutex = threading.Lock()

    def of_stage(self, stage, file):
        """Who has killed in that file before comes first; then who is called like it."""
        stem = os.path.basename(file).split(".")[0].split("_")[0]
        with self.mutex:
            tests = [t for t in self.tests if t.stage == stage]
            return sorted(tests, key=lambda t: (-self.kills[file, id(t)], stem not in t.name, -self.kills[id(t)] / (0.05 + t.seconds),
                                                t.seconds))

    def killed(self, file, test):
        with self.mutex:
            self.kills[file, id(test)] += 1
            self.kills[id(test)] += 1


def detector(finding):
    """Of the checker, by what it says."""
    head = finding.split(":")[0].split(" ")[0]
    if re.match(r"V\d", head):
        return "V"
    if finding.startswith("lock rules"):
        return "lock"
    if re.search(r"^\d+ objects leaked", finding):
        return "leak"
    if "CPU time limit" in finding or finding.startswith(("no end", "livelock")):
        return "end"
    return head if head in DETECTORS else "machine"


def check(farm, args, executions, *more, seed=1):
    """=> None, or what the checker found: {finding, by, executions, seconds, program, detector}"""
    program = farm.program("libexec/anonvm/anonvm-check", "check")
    status, said = run([program, "--seed", str(seed), "--executions", str(executions), "--quiet", "--json",
                        "--no-shrink", *more], args.executions / 2500 + 10)
    if not status:
        return None
    try:
        found = json.loads(said[said.index("{"):said.rindex("}") + 1])
        out = {k: found.get(k) for k in ("finding", "by", "executions", "seconds", "program")}
    except (ValueError, KeyError):
        out = {"finding": f"crash: status {status}: {said.strip()[-80:]}", "by": "", "executions": 0, "seconds": 0,
               "program": None}
    out["finding"] = out["finding"] or f"crash: status {status}"
    out["detector"] = detector(out["finding"])
    return out
