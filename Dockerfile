# The packaged project for a CPU: docs/releasing.md says how to build and run it.

FROM python:3.11.13-slim-bookworm AS wheel
WORKDIR /source
COPY constraints.txt LICENSE MANIFEST.in README.md pyproject.toml setup.py ./
COPY conf conf
COPY src src
RUN pip install --no-cache-dir --constraint constraints.txt setuptools
RUN pip wheel --no-build-isolation --no-deps --wheel-dir /wheels .

FROM python:3.11.13-slim-bookworm
COPY constraints.txt /
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --constraint /constraints.txt \
    --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu /wheels/*.whl
# A run asks nobody anything, and there is no git to ask for a commit.
ENV DO_NOT_TRACK=1 \
    GIT_PYTHON_REFRESH=quiet \
    HF_HUB_OFFLINE=1 \
    MLFLOW_DISABLE_TELEMETRY=true
RUN useradd --create-home --uid 1000 bort && install --directory --owner bort /project
USER bort
# Results, and a conf/local of yours where there is one; mount a folder here to keep them.
WORKDIR /project
RUN bort-kedro --help
ENTRYPOINT ["bort-kedro"]
