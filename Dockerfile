# gloss on a CPU: sampling, explaining and scoring, and caching of small models. Caching large models wants a GPU image:
# the same file on a base with CUDA. Nothing in the project's checks builds this file.
#
#   docker build -t gloss .
#   docker run --rm -v "$PWD:/data" -e GLOSS_CACHE=/data/cache gloss run deployments/demo/demo.yaml --lake /data/gloss-lake
FROM python:3.11-slim

# Prefect's embedded server starts four times as fast from compiled bytecode, so pip may write it.
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1

WORKDIR /gloss

# From some indexes torch brings CUDA along, gigabytes of it; one that has the CPU build is named with
# --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL
COPY requirements.txt requirements-real.txt ./
RUN pip install -r requirements.txt accelerate==1.15.0 gguf==0.19.0 && pip install --no-deps -r requirements-real.txt

COPY . .
RUN pip install --no-deps .

# A model from a GGUF file, as the demo's, is converted once into $GLOSS_CACHE.
RUN useradd --create-home --uid 1000 gloss && chown gloss:gloss /gloss
USER gloss

ENTRYPOINT ["gloss"]
CMD ["--help"]
