#!/usr/bin/env bash
# Install geocsp with all it needs for testing and run every check; bash test.sh
set -euo pipefail
cd "$(dirname "$0")"
python3 -m pip install --quiet -c constraints.txt -e '.[demo,test]'
# for its published weights and encoder alone: its dependencies would replace PyTorch
python3 -m pip install --quiet --no-deps geoclip==1.3.0
ruff check .
ruff format --check .
mypy
python3 -m pytest -n auto --dist loadfile
