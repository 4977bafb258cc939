# The service without TensorFlow: 700 MB of packages, an unprivileged user, no writes to disk.
#   docker build --tag thumbnet:0.1.0 .
#   docker run --read-only --publish 8000:8000 thumbnet:0.1.0
#   thumbnet export runs/cnn --to litert    # the image has no TensorFlow: it serves exports
#   docker run --read-only --publish 8000:8000 --volume "$PWD/runs:/models:ro" thumbnet:0.1.0 /models/cnn
# For training: docker build --build-arg EXTRAS=gpu --tag thumbnet-train:0.1.0 .
FROM python:3.11-slim AS build
ARG EXTRAS=serve
WORKDIR /build
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY src src
# The versions come from the lock file, but only the packages that serving needs are installed.
RUN sed -nE '/^[a-z0-9].*==/s/ *\\$//p' requirements.lock > constraints.txt \
 && python -m venv /opt/thumbnet \
 && /opt/thumbnet/bin/pip install --no-cache-dir --constraint constraints.txt ".[$EXTRAS]"

FROM python:3.11-slim
COPY --from=build /opt/thumbnet /opt/thumbnet
ENV PATH=/opt/thumbnet/bin:$PATH PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp
RUN useradd --system --uid 10001 --no-create-home thumbnet
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=2)"]
ENTRYPOINT ["thumbnet", "serve", "--host", "0.0.0.0", "--port", "8000"]
