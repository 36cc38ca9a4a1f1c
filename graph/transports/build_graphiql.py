"""Fetch GraphiQL's files from the npm registry: `python -m graph.transports.build_graphiql`.

Needs npm. Each file must have the hash that `graphiql.ASSETS` pins; anything else is an error. Where there is no npm, or it
cannot reach its registry, nothing is built and the page loads the same files from a CDN.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from graph.transports.graphiql import ASSETS, FOLDER, Asset

SECONDS = 120


class IntegrityError(Exception):
    """A file is not the one that was pinned."""


def build(folder: Path = FOLDER) -> bool:
    """Put all files into `folder`. False if npm is missing or fails; raises IntegrityError for a wrong file."""
    if all(_is_right(asset, folder) for asset in ASSETS):
        return True
    npm = shutil.which("npm")
    if npm is None:
        return False
    with tempfile.TemporaryDirectory() as temporary:
        try:
            contents = dict(_contents(npm, Path(temporary)))
        except (subprocess.SubprocessError, OSError):
            return False
    folder.mkdir(parents=True, exist_ok=True)
    for asset, content in contents.items():
        (folder / asset.name).write_bytes(content)
    return True


def _contents(npm: str, temporary: Path) -> Iterator[tuple[Asset, bytes]]:
    for package, version in sorted({(asset.package, asset.version) for asset in ASSETS}):
        archive = _pack(npm, f"{package}@{version}", temporary)
        with tarfile.open(archive) as files:
            for asset in ASSETS:
                if asset.package == package:
                    member = files.extractfile(f"package/{asset.path}")
                    content = member.read() if member else b""
                    if _integrity(content) != asset.integrity:
                        raise IntegrityError(f"{package}@{version} {asset.path} is not the file that was pinned.")
                    yield asset, content


def _pack(npm: str, specification: str, temporary: Path) -> Path:
    command = [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", str(temporary), specification]
    # Fixed arguments, no shell; npm's own path comes from PATH as the user has it.
    result = subprocess.run(command, cwd=temporary, check=True, capture_output=True, text=True, timeout=SECONDS)  # noqa: S603
    return temporary / result.stdout.strip().splitlines()[-1]


def _is_right(asset: Asset, folder: Path) -> bool:
    path = folder / asset.name
    return path.is_file() and _integrity(path.read_bytes()) == asset.integrity


def _integrity(content: bytes) -> str:
    return "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()


def main() -> int:
    """Build, and say what came of it."""
    built = build()
    message = "GraphiQL is served from here." if built else "No npm, or no registry: GraphiQL loads from a CDN."
    sys.stdout.write(message + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
