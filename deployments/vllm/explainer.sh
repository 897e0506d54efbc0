#!/usr/bin/env bash
# An instruct model that explains and judges: explainer.sh MODEL [more flags of vLLM]. README.md says why each flag is here.
set -euo pipefail
if [[ $# -eq 0 || $1 == -* ]]; then
  echo "explainer.sh: name a model first, a folder or a name on the Hub: explainer.sh MODEL [more flags of vLLM]" >&2
  exit 2
fi
own="$(dirname "${BASH_SOURCE[0]}")/../../.venv-vllm-gpu/bin/vllm" # as `make vllm` installs it
[[ -n "${VLLM:-}" || ! -x "$own" ]] || VLLM="$own"
VLLM="${VLLM:-vllm}"
if ! command -v "$VLLM" >/dev/null; then
  echo "explainer.sh: there is no command $VLLM; install vLLM with \`make vllm\`, or say where it is: VLLM=/path/to/vllm explainer.sh $1" >&2
  exit 2
fi
export VLLM_HTTP_TIMEOUT_KEEP_ALIVE="${VLLM_HTTP_TIMEOUT_KEEP_ALIVE:-30}"
export VLLM_NO_USAGE_STATS=1

exec "$VLLM" serve "$1" \
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
