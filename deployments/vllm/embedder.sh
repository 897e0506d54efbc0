#!/usr/bin/env bash
# A model that turns texts into vectors, for the embedding scorers: embedder.sh MODEL [more flags of vLLM].
set -euo pipefail
export VLLM_HTTP_TIMEOUT_KEEP_ALIVE="${VLLM_HTTP_TIMEOUT_KEEP_ALIVE:-30}"
export VLLM_NO_USAGE_STATS=1

exec "${VLLM:-vllm}" serve "${1:?name a model}" \
  --host "${HOST:-127.0.0.1}" \
  --port "${PORT:-8002}" \
  --runner pooling \
  --max-num-queued-reqs 320 \
  --disable-uvicorn-access-log \
  "${@:2}"
