#include "zoetrope/kernels/process_memory.h"

#include <climits>

#include <malloc.h>

namespace zoetrope {

void configure_process_memory() {
  mallopt(M_MMAP_THRESHOLD, INT_MAX);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace zoetrope
