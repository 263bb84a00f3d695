# SPDX-License-Identifier: MIT
# bash completion for anonvm(1)

_anonvm()
{
	local cur prev words cword
	local commands='run graph record replay why diff check stress bench help'

	COMPREPLY=()
	cur=${COMP_WORDS[COMP_CWORD]}
	prev=${COMP_WORDS[COMP_CWORD - 1]}
	words=("${COMP_WORDS[@]}")
	cword=$COMP_CWORD

	if ((cword == 1)) || { ((cword == 2)) && [[ $prev == help ]]; }; then
		mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$cur")
		return
	fi

	# "--option=value" comes in three words: the option, "=", the value.
	if [[ $cur == = ]]; then
		cur=''
	elif [[ $prev == = ]]; then
		prev=${words[cword - 2]}
	fi
	case $prev in
	--strategy)
		mapfile -t COMPREPLY < <(compgen -W 'walk sticky pct portfolio bound dpor' -- "$cur")
		return
		;;
	--verify)
		mapfile -t COMPREPLY < <(compgen -W 'each end never' -- "$cur")
		return
		;;
	--family)
		mapfile -t COMPREPLY < <(compgen -W 'reuse chain flat' -- "$cur")
		return
		;;
	--touch)
		mapfile -t COMPREPLY < <(compgen -W 'first none all' -- "$cur")
		return
		;;
	--format)
		mapfile -t COMPREPLY < <(compgen -W 'dot svg' -- "$cur")
		return
		;;
	--swap-kind)
		mapfile -t COMPREPLY < <(compgen -W 'memory file zstd lz4' -- "$cur")
		return
		;;
	--swap)
		mapfile -t COMPREPLY < <(compgen -W 'auto' -- "$cur")
		return
		;;
	--frames | --stop | --stop-at | --top | --repeat)
		return
		;;
	--only)
		mapfile -t COMPREPLY < <(compgen -W "$("${words[0]}" bench --list 2>/dev/null | sed 's/ .*//')" -- "$cur")
		return
		;;
	-o | --output)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	-m | --pages)
		mapfile -t COMPREPLY < <(compgen -W '1024 2048 4096 8192 16384 32768' -- "$cur")
		return
		;;
	esac

	local options=''
	case ${words[1]} in
	run)
		options='--verify= --family= --trace --json --quiet --help'
		;;
	graph)
		options='--output= --format= --stop-at= --family= --help'
		;;
	record)
		options='--output --scrub --keep-data --strace --pages --quiet --help'
		;;
	bench)
		options='--only= --list --repeat= --quick --json= --strict --help'
		;;
	why)
		options='--all --family= --touch= --top= --json --quiet --help'
		;;
	check)
		options='--seed --time --executions --programs --threads-per-program --ops-per-thread --strategy= --bound --no-reduction --shard= --keep --no-races --without --no-failures --no-shrink --replay --commute --gallery --seeds --json --quiet --help'
		;;
	stress)
		options='--threads --processes --seconds --operations --memory --seed --verify --yields --interrupt --fail --patience --family --without --scale --quiet --help'
		;;
	diff)
		options='--ops --seed --program-ops --procs --family= --no-fork --keep --no-shrink --rules --json --quiet --help'
		;;
	replay)
		options='--verify= --family= --frames= --swap= --swap-kind= --stop= --touch= --strict --explain --top= --json --quiet --help'
		;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
		[[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null
		return
	fi
	# The command to record, and its arguments, complete as they would by themselves.
	if [[ ${words[1]} == record || " ${words[*]:1:cword-1} " == ' why '*' -- '* ]]; then
		mapfile -t COMPREPLY < <(compgen -c -f -- "$cur")
		return
	fi
	mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	compopt -o filenames 2>/dev/null
}

complete -F _anonvm anonvm
