# One function per kind of target, so that folders only say what they hold and whom they know.

# A header set that every LibTorch-using target shares; saves about ten seconds per file.
if(ZOETROPE_PRECOMPILED_HEADERS)
  file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/precompiled.cpp" CONTENT "")  # unlike WRITE, keeps its time
  add_library(zoetrope_precompiled STATIC "${CMAKE_BINARY_DIR}/precompiled.cpp")
  target_link_libraries(zoetrope_precompiled PUBLIC zoetrope_settings zoetrope::torch)
  target_precompile_headers(zoetrope_precompiled PRIVATE <ATen/ATen.h> <torch/csrc/autograd/custom_function.h>
                            <functional> <map> <memory> <optional> <string> <vector>)
endif()

function(use_precompiled_headers target)
  if(ZOETROPE_PRECOMPILED_HEADERS)
    target_precompile_headers(${target} REUSE_FROM zoetrope_precompiled)
  endif()
endfunction()

# Compiles several files of a folder as one: LibTorch's headers take longer than our code. Not for clang-tidy, which
# wants each file.
function(use_unity_build target)
  if(ZOETROPE_UNITY_BUILD)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 4)
  endif()
endfunction()

# zoetrope_library(name [TORCH] [DEPS ...]): every .cpp of the calling folder and below; x_cuda.cpp / x_stub.cpp
# pairs hold what needs CUDA, and one of each pair is compiled.
function(zoetrope_library name)
  cmake_parse_arguments(ARG "TORCH" "" "DEPS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp")
  if(ZOETROPE_CUDA)
    list(FILTER sources EXCLUDE REGEX "_stub\\.cpp$")
  else()
    list(FILTER sources EXCLUDE REGEX "_cuda\\.cpp$")
  endif()
  if(NOT sources)
    add_library(zoetrope_${name} INTERFACE)
    target_link_libraries(zoetrope_${name} INTERFACE zoetrope_settings ${ARG_DEPS})
    return()
  endif()
  add_library(zoetrope_${name} STATIC ${sources})
  target_link_libraries(zoetrope_${name} PUBLIC zoetrope_settings ${ARG_DEPS})
  if(ARG_TORCH)
    target_link_libraries(zoetrope_${name} PUBLIC zoetrope::torch)
    use_precompiled_headers(zoetrope_${name})
  endif()
  use_unity_build(zoetrope_${name})
endfunction()

# zoetrope_test(name LABEL label [TORCH] [DEPS ...]): one test program from the .cpp files of tests/<label>/<name>.
# Tests share the cores: threads that spin while they wait for each other made some ten times slower.
function(zoetrope_test name)
  cmake_parse_arguments(ARG "TORCH" "LABEL;TIMEOUT" "DEPS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${ARG_LABEL}/${name}/*.cpp")
  if(NOT sources)
    return()
  endif()
  set(target ${ARG_LABEL}_${name}_test)
  add_executable(${target} ${sources})
  target_link_libraries(${target} PRIVATE ${ARG_DEPS} zoetrope_test_support)
  if(ARG_TORCH)
    target_link_libraries(${target} PRIVATE zoetrope::torch)
    target_compile_options(${target} PRIVATE -fPIC)  # the precompiled header was made with it
    use_precompiled_headers(${target})
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  gtest_discover_tests(${target} DISCOVERY_MODE PRE_TEST TEST_PREFIX "${ARG_LABEL}." PROPERTIES LABELS ${ARG_LABEL}
                       TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT OMP_WAIT_POLICY=passive)
endfunction()
