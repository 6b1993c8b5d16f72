# `docker build -t customer-parity .`; docs/deploy.md says how to run it. The first stage installs what requirements.txt
# pins; the second holds the interpreter and that environment: no compiler, no pip, no source tree.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements.txt requirements-build.txt ./
RUN python -m venv --without-pip /opt/customer-parity \
 && pip --python /opt/customer-parity/bin/python install --require-hashes --only-binary :all: -r requirements.txt \
 && pip install --require-hashes --only-binary :all: --target /tools -r requirements-build.txt
COPY pyproject.toml MANIFEST.in README.md LICENSE ./
COPY docs docs
COPY config/samples config/samples
COPY reconciler reconciler
RUN PYTHONPATH=/tools pip --python /opt/customer-parity/bin/python install --no-deps --no-build-isolation .

FROM python:${PYTHON}-slim
RUN groupadd --system --gid 10001 parity \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/customer-parity parity \
 && install --directory --owner 10001 --group 10001 /var/lib/customer-parity
COPY --from=build /opt/customer-parity /opt/customer-parity
ENV PATH=/opt/customer-parity/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RECONCILER_CONFIG=/etc/customer-parity/reconciler.yaml \
    RECONCILER_STORES=/etc/customer-parity/stores.yaml
WORKDIR /var/lib/customer-parity
USER 10001:10001
EXPOSE 8080
# /healthz answers while the process lives, whatever shops and databases do. A changed port: --health-cmd of `docker run`.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["reconciler"]
CMD ["run", "--host", "0.0.0.0", "--port", "8080"]
