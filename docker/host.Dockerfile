# A host: its worker and its console gateway. Root inside, since they make networks and start machines; qemu runs as offshoot-vm.
# Build from the checkout: docker build -f docker/host.Dockerfile .
FROM debian:12-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8
WORKDIR /opt/offshoot
COPY launch/debian-packages.txt ./launch/
# The section [run] of the one list of packages, less what only the site needs.
RUN apt-get update \
    && awk '/^\[/{gsub(/[][]/,""); on=($0=="run"); next} /^#/||!NF{next} on' launch/debian-packages.txt \
       | grep -vx redis-server \
       | DEBIAN_FRONTEND=noninteractive xargs apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --system --gid 10001 offshoot \
    && useradd --system --user-group --no-create-home --shell /usr/sbin/nologin offshoot-vm
COPY requirements.txt ./
RUN python3.11 -m venv /opt/offshoot/.venv \
    && .venv/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt
ENV PATH=/opt/offshoot/.venv/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY workers ./workers
COPY launch ./launch
VOLUME /var/lib/offshoot/host
ENTRYPOINT ["/usr/bin/tini", "--"]
