"""Generate clients/java/gen from the protos: `python -m clients.generate.java`, from the root.

protoc and grpc-java's plugin are programs that Maven serves, pinned by their hashes in
java-tools.txt. The protoc of grpcio-tools cannot be used, because it has no generator for Java. The
programs are those for Linux on x86-64, so Java is generated only there.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from clients.generate.contract import ROOT, write_contract
from embedded.jars import PinnedFiles, parse_pins, pinned_files
from embedded.stack import default_parts_dir

CLIENT = ROOT / "clients" / "java"
TOOLS = Path(__file__).with_name("java-tools.txt")
PLATFORM = ("Linux", "x86_64")
SERVICE_CONFIG = "src/main/resources/dev/fanfare/client/service_config.json"


def is_possible() -> bool:
    """Tell whether the generators can run on this platform."""
    return (platform.system(), platform.machine()) == PLATFORM


def _programs() -> list[Path]:
    """Return the paths of protoc and its plugin, after fetching them if they are missing."""
    pins = PinnedFiles("the Java generator", TOOLS.name, parse_pins(TOOLS.read_text()))
    folder = default_parts_dir() / "java-generator"
    programs = pinned_files(pins, folder, print, threading.Event())
    for program in programs:
        program.chmod(0o755)
    return programs


def generate(out: Path) -> None:
    """Write the generated files into the folder out, as they are in clients/java.

    Raises:
        CalledProcessError: protoc or its plugin failed; it has printed why.
    """
    if not is_possible():
        sys.exit("Java code is generated on Linux on x86-64 only; run this there")
    protoc, plugin = _programs()
    gen = out / "gen"
    shutil.rmtree(gen, ignore_errors=True)
    gen.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        contract = Path(folder) / "contract.binpb"
        files = write_contract(contract)
        command = [
            *(protoc, f"--descriptor_set_in={contract}", f"--java_out={gen}"),
            *(f"--plugin=protoc-gen-grpc-java={plugin}", f"--grpc-java_out={gen}"),
            *files,
        ]
        subprocess.run(command, check=True)
    (out / SERVICE_CONFIG).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "docs" / "service_config.json", out / SERVICE_CONFIG)


if __name__ == "__main__":
    generate(CLIENT)
