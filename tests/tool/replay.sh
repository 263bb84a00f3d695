# SPDX-License-Identifier: MIT
# What the tests of replay share: figures of its JSON. Sourced after scripts/lib.sh.
# shellcheck shell=sh

tool=${AVM_TOOL:?}
traces=${AVM_SOURCE_DIR:?}/examples/traces

"$tool" --version | grep -q '^features:.*json' || skip 'built without JSON'

# figures FILE TRACE [OPTION...]: replays, and writes one line "path.to.key value" for each figure.
figures() {
	figures_to=$1
	shift
	"$tool" replay --quiet --json "$@" >"$tmp/json" 2>"$tmp/stderr"
	figures_status=$?
	awk '
	/[{[]$/ { if (match($0, /"[^"]*"/)) path[++depth] = substr($0, RSTART + 1, RLENGTH - 2)
		else path[++depth] = "-"; next }
	/^ *[}\]],?$/ { depth--; next }
	match($0, /"[^"]*": /) {
		line = ""
		for (i = 2; i <= depth; i++) line = line path[i] "."
		key = substr($0, RSTART + 1, RLENGTH - 4)
		value = substr($0, RSTART + RLENGTH)
		sub(/,$/, "", value)
		gsub(/ /, "_", key)
		print line key, value
	}' "$tmp/json" >"$figures_to"
	return "$figures_status"
}

# figure FILE KEY: 0 when there is no such key.
figure() {
	awk -v key="$2" '$1 == key { n = $2 } END { print n + 0 }' "$1"
}

# causes FILE REGEX: the sum of the causes whose names match.
causes() {
	awk -v re="^unexplained\\.$2" '$1 ~ re { n += $2 } END { print n + 0 }' "$1"
}

# say SENTENCE CONDITION...: a test of figures.
say() {
	sentence=$1
	shift
	if "$@"; then
		echo "ok: $sentence"
		return
	fi
	echo "FAILED: $sentence ($*)"
	failures=$((failures + 1))
}

# unpack TRACE: as text, on the standard output.
unpack() {
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.gz) gzip -dc "$1" ;;
	*) cat "$1" ;;
	esac
}
