#!/bin/sh
# Prints one line if this machine lacks what the build needs; prints nothing if not.
# Usage: preflight.sh PYTHON
python=$1

if ! command -v "$python" >/dev/null 2>&1; then
    echo "Python 3.10 to 3.13 is needed. Received: no '$python' on the PATH." \
        "Install it, or name one: make PYTHON=/path/to/python3"
    exit
fi
if ! "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))'; then
    found=$("$python" -c 'import platform; print(platform.python_version())' 2>&1 | tail -n 1)
    echo "Python 3.10 to 3.13 is needed. Received: $python is $found." \
        "Name another one: make PYTHON=/path/to/python3"
    exit
fi
if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    echo "Python's venv module is needed. Received: $python without venv or ensurepip." \
        "Install it (Debian, Ubuntu: apt install python3-venv)."
    exit
fi

compiler=${CXX:-}
for name in c++ g++ clang++; do
    [ -n "$compiler" ] && break
    command -v "$name" >/dev/null 2>&1 && compiler=$name
done
if [ -z "$compiler" ]; then
    echo "A C++17 compiler is needed to build Horovod. Received: no c++, g++ or clang++" \
        "on the PATH. Install one (Debian, Ubuntu: apt install g++), or name it in CXX."
    exit
fi
if ! printf '#include <optional>\nstd::optional<int> value;\n' |
    $compiler -std=c++17 -x c++ -fsyntax-only - >/dev/null 2>&1; then
    echo "A C++17 compiler is needed to build Horovod. Received: $compiler, which does" \
        "not compile C++17. Install a newer one, or name it in CXX."
fi
