#!/bin/sh
# What the system must bring: system.sh python PYTHON checks (and on Debian completes) Python, system.sh chromium a browser.
set -eu

install() { # through apt where there is one, else say what to do
    if command -v apt-get > /dev/null; then
        sudo=$([ "$(id -u)" = 0 ] || command -v sudo || true)
        $sudo apt-get update -qq && $sudo apt-get install -y -qq "$@" > /dev/null
    else
        echo "Please install: $*" >&2
        exit 1
    fi
}

case "$1" in
python)
    "$2" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "Python 3.11 or newer is needed, $2 is $("$2" --version 2>&1). Try: make PYTHON=python3.12 book" >&2
        exit 1
    }
    "$2" -c 'import ensurepip' 2> /dev/null || install python3-venv
    ;;
chromium)
    for name in "${CHROMIUM:-chromium}" chromium-browser google-chrome \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
        if command -v "$name" > /dev/null; then exit 0; fi
    done
    install chromium
    ;;
*)
    echo "usage: system.sh python PYTHON | chromium" >&2
    exit 2
    ;;
esac
