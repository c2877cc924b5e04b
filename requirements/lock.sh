#!/bin/sh
# Write the locks: exact versions with hashes, without registry addresses. `make lock` runs this.
#   serve.txt   what the services need                   (the container image)
#   run.txt     the same, and the embedded stack         (make demo, make up)
#   dev.txt     the same, and the checks and tests       (make test)
#   native.txt  what FANFARE_GRPC_SERVER=native needs beside serve.txt or run.txt; dev.txt has it too
#   tracing.txt what FANFARE_TRACES needs beside them; dev.txt has it too
# clients/python/requirements.txt has what the Python client needs, at the versions it is tested with.
set -eu
cd "$(dirname "$0")/.."
python -m venv .venv/lock
.venv/lock/bin/pip install --quiet uv
compile() {
    .venv/lock/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
        --no-annotate --no-header --python-version 3.11 "$@"
}
compile pyproject.toml requirements/build.in --extra embedded --extra native --extra tracing --group dev \
    --output-file requirements/dev.txt
compile pyproject.toml requirements/build.in --extra embedded \
    --constraints requirements/dev.txt --output-file requirements/run.txt
compile pyproject.toml requirements/build.in \
    --constraints requirements/dev.txt --output-file requirements/serve.txt
echo pygrpc-native | compile - --constraints requirements/dev.txt \
    --output-file requirements/native.txt
printf '%s\n' opentelemetry-sdk opentelemetry-exporter-otlp-proto-grpc |
    compile - --constraints requirements/dev.txt --output-file requirements/tracing.txt
compile clients/python/pyproject.toml --constraints requirements/dev.txt \
    --output-file clients/python/requirements.txt
