# SPDX-License-Identifier: MIT
# tests/fuzz/fuzz_NAME.c: a target each, `fuzz_NAME`. With AVM_FUZZ it is a fuzzer; without, it runs its seeds
# (tests/fuzz/corpus/NAME/) as a test. What lies beside a target's name in here is linked to it.

set(fuzz ${PROJECT_SOURCE_DIR}/tests/fuzz)
file(GLOB targets CONFIGURE_DEPENDS ${fuzz}/fuzz_*.c)
avm_test_common(fuzz_lines ${fuzz}/lines.c ${PROJECT_SOURCE_DIR}/tests/hostile/mutate.c)
target_include_directories(fuzz_lines PRIVATE ${PROJECT_SOURCE_DIR}/tests/hostile)
avm_test_common(fuzz_traces ${fuzz}/trace_fuzz.c)
avm_test_common(fuzz_records ${fuzz}/records.c)
target_include_directories(fuzz_records PRIVATE ${PROJECT_SOURCE_DIR}/tests/property)
avm_test_common(fuzz_driver ${fuzz}/driver.c)
set(fuzz_api_with fuzz_records common_property)
set(fuzz_script_with fuzz_lines)
set(fuzz_trace_perf_with fuzz_traces fuzz_lines)
set(fuzz_trace_strace_with fuzz_traces fuzz_lines)

set(script_beside ${PROJECT_SOURCE_DIR}/tests/cases)

add_custom_target(fuzzers)
foreach(target IN LISTS targets)
	get_filename_component(name ${target} NAME_WE)
	string(REGEX REPLACE "^fuzz_" "" short ${name})
	avm_test_program(${name} ${target})
	target_link_libraries(${name} PRIVATE ${${name}_with})
	target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/property
		${PROJECT_SOURCE_DIR}/tests/hostile)
	add_dependencies(fuzzers ${name})
	if(AVM_FUZZ)
		target_link_options(${name} PRIVATE -fsanitize=fuzzer)
	else()
		target_link_libraries(${name} PRIVATE fuzz_driver)
		add_test(NAME fuzz/${short} COMMAND ${name} ${fuzz}/corpus/${short} ${${short}_beside})
		avm_test_environment(fuzz/${short})
	endif()
endforeach()
