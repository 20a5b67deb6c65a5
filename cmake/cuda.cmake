# The CUDA variant: the toolkit's headers and compiler from the system, the libraries from the wheels.
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_ARCHITECTURES 80 90 CACHE STRING "GPU architectures to compile for")
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
file(GLOB cuda_libraries "${torch_lib}/libtorch_cuda.so" "${torch_lib}/libc10_cuda.so")
target_link_libraries(zoetrope::torch INTERFACE ${cuda_libraries})
target_include_directories(zoetrope::torch SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
target_compile_definitions(zoetrope::torch INTERFACE USE_C10D_NCCL)
# NCCL's header, for the collectives of torch/csrc/distributed.
file(GLOB nccl_include "${ZOETROPE_DEPS}/nvidia/nccl/include")
target_include_directories(zoetrope::torch SYSTEM INTERFACE ${nccl_include})
file(GLOB wheel_library_folders "${ZOETROPE_DEPS}/nvidia/*/lib")
foreach(folder ${wheel_library_folders})
  target_link_options(zoetrope::torch INTERFACE "-Wl,-rpath,${folder}" "-Wl,-rpath-link,${folder}")
endforeach()
# libtorch_cuda registers its kernels in static objects, which --as-needed would drop.
target_link_options(zoetrope::torch INTERFACE "-Wl,--no-as-needed,${torch_lib}/libtorch_cuda.so,--as-needed")
