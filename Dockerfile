# The image of every KloudTalk process: docker build -t kloudtalk .
# It holds no compiler and no Node, runs as a user without rights, and writes to /data only.

FROM python:3.11-slim-bookworm AS web
WORKDIR /build
COPY requirements/node.lock requirements/
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/node.lock
COPY web web
RUN cd web && npm ci --no-audit --no-fund --loglevel=error && npm run build

FROM python:3.11-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/kloudtalk
WORKDIR /build
COPY requirements/runtime.lock requirements/
RUN /opt/kloudtalk/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/runtime.lock
COPY pyproject.toml hatch_build.py README.md ./
COPY signaling signaling
COPY media media
COPY turn_config turn_config
RUN /opt/kloudtalk/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /data kloudtalk \
    && install -d -o 10001 -g 10001 -m 0700 /data /etc/coturn
COPY --from=build /opt/kloudtalk /opt/kloudtalk
COPY --from=web /build/web/demo/dist /srv/kloudtalk/demo
COPY --from=web /build/web/operator/dist /srv/kloudtalk/operator
ENV PATH=/opt/kloudtalk/bin:/usr/local/bin:/usr/bin:/bin
ENV PYTHONUNBUFFERED=1
ENV KLOUDTALK_DATA_DIR=/data
ENV KLOUDTALK_HOST=0.0.0.0
ENV KLOUDTALK_METRICS_HOST=0.0.0.0
ENV KLOUDTALK_WEB_ROOT=/srv/kloudtalk/demo
ENV KLOUDTALK_OPERATOR_ROOT=/srv/kloudtalk/operator
USER 10001:10001
VOLUME /data
# 9440: figures for operators, for a private network only
EXPOSE 8440 8441/udp 8441/tcp 9440
STOPSIGNAL SIGTERM
ENTRYPOINT ["kloudtalk"]
CMD ["serve"]
