#!/usr/bin/env bash
# A base model for surprisal and simulation, which want log-probabilities of prompts: scorer.sh MODEL [more flags of vLLM].
# README.md says why it is an instance of its own, and why each flag is here.
set -euo pipefail
if [[ $# -eq 0 || $1 == -* ]]; then
  echo "scorer.sh: name a model first, a folder or a name on the Hub: scorer.sh MODEL [more flags of vLLM]" >&2
  exit 2
fi
own="$(dirname "${BASH_SOURCE[0]}")/../../.venv-vllm-gpu/bin/vllm" # as `make vllm` installs it
[[ -n "${VLLM:-}" || ! -x "$own" ]] || VLLM="$own"
VLLM="${VLLM:-vllm}"
if ! command -v "$VLLM" >/dev/null; then
  echo "scorer.sh: there is no command $VLLM; install vLLM with \`make vllm\`, or say where it is: VLLM=/path/to/vllm scorer.sh $1" >&2
  exit 2
fi
export VLLM_HTTP_TIMEOUT_KEEP_ALIVE="${VLLM_HTTP_TIMEOUT_KEEP_ALIVE:-30}"
export VLLM_NO_USAGE_STATS=1

exec "$VLLM" serve "$1" \
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
