# The site: web server, worker and periodic tasks. Build from the checkout: docker build -f docker/portal.Dockerfile .
FROM node:20-bookworm-slim AS browser
WORKDIR /opt/offshoot
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM python:3.11-slim-bookworm
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8
# Fixed numbers, since the host's image gives the console's socket to this group.
RUN groupadd --system --gid 10001 offshoot \
    && useradd --system --uid 10001 --gid offshoot --no-create-home --shell /usr/sbin/nologin offshoot \
    && install -d -m 0700 -o offshoot -g offshoot /var/lib/offshoot/portal
WORKDIR /opt/offshoot
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt
COPY --from=browser /opt/offshoot/node_modules ./node_modules
COPY manage.py package-lock.json ./
COPY portal ./portal
COPY workers ./workers
COPY static ./static
COPY templates ./templates
USER offshoot
VOLUME /var/lib/offshoot/portal
EXPOSE 8000
CMD ["python", "-m", "portal.serve"]
