# SPDX-License-Identifier: MIT
"""How fast each bug of the gallery is found, and how small: `scripts/gallery --score`. Each by the checker, and what one thread can
meet by the test that its patch names, too.

From each seed one search, which ends with what it finds first. What is measured is kept in DIR/score.json under the digest of the
program that was run, so that a score that was stopped goes on where it was, and one of another core begins anew."""

import collections
import hashlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

import repo

FAILURE = re.compile(r"^program (\d+), operation \d+ \((\d+) in all\): (\w+): (.*)$", re.M)
SHRINKING = 300  # seconds
LONGEST = 1200  # seconds of a search, however busy the machine
AIM_SECONDS, AIM_THREADS, AIM_OPS, AIM_PREEMPTIONS = 10, 3, 3, 3
CONTROL = ["--executions", "5000"]  # of each search for what is not there
STRATEGIES = ["portfolio", "walk"]


class Unusable(Exception):
    """A program that does not do what it should."""


def digest(*paths):
    sha = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as f:
            sha.update(f.read())
    return sha.hexdigest()[:16]


class Store:
    def __init__(self, path):
        self.path, self.kept = path, {}
        if os.path.exists(path):
            self.kept = json.loads(repo.read(path))

    def get(self, key, measure):
        key = " ".join(map(str, key))
        if key not in self.kept:
            self.kept[key] = measure()
            with open(self.path + ".new", "w", encoding="utf-8") as f:
                json.dump(self.kept, f, indent=1, sort_keys=True)
            os.replace(self.path + ".new", self.path)
        return self.kept[key]


def run(command, limit, until=None):
    """=> exit status (None: stopped), output, what went to stderr, seconds of CPU. `until` looks at stderr and may say: enough."""
    end = time.monotonic() + limit
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    process = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True)
    stopped = False
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if not stopped and (time.monotonic() > end or (until and until(content(err)))):
            os.killpg(process.pid, signal.SIGKILL)
            stopped = True
        time.sleep(0.01)
    process.returncode = 0  # it has been waited for
    code = None if stopped else os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    return code, content(out), content(err), usage.ru_utime + usage.ru_stime


def content(file):
    return os.pread(file.fileno(), 1 << 24, 0).decode("utf-8", "replace")


def detector(finding):
    """race, V11, panic, ...: what stands before the first colon."""
    return finding.split(":")[0].split(" ")[0]


# ---- one search -----------------------------------------------------------------------------------------------------------


def ask(clean, name, more):
    """`anonvm check --gallery` about one bug: what it says as JSON."""
    code, out, err, _ = run([clean, "--gallery", name, "--json", *more], LONGEST)
    if code not in (0, 1):
        raise Unusable("the checker: " + (err.strip() or "does not end"))
    return json.loads(out)["variants"][0]


def search_by_checker(clean, name, strategy, seed, limit, keep=None):
    """With `keep`, a file, what is found is made smaller."""
    more = ["--keep", keep] if keep else ["--no-shrink"]
    said = ask(clean, name, ["--seed", str(seed), "--strategy", strategy, *limit, *more])
    found = said["searches"][0]
    if keep and found["found"]:
        found["shrunk"] = said["shrunk"]
    return found


def search_one_thread(program, seed, seconds, keep):
    """By random programs of one thread. As above."""
    code, out, err, cpu = run([program, "--seed", str(seed), "--ops", str(10**10)],
                              seconds + (SHRINKING if keep else 0), None if keep else FAILURE.search)
    match = FAILURE.search(err)
    if not match:
        return {"found": False, "executions": 0, "seconds": cpu}
    found = {"found": True, "executions": int(match[2]), "seconds": cpu, "finding": f"{match[3]}: {match[4]}", "program": match[1]}
    if keep:
        shrunk = re.search(r"^\d+ operations shrunk to (\d+)", err, re.M)
        found["shrunk"] = int(shrunk[1]) if shrunk else None
        with open(keep, "w", encoding="utf-8") as f:
            f.write(out)
    return found


