#!/bin/sh
# Write .env for docker-compose.yml: each variable of .env.example with a random value of its own.
# `make env` runs this; it needs nothing but a POSIX shell.
set -eu
cd "$(dirname "$0")/.."
if [ -e .env ]; then
    echo ".env is there already and stays as it is: the volumes were made with its passwords." >&2
    exit 0
fi
content=$(
    while IFS= read -r line; do
        case $line in
        [A-Z]*=) echo "$line$(od -An -v -N24 -tx1 /dev/urandom | tr -d ' \n')" ;;
        *) printf '%s\n' "$line" ;;
        esac
    done <.env.example
)
umask 077
printf '%s\n' "$content" >.env
