# SPDX-License-Identifier: MIT
# Tests are found by name; none is listed by hand.
#
#	tests/DIR/test_*.c            a program of its own (cmocka, where installed); other .c files of DIR
#	                              are linked into each
#	tests/DIR/test-*              a script; exit status 0 passes, 77 skips
#	tests/cases/**/*.avm          run by `anonvm run`; see tests/scripts/run-case for the headers of a case
#	tests/check/                  the same, with the core and the port of the checker
#	tests/threads/                the same, on the machine of several CPUs
#	tests/port/*.c                the port's self-test, on the simulated machine, and on that of several CPUs
#	tests/kernel/                 the same, with the drivers of the example kernel
#	tests/port/*.c                the port's self-test, on the simulated machine

if(PkgConfig_FOUND)
	pkg_check_modules(CMOCKA QUIET IMPORTED_TARGET cmocka)
endif()
set(test_environment
	AVM_SOURCE_DIR=${PROJECT_SOURCE_DIR}
	AVM_BUILD_DIR=${PROJECT_BINARY_DIR}
	AVM_TOOL=$<TARGET_FILE:anonvm>
	AVM_PROPERTY_OPS=${AVM_PROPERTY_OPS}
	AVM_ALLOW_MISSING=${AVM_ALLOW_MISSING}
	CC=${CMAKE_C_COMPILER}
	UBSAN_OPTIONS=print_stacktrace=1)

function(avm_test_environment name)
	set_tests_properties(${name} PROPERTIES ENVIRONMENT "${test_environment}" TIMEOUT 600
		SKIP_RETURN_CODE 77)
	string(REGEX REPLACE "/.*" "" label ${name})
	set_tests_properties(${name} PROPERTIES LABELS ${label})
endfunction()

# How tests are compiled; `source` is one of the target's.
function(avm_test_target name source)
	set_target_properties(${name} PROPERTIES C_EXTENSIONS OFF)
	target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
	# tests/check are about the checker's port, which has a core of its own.
	if(source MATCHES "tests/check/")
		if(name MATCHES "test_data_races|test_race_model")
			target_compile_options(${name} PRIVATE ${AVM_CHECK_FLAGS})
		endif()
		target_link_libraries(${name} PRIVATE avm_core_check avm_port_check)
	elseif(name STREQUAL selftest_threads OR source MATCHES "tests/threads/")
		target_link_libraries(${name} PRIVATE avm_threads)
		# As in anonvm-stress, parts of which are looked at: fences are no order to the thread sanitizer.
		if(AVM_SANITIZE MATCHES thread)
			target_compile_options(${name} PRIVATE -Wno-tsan -Wno-unknown-warning-option)
		endif()
	elseif(source MATCHES "tests/kernel/")
		target_link_libraries(${name} PRIVATE avm_kernel_drivers)
	else()
		target_link_libraries(${name} PRIVATE ${AVM_LIBRARIES})
	endif()
	target_link_libraries(${name} PRIVATE avm_flags anonvm_headers)
	# Tests may look at the insides of the core.
	target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
endfunction()

function(avm_test_program name)
	add_executable(${name} ${ARGN})
	set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
		${PROJECT_BINARY_DIR}/tests)
	avm_test_target(${name} ${ARGV1})
endfunction()

# What several programs have in common is compiled once: programs link to `name`.
function(avm_test_common name)
	add_library(${name} OBJECT ${ARGN})
	avm_test_target(${name} ${ARGV1})
endfunction()

file(GLOB dirs LIST_DIRECTORIES true CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/*)
foreach(dir IN LISTS dirs)
	get_filename_component(area ${dir} NAME)
	if(area STREQUAL port OR (area STREQUAL check AND NOT TARGET avm_core_check) OR
	   (area STREQUAL threads AND NOT TARGET avm_threads))
		continue()
	endif()
	file(GLOB scripts CONFIGURE_DEPENDS ${dir}/test-*)
	foreach(script IN LISTS scripts)
		get_filename_component(name ${script} NAME)
		string(REGEX REPLACE "^test-|\\.(sh|py)$" "" name ${name})
		add_test(NAME ${area}/${name} COMMAND ${script})
		avm_test_environment(${area}/${name})
	endforeach()

	file(GLOB tests CONFIGURE_DEPENDS ${dir}/test_*.c)
	file(GLOB common CONFIGURE_DEPENDS ${dir}/*.c)
	if(tests)
		list(REMOVE_ITEM common ${tests})
		if(common)
			avm_test_common(common_${area} ${common})
		endif()
	endif()
	if(tests AND NOT CMOCKA_FOUND)
		message(STATUS "cmocka not found: tests/${area}/*.c are left out")
		continue()
	endif()
	foreach(test IN LISTS tests)
		get_filename_component(name ${test} NAME_WE)
		# A file of the core compiled into the test stands in for that of the library.
		file(STRINGS ${test} own REGEX "^#include \"\\.\\./\\.\\./src/.*\\.c\"")
		avm_test_program(${name} ${test})
		if(common)
			target_link_libraries(${name} PRIVATE common_${area})
		endif()
		if(own)
			target_link_libraries(${name} PRIVATE avm_measured)
			# What such a test includes may run in threads: a count lost between two makes others, which are
			# differences, negative.
			if(AVM_COVERAGE)
				target_compile_options(${name} PRIVATE -fprofile-update=atomic)
			endif()
		endif()
		target_link_libraries(${name} PRIVATE PkgConfig::CMOCKA)
		string(REGEX REPLACE "^test_" "" short ${name})
		add_test(NAME ${area}/${short} COMMAND ${name})
		avm_test_environment(${area}/${short})
	endforeach()
endforeach()

file(GLOB_RECURSE cases CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/tests/cases
	${PROJECT_SOURCE_DIR}/tests/cases/*.avm)
foreach(case IN LISTS cases)
	add_test(NAME case/${case} COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/run-case
		$<TARGET_FILE:anonvm> ${PROJECT_SOURCE_DIR}/tests/cases/${case})
	avm_test_environment(case/${case})
endforeach()

file(GLOB port_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/port/*.c)
if(port_sources)
	avm_test_program(selftest_sim ${port_sources})
	add_test(NAME port/selftest_sim COMMAND selftest_sim)
	avm_test_environment(port/selftest_sim)
	if(TARGET avm_threads)
		avm_test_program(selftest_threads ${port_sources})
		add_test(NAME port/selftest_threads COMMAND selftest_threads)
		avm_test_environment(port/selftest_threads)
	endif()
endif()

# All that runs in real threads, for a build that is about them (make check-threads).
if(TARGET avm_threads)
	add_custom_target(threads DEPENDS anonvm-stress selftest_threads)
	file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/threads/test_*.c)
	foreach(source IN LISTS sources)
		get_filename_component(name ${source} NAME_WE)
		if(TARGET ${name})
			add_dependencies(threads ${name})
		endif()
	endforeach()
	set_tests_properties(port/selftest_threads PROPERTIES LABELS threads)
endif()

# The long ones first, so that the last to end is not alone.
foreach(name property/failures property/pressure property/property hostile/traces tool/replay tool/porting
	tool/bench-families)
	if(TEST ${name})
		set_tests_properties(${name} PROPERTIES COST 100)
	endif()
endforeach()

include(cmake/fuzz.cmake)