# ---- is what was kept the same again? -------------------------------------------------------------------------------------------


def replay_finding(program, clean, kept):
    """=> what the bug does, what the core as it is does"""
    code, out, _, _ = run([program, "--replay", kept], 60)
    with_bug = "the same" if code == 1 and out.startswith("found again") else "**otherwise**" if code == 1 else "**nothing**"
    code, out, _, _ = run([clean, "--replay", kept], 60)
    return with_bug, "nothing" if code == 0 and out.startswith("nothing found") else "**something**"


def replay_one_thread(program, clean, kept, test, found):
    """As a script; what only the model of the test knows (where VMAs end), as a program of the test."""
    ways = [([program, "run", "--quiet", kept], [clean, "run", "--quiet", kept]),
            ([test[0], "--program", found["program"]], [test[1], "--program", found["program"]])]
    for bad, good in ways:
        code, out, err, _ = run(bad, 120)
        if code != 0:
            number = re.match(r"verify: (V\d+)", found["finding"])
            same = not number or number[1] in out + err
            code = run(good, 120)[0]
            if code == 2:  # no script: what came in the middle of an operation is only told of
                continue
            return "the same" if same else "**otherwise**", "nothing" if code == 0 else "**something**"
    return "**nothing**", ""


# ---- tables -------------------------------------------------------------------------------------------------------------------


