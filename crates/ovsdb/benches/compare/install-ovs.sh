#!/bin/sh
# Makes a Python virtual environment with the package ovs in the folder $1, unless it is there.
set -eu
if ! "$1/bin/python" -c 'import ovs.db.idl' 2>/dev/null; then
    python3 -m venv "$1"
    "$1/bin/pip" install --quiet ovs
fi
