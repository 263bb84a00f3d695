# SPDX-License-Identifier: MIT
# tests/fuzz/fuzz_NAME.c: a target each, `fuzz_NAME`. With AVM_FUZZ it is a fuzzer; without, it runs its seeds
# (tests/fuzz/corpus/NAME/) as a test. What lies beside a target's name in here is linked to it.

set(fuzz ${PROJECT_SOURCE_DIR}/tests/fuzz)
file(GLOB targets CONFIGURE_DEPENDS ${fuzz}/fuzz_*.c)
file(GLOB property CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/property/*.c)
list(FILTER property EXCLUDE REGEX "/test_[^/]*$")
set(fuzz_api_with ${fuzz}/records.c ${property})
set(lines ${fuzz}/lines.c ${PROJECT_SOURCE_DIR}/tests/hostile/mutate.c)
set(fuzz_script_with ${lines})
set(fuzz_trace_perf_with ${fuzz}/trace_fuzz.c ${lines})
set(fuzz_trace_strace_with ${fuzz}/trace_fuzz.c ${lines})

set(script_beside ${PROJECT_SOURCE_DIR}/tests/cases)

add_custom_target(fuzzers)
foreach(target IN LISTS targets)
	get_filename_component(name ${target} NAME_WE)
	string(REGEX REPLACE "^fuzz_" "" short ${name})
	avm_test_program(${name} ${target} ${${name}_with})
	target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/property
		${PROJECT_SOURCE_DIR}/tests/hostile)
	add_dependencies(fuzzers ${name})
	if(AVM_FUZZ)
		target_link_options(${name} PRIVATE -fsanitize=fuzzer)
	else()
		target_sources(${name} PRIVATE ${fuzz}/driver.c)
		add_test(NAME fuzz/${short} COMMAND ${name} ${fuzz}/corpus/${short} ${${short}_beside})
		avm_test_environment(fuzz/${short})
	endif()
endforeach()