def nine_of_ten(values):
    return sorted(values)[max(0, -(-9 * len(values) // 10) - 1)]


def spread(values, form):
    return f"{form.format(statistics.median(values))} ({form.format(nine_of_ten(values))})" if values else ""


def often(values):
    counts = collections.Counter(values).most_common()
    return counts[0][0] if len(counts) == 1 else ", ".join(f"{v} {n}" for v, n in counts)


def figures(runs):
    found = [r for r in runs if r["found"]]
    return [f"{len(found)}/{len(runs)}", spread([r["executions"] for r in found], "{:.0f}"),
            spread([r["seconds"] for r in found], "{:.2f}")]


def size_of(shrunk):
    threads = "+".join(map(str, shrunk["ops"]))
    return f"{threads} after {shrunk['setup']}; {shrunk['preemptions']}"


def is_large(shrunk):
    return len(shrunk["ops"]) > AIM_THREADS or max(shrunk["ops"]) > AIM_OPS or shrunk["preemptions"] > AIM_PREEMPTIONS


class Score:
    def __init__(self, tree, args):
        self.tree, self.args = tree, args
        self.store = Store(os.path.join(args.dir, "score.json"))
        self.bad, self.slowest = [], 0.0

    def seeds(self):
        return [1 + k * 10**6 for k in range(self.args.seeds)]

    def note(self, bug, runs):
        missed = sum(not r["found"] for r in runs)
        if missed and not bug.control:
            self.bad.append(f"{bug.name} is not found from {missed} seeds")
        if bug.control and missed < len(runs):
            self.bad.append(f"{bug.name} is no bug, and found: " + next(r["finding"] for r in runs if r["found"]))
        if not bug.control and missed < len(runs):
            seconds = nine_of_ten([r["seconds"] for r in runs if r["found"]])
            self.slowest = max(self.slowest, seconds)
            if seconds > AIM_SECONDS:
                self.bad.append(f"{bug.name} takes {seconds:.1f} s")

    def checker(self, bug):
        program, clean = self.tree.make("check"), self.tree.clean("check")
        self.tree.place(program, bug)
        key = digest(program, clean)
        kept = os.path.join(self.args.dir, bug.name + ".txt")
        limit = CONTROL if bug.control else ["--time", str(self.args.seconds)]
        runs = {}
        for strategy in STRATEGIES:
            runs[strategy] = [self.store.get([bug.name, key, strategy, seed],
                                             lambda s=strategy, n=seed: search_by_checker(clean, bug.name, s, n, limit))
                              for seed in self.seeds()]
        found = runs[STRATEGIES[0]]
        self.note(bug, found)
        if bug.control:
            every = [r for strategy in STRATEGIES for r in runs[strategy]]
            return [str(sum(r["executions"] for r in every)), f"{sum(r['seconds'] for r in every):.0f}",
                    "**something**" if any(r["found"] for r in every) else "nothing"]
        sizes, again = set(), set()
        for seed in self.seeds()[:self.args.shrink]:
            file = f"{kept}.{seed}"
            small = self.store.get([bug.name, key, "shrunk", seed],
                                   lambda n=seed, f=file: search_by_checker(clean, bug.name, STRATEGIES[0], n, limit, f))
            sizes.add(size_of(small["shrunk"]))
            if is_large(small["shrunk"]):
                self.bad.append(f"{bug.name} is made no smaller than {size_of(small['shrunk'])}, from seed {seed}")
            again.add(self.store.get([bug.name, key, digest(clean), "replay", seed],
                                     lambda f=file, c=clean: " / ".join(replay_finding(program, c, f))))
        self.bad += [f"{bug.name} is replayed: {a}" for a in again if "*" in a]
        return [often(detector(r["finding"]) for r in found if r["found"]), often(r["by"] for r in found if r["found"]),
                *figures(found), ", ".join(sorted(sizes)), "; ".join(sorted(again)), *figures(runs["walk"])[1:]]

    def one_thread(self, bug):
        program = self.tree.make(bug.test)
        key = digest(program)
        kept = os.path.join(self.args.dir, bug.name + ".avm")
        runs = [self.store.get([bug.name, key, seed], lambda n=seed: search_one_thread(program, n, self.args.seconds, None))
                for seed in range(1, 1 + self.args.seeds)]
        self.note(bug, runs)
        small = self.store.get([bug.name, key, "shrunk"], lambda: search_one_thread(program, 1, self.args.seconds, kept))
        tool, clean = self.tree.make("anonvm"), self.tree.clean("anonvm")
        again = self.store.get([bug.name, key, digest(tool, clean), "replay"], lambda: " / ".join(replay_one_thread(
            tool, clean, kept, [program, self.tree.clean(bug.test)], small)))
        if "*" in again:
            self.bad.append(f"{bug.name} is replayed: {again}")
        return [often(detector(r["finding"]) for r in runs if r["found"]), bug.test, *figures(runs),
                str(small.get("shrunk", "")), again]


HEADS = {
    "checker": ["bug", "what tells it", "switches by", "found", "executions", "seconds", "made smaller", "replayed",
              "walk: executions", "seconds"],
    "one_thread": ["bug", "what tells it", "test", "found", "operations", "seconds", "made smaller", "replayed"],
    "controls": ["control", "executions", "seconds", "found"],
}


def is_of(kind, bug):
    return kind == "controls" if bug.control else kind == "checker" or (kind == "one_thread" and bug.test != "check")


def score_all(tree, bugs, args, broken):
    """`broken`: what the tree raises when a bug cannot be tried. => how many are wrong"""
    score = Score(tree, args)
    for what in sorted({b.test for b in bugs} | {"anonvm", "check"}):
        tree.clean(what)
    for kind in "checker", "one_thread", "controls":
        some = [b for b in bugs if is_of(kind, b)]
        if not some:
            continue
        print("| " + " | ".join(HEADS[kind]) + " |\n|" + "---|" * len(HEADS[kind]))
        for bug in some:
            try:
                bug.apply(tree.source)
                try:
                    row = score.one_thread(bug) if kind == "one_thread" else score.checker(bug)
                finally:
                    bug.apply(tree.source, "-R")
            except (broken, Unusable) as e:
                row = [f"**{e}**"]
                score.bad.append(f"{bug.name}: {e}")
            print("| " + " | ".join([bug.name, *row]) + " |", flush=True)
        print()
    print(f"{sum(not b.control for b in bugs)} bugs and {sum(b.control for b in bugs)} controls, {args.seeds} seeds each; "
          f"nine of ten searches for the slowest took at most {score.slowest:.1f} s of CPU; {len(score.bad)} problems")
    for problem in score.bad:
        print("problem: " + problem)
    return len(score.bad)
