# One set of compiler settings for every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")

find_program(CCACHE ccache)
if(CCACHE)
  # Clones in other folders share what was compiled. The precompiled header is made anew in each; its content, not its
  # time stamp, decides.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
endif()

add_library(zoetrope_settings INTERFACE)
target_compile_options(zoetrope_settings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wno-unused-parameter
                                                   -fno-math-errno -fPIC -fdiagnostics-color=always)
target_include_directories(zoetrope_settings INTERFACE "${CMAKE_SOURCE_DIR}/src")
if(ZOETROPE_SANITIZE)
  target_compile_options(zoetrope_settings INTERFACE -fsanitize=${ZOETROPE_SANITIZE} -fno-omit-frame-pointer
                                                     -fno-sanitize-recover=all)
  target_link_options(zoetrope_settings INTERFACE -fsanitize=${ZOETROPE_SANITIZE})
endif()
find_program(LLD ld.lld)
if(LLD)
  target_link_options(zoetrope_settings INTERFACE -fuse-ld=lld)
endif()
