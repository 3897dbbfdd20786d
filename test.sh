#!/usr/bin/env bash
# Install geocsp with all it needs for testing and run every check; bash test.sh
set -euo pipefail
cd "$(dirname "$0")"
python3 -m pip install --quiet -c constraints.txt \
  -e '.[app,demo,docs,export,geo,hub,notebook,onnx,photos,probes,ray,search,train,transformers,tune,wandb,test]'
# for its published weights and encoder alone: its dependencies would replace PyTorch
python3 -m pip install --quiet --no-deps geoclip==1.3.0
# torchvision and what builds on it: their dependencies would replace PyTorch, too
python3 -m pip install --quiet --no-deps -c constraints.txt torchvision timm==1.0.31 \
  open-clip-torch==3.3.0 torchgeo==0.8.1 segmentation-models-pytorch==0.6.0 \
  einops==0.8.2 ftfy==6.3.1 wcwidth==0.9.4
ruff check .
ruff format --check .
mypy
python3 -m pytest -n auto --dist loadfile
