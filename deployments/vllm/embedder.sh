#!/usr/bin/env bash
# A model that turns texts into vectors, for the embedding scorers: embedder.sh MODEL [more flags of vLLM].
set -euo pipefail
if [[ $# -eq 0 || $1 == -* ]]; then
  echo "embedder.sh: name a model first, a folder or a name on the Hub: embedder.sh MODEL [more flags of vLLM]" >&2
  exit 2
fi
own="$(dirname "${BASH_SOURCE[0]}")/../../.venv-vllm-gpu/bin/vllm" # as `make vllm` installs it
[[ -n "${VLLM:-}" || ! -x "$own" ]] || VLLM="$own"
VLLM="${VLLM:-vllm}"
if ! command -v "$VLLM" >/dev/null; then
  echo "embedder.sh: there is no command $VLLM; install vLLM with \`make vllm\`, or say where it is: VLLM=/path/to/vllm embedder.sh $1" >&2
  exit 2
fi
export VLLM_HTTP_TIMEOUT_KEEP_ALIVE="${VLLM_HTTP_TIMEOUT_KEEP_ALIVE:-30}"
export VLLM_NO_USAGE_STATS=1

exec "$VLLM" serve "$1" \
  --host "${HOST:-127.0.0.1}" \
  --port "${PORT:-8002}" \
  --runner pooling \
  --max-num-queued-reqs 320 \
  --disable-uvicorn-access-log \
  "${@:2}"
