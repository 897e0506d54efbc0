#!/usr/bin/env bash
# An instruct model that explains and judges: explainer.sh MODEL [more flags of vLLM]. README.md says why each flag is here.
set -euo pipefail
export VLLM_HTTP_TIMEOUT_KEEP_ALIVE="${VLLM_HTTP_TIMEOUT_KEEP_ALIVE:-30}"
export VLLM_NO_USAGE_STATS=1

exec "${VLLM:-vllm}" serve "${1:?name a model}" \
  --host "${HOST:-127.0.0.1}" \
  --port "${PORT:-8000}" \
  --enable-prefix-caching \
  --enable-prompt-tokens-details \
  --max-num-seqs 256 \
  --max-num-queued-reqs 320 \
  --max-logprobs 20 \
  --structured-outputs-config '{"backend": "xgrammar", "disable_any_whitespace": true}' \
  --generation-config vllm \
  --disable-uvicorn-access-log \
  "${@:2}"
