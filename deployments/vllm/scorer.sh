#!/usr/bin/env bash
# A base model for surprisal and simulation, which want log-probabilities of prompts: scorer.sh MODEL [more flags of vLLM].
# README.md says why it is an instance of its own, and why each flag is here.
set -euo pipefail
export VLLM_HTTP_TIMEOUT_KEEP_ALIVE="${VLLM_HTTP_TIMEOUT_KEEP_ALIVE:-30}"
export VLLM_NO_USAGE_STATS=1

exec "${VLLM:-vllm}" serve "${1:?name a model}" \
  --host "${HOST:-127.0.0.1}" \
  --port "${PORT:-8001}" \
  --no-enable-prefix-caching \
  --enable-prompt-tokens-details \
  --max-num-batched-tokens 2048 \
  --gpu-memory-utilization 0.8 \
  --max-num-seqs 64 \
  --max-num-queued-reqs 80 \
  --max-logprobs 20 \
  --generation-config vllm \
  --disable-uvicorn-access-log \
  "${@:2}"
