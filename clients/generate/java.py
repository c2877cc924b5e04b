"""Generate clients/java/gen from the protos: `python -m clients.generate.java`, from the root.

protoc is a program that Maven serves, pinned by its hash in java-tools.txt. That of grpcio-tools
cannot be used, because it has no generator for Java. The program is the one for Linux on x86-64, so
Java is generated only there. The plugin for stubs is Debian's protobuf-compiler-grpc-java-plugin.
"""

from __future__ import annotations

import platform
import re
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
PLUGIN = "grpc_java_plugin"
SERVICE_CONFIG = "src/main/resources/dev/fanfare/client/service_config.json"
# Debian's plugin annotates each class of stubs with a class that Java has not had since version 11.
_ANNOTATION = re.compile(r"@javax\.annotation\.Generated\(.*?\)\n", re.DOTALL)


def missing() -> str | None:
    """Return what is missing on this machine to generate Java code; None if nothing is."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "Java code is generated on Linux on x86-64 only"
    if shutil.which(PLUGIN) is None:
        return f"{PLUGIN} is not installed (Debian: protobuf-compiler-grpc-java-plugin)"
    return None


def _protoc() -> Path:
    """Return the path of protoc, after fetching it if it is missing."""
    pins = PinnedFiles("the Java generator", TOOLS.name, parse_pins(TOOLS.read_text()))
    folder = default_parts_dir() / "java-generator"
    (protoc,) = pinned_files(pins, folder, print, threading.Event())
    protoc.chmod(0o755)
    return protoc


def generate(out: Path) -> None:
    """Write the generated files into the folder out, as they are in clients/java.

    Raises:
        StackError: protoc could not be fetched, or differs from its pin.
        CalledProcessError: protoc or its plugin failed; it has printed why.
    """
    protoc = _protoc()
    gen = out / "gen"
    shutil.rmtree(gen, ignore_errors=True)
    gen.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        contract = Path(folder) / "contract.binpb"
        files = write_contract(contract)
        command: list[str | Path] = [protoc, f"--descriptor_set_in={contract}"]
        command += [f"--java_out={gen}", f"--grpc-java_out={gen}"]
        command += [f"--plugin=protoc-gen-grpc-java={shutil.which(PLUGIN)}", *files]
        subprocess.run(command, check=True)
    for stubs in gen.rglob("*Grpc.java"):
        stubs.write_text(_ANNOTATION.sub("", stubs.read_text()))
    (out / SERVICE_CONFIG).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "docs" / "service_config.json", out / SERVICE_CONFIG)


if __name__ == "__main__":
    reason = missing()
    if reason is not None:
        sys.exit(reason)
    generate(CLIENT)
