# Shared by run and test: finds a Python, makes .venv, installs the project when it changed.
# Sourced with the project's folder as the current one; "extras" names optional dependencies.
set -eu

find_python() {
    for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "voiceengine needs Python 3.11, 3.12 or 3.13 (on Debian/Ubuntu: apt-get install python3 python3-venv)." >&2
    exit 1
}

setup() {
    extras=$1
    stamp=".venv/installed$extras"
    if [ ! -x .venv/bin/python ]; then
        python=$(find_python)
        if ! "$python" -m venv .venv 2>/dev/null; then
            rm -rf .venv
            echo "The venv module of $python is missing (on Debian/Ubuntu: apt-get install python3-venv)." >&2
            exit 1
        fi
    fi
    if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
        echo "Installing into .venv ..." >&2
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".$extras" >&2
        touch "$stamp"
    fi
}
