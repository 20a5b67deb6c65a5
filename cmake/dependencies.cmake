# Imported targets for what ./zt unpacked from wheels, and for the system's packages.
if(NOT EXISTS "${ZOETROPE_DEPS}/torch/include")
  message(FATAL_ERROR "ZOETROPE_DEPS must be the folder of unpacked wheels, but is '${ZOETROPE_DEPS}'; "
                      "run ./zt build, which makes it and configures this project")
endif()

function(import_library name)
  cmake_parse_arguments(ARG "" "" "FILES;INCLUDES;DEFINITIONS;LINK" ${ARGN})
  add_library(${name} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${name} SYSTEM INTERFACE ${ARG_INCLUDES})
  target_compile_definitions(${name} INTERFACE ${ARG_DEFINITIONS})
  target_link_libraries(${name} INTERFACE ${ARG_FILES} ${ARG_LINK})
  foreach(file ${ARG_FILES})
    get_filename_component(folder "${file}" DIRECTORY)
    # RPATH (not RUNPATH), since the wheels' libraries need each other.
    target_link_options(${name} INTERFACE "-Wl,--disable-new-dtags,-rpath,${folder}")
  endforeach()
endfunction()

set(torch_lib "${ZOETROPE_DEPS}/torch/lib")
set(torch_include "${ZOETROPE_DEPS}/torch/include" "${ZOETROPE_DEPS}/torch/include/torch/csrc/api/include")
file(GLOB cuda_stubs "${ZOETROPE_DEPS}/nvidia/*/lib/libcudart.so.*" "${ZOETROPE_DEPS}/nvidia/*/lib/libcupti.so.*")
# fmt ships with LibTorch's headers; one version of it for all code.
import_library(zoetrope::fmt INCLUDES "${ZOETROPE_DEPS}/torch/include" DEFINITIONS FMT_HEADER_ONLY=1)
import_library(zoetrope::torch FILES "${torch_lib}/libtorch_cpu.so" "${torch_lib}/libc10.so" ${cuda_stubs}
               INCLUDES ${torch_include} DEFINITIONS FMT_HEADER_ONLY=1 USE_C10D_GLOO)
# PyTorch's own OpenMP run-time; a second one would give a second pool of threads.
target_link_libraries(zoetrope::torch INTERFACE "${torch_lib}/libgomp.so.1")
target_compile_options(zoetrope::torch INTERFACE -fopenmp)

file(GLOB arrow_libraries "${ZOETROPE_DEPS}/pyarrow/libarrow.so.*" "${ZOETROPE_DEPS}/pyarrow/libparquet.so.*")
import_library(zoetrope::arrow FILES ${arrow_libraries} INCLUDES "${ZOETROPE_DEPS}/pyarrow/include")

find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(sentencepiece REQUIRED IMPORTED_TARGET GLOBAL sentencepiece)
pkg_check_modules(ffmpeg REQUIRED IMPORTED_TARGET GLOBAL libavformat libavcodec libavutil libswscale)
pkg_check_modules(httplib REQUIRED IMPORTED_TARGET GLOBAL cpp-httplib)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET GLOBAL libxxhash)
find_package(ZLIB REQUIRED)
find_package(GTest REQUIRED)

if(ZOETROPE_CUDA)
  include(cuda)
endif()
