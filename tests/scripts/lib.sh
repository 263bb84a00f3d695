# SPDX-License-Identifier: MIT
# What the script tests share. Sourced; $tmp is a folder that goes away with the test.
# shellcheck shell=sh

set -u
root=${AVM_SOURCE_DIR-$(cd "$(dirname "$0")/../.." && pwd)}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
failures=0

# For the checks of this very tree, while it is being put together (the CMake option of this name).
allow_missing=''
[ "${AVM_ALLOW_MISSING-OFF}" = OFF ] || allow_missing=--allow-missing

skip() {
	echo "skipped: $1"
	exit 77
}

# expect SENTENCE STATUS REGEX COMMAND...: the command ends with the status and prints a line that matches
# (stdout and stderr; an empty REGEX: anything).
expect() {
	sentence=$1
	status=$2
	regex=$3
	shift 3
	"$@" >"$tmp/expect.out" 2>&1 </dev/null
	got=$?
	if [ "$got" -ne "$status" ] || { [ -n "$regex" ] && ! grep -Eq -- "$regex" "$tmp/expect.out"; }; then
		echo "FAILED: $sentence: exit status $got, wanted $status and a line that matches '$regex'"
		sed 's/^/    /' "$tmp/expect.out"
		failures=$((failures + 1))
		return
	fi
	echo "ok: $sentence"
}

finish() {
	[ "$failures" -eq 0 ] || exit 1
	exit 0
}
