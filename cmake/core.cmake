# SPDX-License-Identifier: MIT
# The core as targets for an embedder: add_subdirectory() this project, then
#
#	target_link_libraries(my_kernel PRIVATE anonvm::sources anonvm::arch_soft)
#	target_include_directories(my_kernel PRIVATE my_port)   # holds avm_port.h
#
# compiles the core with the flags of my_kernel. anonvm::amalgamation is the same in two files.

# sources.mk is the one list of core files; a change of it configures anew.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/sources.mk)
file(READ ${PROJECT_SOURCE_DIR}/sources.mk text)
string(REGEX MATCHALL "src/[a-z0-9_]+\\.c" paths "${text}")
set(AVM_CORE_SOURCES)
set(missing)
foreach(path IN LISTS paths)
	if(EXISTS ${PROJECT_SOURCE_DIR}/${path})
		list(APPEND AVM_CORE_SOURCES ${PROJECT_SOURCE_DIR}/${path})
	else()
		list(APPEND missing ${path})
	endif()
endforeach()
if(missing)
	# A file that appears later configures anew, too.
	list(TRANSFORM missing PREPEND "${PROJECT_SOURCE_DIR}/" OUTPUT_VARIABLE absent)
	file(GLOB ignored CONFIGURE_DEPENDS ${absent})
	list(JOIN missing " " missing)
	if(NOT AVM_ALLOW_MISSING)
		message(FATAL_ERROR "sources.mk lists files that do not exist: ${missing}")
	endif()
	message(WARNING "sources.mk lists files that do not exist: ${missing}")
endif()
file(GLOB AVM_CORE_HEADERS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.h
	${PROJECT_SOURCE_DIR}/include/anonvm/*.h)

add_library(anonvm_headers INTERFACE)
add_library(anonvm::headers ALIAS anonvm_headers)
target_include_directories(anonvm_headers INTERFACE ${PROJECT_SOURCE_DIR}/include)

add_library(anonvm_sources INTERFACE)
add_library(anonvm::sources ALIAS anonvm_sources)
target_sources(anonvm_sources INTERFACE ${AVM_CORE_SOURCES})
target_link_libraries(anonvm_sources INTERFACE anonvm_headers)

foreach(arch soft)
	add_library(anonvm_arch_${arch} INTERFACE)
	add_library(anonvm::arch_${arch} ALIAS anonvm_arch_${arch})
	target_include_directories(anonvm_arch_${arch} INTERFACE ${PROJECT_SOURCE_DIR}/arch/${arch})
endforeach()

# The amalgamation: the whole core as anonvm.c and anonvm_all.h.
set(amalgamation ${PROJECT_BINARY_DIR}/amalgamation)
add_custom_command(OUTPUT ${amalgamation}/anonvm.c ${amalgamation}/anonvm_all.h
	COMMAND ${PROJECT_SOURCE_DIR}/scripts/amalgamate $<$<BOOL:${AVM_ALLOW_MISSING}>:--allow-missing>
		-o ${amalgamation}
	DEPENDS ${AVM_CORE_SOURCES} ${AVM_CORE_HEADERS} ${PROJECT_SOURCE_DIR}/scripts/amalgamate
		${PROJECT_SOURCE_DIR}/sources.mk
	COMMENT "Writing the amalgamation" COMMAND_EXPAND_LISTS VERBATIM)
add_custom_target(amalgamation DEPENDS ${amalgamation}/anonvm.c)

add_library(anonvm_amalgamation INTERFACE)
add_library(anonvm::amalgamation ALIAS anonvm_amalgamation)
target_sources(anonvm_amalgamation INTERFACE ${amalgamation}/anonvm.c)
add_dependencies(anonvm_amalgamation amalgamation)
target_include_directories(anonvm_amalgamation INTERFACE ${amalgamation})
target_link_libraries(anonvm_amalgamation INTERFACE anonvm_headers)
