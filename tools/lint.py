"""Checks the C++ files with clang-format and clang-tidy and says what they find; exits 1 when they find something.

Usage: lint.py BUILD_FOLDER [--all] [--jobs N] [FILE ...]

BUILD_FOLDER is configured with the `tidy` preset. Without FILE or --all: the files that differ from the last commit,
and what includes them. A file that was clean is skipped until it, a header of ours that it includes, or a .clang-tidy
of its folders changes.
"""

import argparse
import concurrent.futures
import functools
import hashlib
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("src", "apps", "tests", "bench")
INCLUDE_ROOTS = (ROOT / "src", ROOT / "tests", ROOT)


def git_lines(*arguments: str) -> list[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def all_files() -> list[pathlib.Path]:
    names = git_lines("ls-files", "--cached", "--others", "--exclude-standard", "--", *FOLDERS)
    return sorted(path for name in set(names) if (path := ROOT / name).suffix in (".h", ".cpp") and path.exists())


@functools.cache
def own_includes(path: pathlib.Path) -> frozenset[pathlib.Path]:
    """The file and the headers of ours that it includes, directly or not."""
    found = {path}
    for name in re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE):
        header = next((root / name for root in (path.parent, *INCLUDE_ROOTS) if (root / name).exists()), None)
        if header is not None:
            found |= own_includes(header.resolve())
    return frozenset(found)


def fingerprint(source: pathlib.Path) -> str:
    digest = hashlib.sha256()
    for settings in (folder / ".clang-tidy" for folder in source.parents if folder.is_relative_to(ROOT)):
        if settings.exists():
            digest.update(settings.read_bytes())
    for path in sorted(own_includes(source)):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def check_format(files: list[pathlib.Path]) -> bool:
    return not files or subprocess.run(["clang-format", "--dry-run", "-Werror", *map(str, files)]).returncode == 0


def check_with_tidy(source: pathlib.Path, build: pathlib.Path) -> str:
    """What clang-tidy finds; empty when the file is clean, which is then remembered."""
    stamp = build / ".clean" / fingerprint(source)
    if stamp.exists():
        return ""
    run = subprocess.run(["clang-tidy", "-p", build, "--quiet", source], capture_output=True, text=True)
    if run.returncode != 0:
        return run.stdout + run.stderr
    stamp.parent.mkdir(exist_ok=True)
    stamp.touch()
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("files", nargs="*", type=lambda text: pathlib.Path(text).resolve())
    options = parser.parse_intermixed_args()

    known = all_files()
    chosen = set(options.files)
    if not chosen and not options.all:
        names = git_lines("diff", "--name-only", "HEAD") + git_lines("ls-files", "--others", "--exclude-standard")
        chosen = {ROOT / name for name in names}
    files = [path for path in known if options.all or path in chosen]
    compiled = {pathlib.Path(entry["file"]) for entry in json.loads((options.build / "compile_commands.json").read_text())}
    sources = [path for path in known if path in compiled and (options.all or own_includes(path) & chosen)]

    ok = check_format(files)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        findings = pool.map(lambda source: check_with_tidy(source, options.build), sources)
        for number, (source, finding) in enumerate(zip(sources, findings), 1):
            print(f"[{number}/{len(sources)}] {source.relative_to(ROOT)}", file=sys.stderr)
            if finding:
                ok = False
                print(finding, flush=True)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
