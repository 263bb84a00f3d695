#!/bin/sh
# SPDX-License-Identifier: MIT
# How the traces of this folder were recorded. Needs root and perf; gcc, make, perl, python3 and
# redis for the programs of theirs.
#
# usage: record.sh ANONVM [OUTPUT-FOLDER [NAME...]]
set -eu

anonvm=$(command -v "$1")
case $anonvm in /*) ;; *) anonvm=$PWD/$anonvm ;; esac
here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "${2:-$here}" && cd "${2:-$here}" && pwd)
shift; [ $# -gt 0 ] && shift
names=${*:-pipeline compile nested-forks relay threads mremap operations redis python perl build}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export LC_ALL=C TMPDIR="$work" HOME="$work" PATH=/usr/bin:/bin

record() {	# FILE COMMAND...
	file=$out/$1; shift
	"$anonvm" record --scrub -o "$file" -- "$@"
}

example() {	# NAME: a program of examples/programs
	gcc -std=c11 -D_GNU_SOURCE -O1 -pthread -o "$1" "$here/../programs/$1.c"
}

rec_pipeline() {
	record pipeline.trace.gz sh -c 'ls -l /usr/lib | sort -k5n | tail -20 | awk "{ s += \$5 } END { print s }"' > /dev/null
}

rec_compile() {
	cp "$here/../programs/hello.c" .
	record compile.trace.xz gcc -O1 -o hello hello.c
}

rec_nested_forks() { example nested_forks; record nested-forks.trace.xz ./nested_forks; }
rec_relay() { example relay; record relay.trace.xz ./relay 500; }
rec_threads() { example threads; record threads.trace.xz ./threads; }
rec_mremap() { example mremap; record mremap.trace.xz ./mremap; }
rec_operations() { example operations; record operations.trace.xz ./operations; }

# The server only; its clients are not recorded. Two snapshots, the second while it is written to.
rec_redis() {
	(record redis.trace.xz redis-server --port 0 --unixsocket "$work/s" --save '' \
		--dir "$work" --appendonly no --enable-debug-command yes > /dev/null) &
	cli="redis-cli -s $work/s"
	until $cli ping > /dev/null 2>&1; do sleep 0.1; done
	$cli debug populate 12000 key 120 > /dev/null
	$cli bgsave > /dev/null
	sleep 1
	$cli bgsave > /dev/null
	i=0
	while [ $i -lt 400 ]; do echo "set key:$((i * 29 % 12000)) $i"; i=$((i + 1)); done | $cli > /dev/null
	sleep 1
	$cli shutdown nosave || true
	wait
}

rec_python() {
	cat > jobs.py <<-'P'
	import os
	rows = {i: "row %d" % i for i in range(6000)}
	for job in range(4):
	    if os.fork() == 0:
	        total = sum(len(rows[i]) for i in range(job, 6000, 4))
	        rows.update({i: str(total) for i in range(job, 6000, 4)})
	        os._exit(0)
	    os.wait()
	    rows = {i: r + "!" for i, r in rows.items()}
	P
	record python.trace.xz /usr/bin/python3 -S jobs.py
}

rec_perl() {
	cat > words.pl <<-'P'
	my %seen;
	for my $job (1 .. 3) {
	    $seen{$_ * $job % 3001} .= "w$_" for 1 .. 4000;
	    my $pid = fork // die;
	    if (!$pid) { my @s = sort { $seen{$a} cmp $seen{$b} } keys %seen; exit 0 }
	    waitpid $pid, 0;
	    my $n = () = `echo $job`;
	}
	P
	record perl.trace.xz perl words.pl
}

# The large one: make runs a shell, sed and the compiler, time and again.
rec_build() {
	cat > Makefile <<-'M'
	.RECIPEPREFIX = >
	OBJS = $(patsubst %,m%.o,$(shell seq 52))
	prog: $(OBJS)
	> gcc -o $@ $(OBJS)
	m%.o: m%.c
	> gcc -O2 -c $<
	m%.c: in.c
	> sed 's/@N@/$*/g' in.c > $@ && grep -c N$* $@ | { read n; expr $$n + 1; }
	M
	cat > in.c <<-'C'
	#include <stdio.h>
	#include <stdlib.h>
	#include <string.h>
	struct N@N@ { struct N@N@ *l, *r; char key[@N@]; };
	struct N@N@ *find@N@(struct N@N@ *n, const char *k)
	{
		int c;
		while (n && (c = strncmp(n->key, k, @N@)))
			n = c < 0 ? n->l : n->r;
		return n;
	}
	int (*f@N@)(const char *, ...) = printf;
	#if @N@ == 1
	int main(void) { return find1(NULL, "") != NULL; }
	#endif
	C
	record build.trace.xz make -s > /dev/null
}

for n in $names; do
	"rec_$(echo "$n" | tr - _)"
done
