# SPDX-License-Identifier: MIT
# What runs in a process of the host: the core on the simulated machine, and the anonvm command.

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE)
	set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
if(PROJECT_IS_TOP_LEVEL)
	set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG")
	set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
endif()

# How everything of ours is compiled.
add_library(avm_flags INTERFACE)
target_compile_features(avm_flags INTERFACE c_std_11)
target_compile_options(avm_flags INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
	-Wstrict-prototypes -Wmissing-prototypes -Wvla
	# What __FILE__ says does not depend on where the tree lies.
	-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
if(AVM_WERROR)
	target_compile_options(avm_flags INTERFACE -Werror)
endif()
if(AVM_DEBUG)
	target_compile_definitions(avm_flags INTERFACE AVM_DEBUG=1)
endif()
if(AVM_SANITIZE)
	target_compile_options(avm_flags INTERFACE -fsanitize=${AVM_SANITIZE}
		-fno-sanitize-recover=all -fno-omit-frame-pointer)
	target_link_options(avm_flags INTERFACE -fsanitize=${AVM_SANITIZE})
endif()
# What is measured is the core; only that is instrumented, at -O0, so that each line is one.
add_library(avm_measured INTERFACE)
# Spin locks, as include/anonvm/annotate.h says who takes them. Tests break rules on purpose.
target_compile_options(avm_measured INTERFACE $<$<C_COMPILER_ID:Clang>:-Wthread-safety>)
if(AVM_COVERAGE)
	target_compile_options(avm_measured INTERFACE -O0 --coverage)
	target_link_options(avm_flags INTERFACE --coverage)
endif()

# Where a fuzzer looks for news: the core without what judges it, which is to be quick, and the tool.
add_library(avm_explored INTERFACE)
if(AVM_FUZZ)
	target_compile_options(avm_explored INTERFACE -fsanitize=fuzzer-no-link)
	set(judges ${AVM_CORE_SOURCES})
	list(FILTER judges INCLUDE REGEX "/verify[^/]*$|_check\\.c$")
	set_source_files_properties(${judges} PROPERTIES COMPILE_OPTIONS -fno-sanitize=fuzzer-no-link)
	# Looks at each byte of a red zone: half of the time, else.
	set_source_files_properties(${PROJECT_SOURCE_DIR}/src/slab_check.c PROPERTIES
		COMPILE_OPTIONS "-fno-sanitize=fuzzer-no-link,address,undefined")
endif()

# One name of a library: static, C11 without extensions.
function(avm_library name)
	add_library(${name} STATIC ${ARGN})
	set_target_properties(${name} PROPERTIES C_EXTENSIONS OFF)
	target_link_libraries(${name} PUBLIC avm_flags anonvm_headers)
endfunction()

# Compressors of simulated swap devices.
find_package(PkgConfig QUIET)
add_library(avm_compressors INTERFACE)
foreach(lib zstd lz4)
	string(TOUPPER ${lib} LIB)
	if(PkgConfig_FOUND)
		pkg_check_modules(${LIB} QUIET IMPORTED_TARGET lib${lib})
	endif()
	if(${LIB}_FOUND)
		target_compile_definitions(avm_compressors INTERFACE AVM_HAVE_${LIB}=1)
		target_link_libraries(avm_compressors INTERFACE PkgConfig::${LIB})
	else()
		message(STATUS "lib${lib} not found: swap devices compressed with ${lib} are disabled")
	endif()
endforeach()

file(GLOB port_sim_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/ports/sim/*.c)
file(GLOB tool_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tool/*.c)
list(REMOVE_ITEM tool_sources ${PROJECT_SOURCE_DIR}/tool/main.c)

# The core, for the simulated machine. The port calls back into nothing but the public interface.
set(AVM_LIBRARIES)
if(AVM_CORE_SOURCES)
	avm_library(avm_core_sim ${AVM_CORE_SOURCES})
	target_include_directories(avm_core_sim PUBLIC ${PROJECT_SOURCE_DIR}/ports/sim)
	target_link_libraries(avm_core_sim PUBLIC anonvm_arch_soft PRIVATE avm_measured avm_explored)
	list(APPEND AVM_LIBRARIES avm_core_sim)
endif()
if(port_sim_sources)
	avm_library(avm_port_sim ${port_sim_sources})
	target_include_directories(avm_port_sim PUBLIC ${PROJECT_SOURCE_DIR}/ports/sim)
	target_compile_definitions(avm_port_sim PRIVATE _GNU_SOURCE)
	target_link_libraries(avm_port_sim PUBLIC anonvm_arch_soft PRIVATE avm_compressors)
	if(TARGET avm_core_sim)
		target_link_libraries(avm_core_sim PUBLIC avm_port_sim)
		target_link_libraries(avm_port_sim PUBLIC avm_core_sim)
	endif()
	list(APPEND AVM_LIBRARIES avm_port_sim)
endif()

# The command: everything but main() as a library, for the tests.
add_library(avm_features INTERFACE)
if(PkgConfig_FOUND)
	pkg_check_modules(JANSSON QUIET IMPORTED_TARGET jansson)
endif()
if(JANSSON_FOUND)
	target_compile_definitions(avm_features INTERFACE AVM_HAVE_JANSSON=1)
	target_link_libraries(avm_features INTERFACE PkgConfig::JANSSON)
else()
	message(STATUS "jansson not found: --json is disabled")
endif()
if(tool_sources)
	avm_library(avm_tool ${tool_sources})
	target_include_directories(avm_tool PUBLIC ${PROJECT_SOURCE_DIR}/tool)
	target_compile_definitions(avm_tool PUBLIC _GNU_SOURCE)
	target_link_libraries(avm_tool PUBLIC ${AVM_LIBRARIES} avm_features m PRIVATE avm_explored)
	list(PREPEND AVM_LIBRARIES avm_tool)
endif()

# What people run has the core in one piece, as the amalgamation: the compiler sees all of it at once, which is worth a
# quarter of the time of an operation. The tests have it file by file. The objects come before the library, of which nothing
# is taken then.
set(whole_core)
if(AVM_CORE_SOURCES AND AVM_AMALGAMATION)
	add_library(avm_core_whole OBJECT ${PROJECT_BINARY_DIR}/amalgamation/anonvm.c)
	add_dependencies(avm_core_whole amalgamation)
	set_target_properties(avm_core_whole PROPERTIES C_EXTENSIONS OFF)
	target_include_directories(avm_core_whole PRIVATE ${PROJECT_SOURCE_DIR}/ports/sim)
	target_link_libraries(avm_core_whole PRIVATE avm_flags anonvm_headers anonvm_arch_soft)
	# In one file, a parameter may have the name of another file's function; and gcc looks into calls, and takes what is
	# set together with a pointer for unset where it asks about the pointer.
	# Each function begins a cache line: what one costs does not depend on how long those before it are.
	# gcc inlines until the file has grown by 40 %; then what it comes to last goes without, be it small and hot.
	target_compile_options(avm_core_whole PRIVATE -O3 -falign-functions=64 -Wno-shadow
		-Wno-maybe-uninitialized
		$<$<C_COMPILER_ID:GNU>:--param=inline-unit-growth=80>)
	set(whole_core $<TARGET_OBJECTS:avm_core_whole>)
endif()

add_executable(anonvm ${PROJECT_SOURCE_DIR}/tool/main.c ${whole_core})
set_target_properties(anonvm PROPERTIES C_EXTENSIONS OFF
	RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
target_compile_definitions(anonvm PRIVATE _GNU_SOURCE AVM_BUILD="$<LOWER_CASE:$<CONFIG>>")
target_link_libraries(anonvm PRIVATE ${AVM_LIBRARIES} avm_features avm_flags
	anonvm_headers)

# Benchmarks: a program of its own that `anonvm bench` finds.
file(GLOB bench_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/*.c)
if(bench_sources)
	add_executable(anonvm-bench ${bench_sources} ${whole_core})
	set_target_properties(anonvm-bench PROPERTIES C_EXTENSIONS OFF
		RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/libexec/anonvm)
	target_compile_definitions(anonvm-bench PRIVATE _GNU_SOURCE AVM_BUILD="$<LOWER_CASE:$<CONFIG>>")
	target_link_libraries(anonvm-bench PRIVATE ${AVM_LIBRARIES})
endif()

# ... and of one part each, only for those who ask: bench/micro/NAME.c.
add_custom_target(microbenchmarks)
file(GLOB micro_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/micro/*.c)
foreach(source IN LISTS micro_sources)
	get_filename_component(name ${source} NAME_WE)
	add_executable(bench_${name} EXCLUDE_FROM_ALL ${source} ${whole_core})
	set_target_properties(bench_${name} PROPERTIES C_EXTENSIONS OFF
		RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench)
	target_compile_definitions(bench_${name} PRIVATE _GNU_SOURCE)
	target_include_directories(bench_${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
	target_link_libraries(bench_${name} PRIVATE ${AVM_LIBRARIES} avm_compressors)
	add_dependencies(microbenchmarks bench_${name})
endforeach()

# What plain `make` builds.
add_custom_target(tools DEPENDS anonvm)
if(TARGET anonvm-bench)
	add_dependencies(tools anonvm-bench)
endif()

include(GNUInstallDirs)
install(TARGETS anonvm)
if(TARGET anonvm-bench)
	install(TARGETS anonvm-bench DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/anonvm)
endif()
install(FILES ${PROJECT_SOURCE_DIR}/docs/anonvm.1
	DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${PROJECT_SOURCE_DIR}/completions/anonvm.bash RENAME anonvm
	DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)

# The threads port: the simulated machine with as many CPUs as there are threads (ports/threads). `name` is the library; the
# definitions that follow are the core's as well as the port's.
file(GLOB port_threads_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/ports/threads/*.c)
set(sim_of_threads ${port_sim_sources})
list(FILTER sim_of_threads EXCLUDE REGEX "sim_(thread|alloc|fail|deferred)\\.c$")
if(PkgConfig_FOUND)
	pkg_check_modules(URCU QUIET IMPORTED_TARGET liburcu-bp)
endif()
function(avm_threads_machine name)
	avm_library(${name} ${AVM_CORE_SOURCES} ${sim_of_threads} ${port_threads_sources})
	target_compile_definitions(${name} PUBLIC AVM_THREADS=1 ${ARGN} PRIVATE _GNU_SOURCE)
	target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/ports/sim
		${PROJECT_SOURCE_DIR}/ports/threads)
	target_link_libraries(${name} PUBLIC anonvm_arch_soft PkgConfig::URCU
		PRIVATE avm_compressors)
	if(AVM_SANITIZE MATCHES thread)
		target_compile_options(${name} PRIVATE
			-include ${PROJECT_SOURCE_DIR}/ports/threads/threads_tsan.h)
	endif()
endfunction()
file(GLOB stress_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/stress/*.c)
if(URCU_FOUND AND AVM_CORE_SOURCES AND stress_sources AND NOT AVM_COVERAGE)
	avm_threads_machine(avm_threads AVM_THREADS_HOOKS=1)
	add_executable(anonvm-stress ${stress_sources})
	set_target_properties(anonvm-stress PROPERTIES C_EXTENSIONS OFF
		RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/libexec/anonvm)
	target_compile_definitions(anonvm-stress PRIVATE _GNU_SOURCE)
	if(CMAKE_C_COMPILER_ID STREQUAL GNU)
		# Of fences, which order what it must not know; for those who read gcc's command lines with clang.
		target_compile_options(anonvm-stress PRIVATE -Wno-tsan -Wno-unknown-warning-option)
	endif()
	target_link_libraries(anonvm-stress PRIVATE avm_threads avm_features)
	add_dependencies(tools anonvm-stress)
	# `anonvm stress --scale`: nobody watches the locks, and once there are none. Only where speed is asked for, and for
	# those who ask: cmake --build build --target scale.
	add_custom_target(scale)
	foreach(variant scale scale-unlocked)
		set(name stress-${variant})
		string(REPLACE - _ machine avm_threads_${variant})
		avm_threads_machine(${machine} $<$<STREQUAL:${variant},scale-unlocked>:AVM_LOCKS_OUT=1>)
		add_executable(${name} ${PROJECT_SOURCE_DIR}/stress/scale/scale.c)
		set_target_properties(${name} PROPERTIES C_EXTENSIONS OFF
			RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/libexec/anonvm)
		target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
		target_link_libraries(${name} PRIVATE ${machine})
		set_target_properties(${name} ${machine} PROPERTIES EXCLUDE_FROM_ALL ON)
		add_dependencies(scale ${name})
	endforeach()
elseif(NOT URCU_FOUND)
	message(STATUS "liburcu not found: the threads port, and anonvm stress, are left out")
endif()

# Drivers of the example kernel: they ask a struct platform for everything, so that tests can be it.
file(GLOB kernel_driver_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/kernel/pci/*.c
	${PROJECT_SOURCE_DIR}/examples/kernel/virtio/*.c)
if(kernel_driver_sources AND AVM_BUILD_TESTS)
	avm_library(avm_kernel_drivers ${kernel_driver_sources})
	target_include_directories(avm_kernel_drivers PUBLIC ${PROJECT_SOURCE_DIR}/examples/kernel/pci
		${PROJECT_SOURCE_DIR}/examples/kernel/virtio)
endif()

# The checker: a core of its own, whose memory accesses call us (see ports/check/check_access.c). That is the
# instrumentation of one sanitizer, which goes with no other.
set(AVM_CHECK_FLAGS -fsanitize=thread
	$<$<C_COMPILER_ID:GNU>:--param=tsan-instrument-func-entry-exit=0> # which tell us nothing
	$<$<C_COMPILER_ID:GNU>:-Wno-tsan> # of fences, which we are told of
	# For those who read gcc's command lines with clang.
	-Wno-unknown-warning-option -Wno-unused-command-line-argument)
file(GLOB check_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/check/*.c)
file(GLOB port_check_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/ports/check/*.c)
if(AVM_CORE_SOURCES AND check_sources AND NOT AVM_SANITIZE AND NOT AVM_COVERAGE)
	# Who only looks, at a machine at rest, need not be watched.
	set(observers ${AVM_CORE_SOURCES})
	list(FILTER observers INCLUDE REGEX "src/(verify|dump|graph|stats|[a-z_]+_check)")
	set(watched ${AVM_CORE_SOURCES})
	list(REMOVE_ITEM watched ${observers})
	add_library(avm_observers_check OBJECT ${observers})
	target_compile_definitions(avm_observers_check PUBLIC AVM_DEBUG=1 AVM_CHECK=1)
	target_include_directories(avm_observers_check PRIVATE ${PROJECT_SOURCE_DIR}/ports/sim)
	target_link_libraries(avm_observers_check PRIVATE avm_flags anonvm_headers anonvm_arch_soft)
	set_target_properties(avm_observers_check PROPERTIES C_EXTENSIONS OFF)
	avm_library(avm_core_check ${watched} $<TARGET_OBJECTS:avm_observers_check>)
	target_compile_definitions(avm_core_check PUBLIC AVM_DEBUG=1 AVM_CHECK=1)
	target_compile_options(avm_core_check PRIVATE ${AVM_CHECK_FLAGS} -g
		-include ${PROJECT_SOURCE_DIR}/ports/check/check_memory.h)
	target_include_directories(avm_core_check PUBLIC ${PROJECT_SOURCE_DIR}/ports/sim)
	target_link_libraries(avm_core_check PUBLIC anonvm_arch_soft)

	set(port_sources ${port_sim_sources})
	list(FILTER port_sources EXCLUDE REGEX "sim_thread\\.c$")
	# Its memory is ours: each file begins with our names for malloc() and free().
	add_library(avm_sim_check OBJECT ${port_sources})
	set_target_properties(avm_sim_check PROPERTIES C_EXTENSIONS OFF)
	target_compile_definitions(avm_sim_check PRIVATE _GNU_SOURCE AVM_DEBUG=1 AVM_CHECK=1)
	target_compile_options(avm_sim_check PRIVATE
		-include ${PROJECT_SOURCE_DIR}/ports/check/check_heap.h)
	target_include_directories(avm_sim_check PRIVATE ${PROJECT_SOURCE_DIR}/ports/sim)
	target_link_libraries(avm_sim_check PRIVATE avm_flags anonvm_headers anonvm_arch_soft
		avm_compressors)
	avm_library(avm_port_check $<TARGET_OBJECTS:avm_sim_check> ${port_check_sources})
	target_compile_definitions(avm_port_check PRIVATE _GNU_SOURCE)
	target_include_directories(avm_port_check PUBLIC ${PROJECT_SOURCE_DIR}/ports/check)
	target_link_libraries(avm_port_check PRIVATE avm_compressors PUBLIC avm_core_check)
	target_link_libraries(avm_core_check PUBLIC avm_port_check)

	add_executable(anonvm-check ${check_sources})
	set_target_properties(anonvm-check PROPERTIES C_EXTENSIONS OFF
		RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/libexec/anonvm)
	target_compile_definitions(anonvm-check PRIVATE _GNU_SOURCE)
	target_link_libraries(anonvm-check PRIVATE avm_core_check avm_port_check avm_features
		${CMAKE_DL_LIBS})
	# Which gives what it finds at an address a name, and so has to know what the core looks like inside.
	set_source_files_properties(${PROJECT_SOURCE_DIR}/check/name.c PROPERTIES
		INCLUDE_DIRECTORIES "${PROJECT_SOURCE_DIR}/src;${PROJECT_SOURCE_DIR}/ports/sim")
	add_dependencies(tools anonvm-check)
endif()
