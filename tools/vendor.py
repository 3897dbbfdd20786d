"""Refresh the vendored MapLibre GL from npm: python tools/vendor.py [version].

`npm pack` downloads the package and checks it against the registry's hash. The files are kept as
they are published; only the references to source maps, which are not kept, are taken out.
"""

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "maplibre-gl"
FILES = ("maplibre-gl.mjs", "maplibre-gl-worker.mjs", "maplibre-gl.css")
TARGET = Path(__file__).parents[1] / "src/geocsp/app/static/vendor" / PACKAGE
_SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*\s*\Z", re.MULTILINE)


def download(version: str, folder: Path) -> tuple[Path, dict[str, str]]:
    """Fetch and unpack a version; its folder, and what npm says of it."""
    command = ["npm", "pack", f"{PACKAGE}@{version}", "--json", "--pack-destination", str(folder)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (found,) = json.loads(told)
    with tarfile.open(folder / found["filename"]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package", found


def vendor(version: str) -> None:
    """Put the files of a version in place of the present ones."""
    with tempfile.TemporaryDirectory() as temporary:
        package, found = download(version, Path(temporary))
        shutil.rmtree(TARGET, ignore_errors=True)
        TARGET.mkdir(parents=True)
        for name in FILES:
            text = (package / "dist" / name).read_text(encoding="utf-8")
            (TARGET / name).write_text(_SOURCE_MAP.sub("", text).rstrip() + "\n", encoding="utf-8")
        shutil.copyfile(package / "LICENSE.txt", TARGET / "LICENSE.txt")
    kept = {key: found[key] for key in ("name", "version", "integrity")}
    (TARGET / "package.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    print(f"{found['name']} {found['version']}: {', '.join(FILES)}")


if __name__ == "__main__":
    vendor(sys.argv[1] if len(sys.argv) > 1 else "latest")
