#!/usr/bin/env bash
# Install geocsp with all it needs for testing and run every check; bash test.sh
set -euo pipefail
cd "$(dirname "$0")"
python3 -m pip install --quiet -c constraints.txt -e '.[demo,test]'
ruff check .
ruff format --check .
mypy
python3 -m pytest -n auto --dist loadfile
