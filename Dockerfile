# Build from the root of the checkout with `make image`, or:   docker build -t gateway .
# Run it as hardened as it allows, with a folder of the user 65532 for the file of callers (docs/deploying.md makes both):
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges -p 8900:8900 \
#       -v ./callers:/callers:ro -e GATEWAY_API_KEYS_FILE=/callers/callers.json gateway
# Without callers, `serve` starts only with -e GATEWAY_ALLOW_ANONYMOUS=1.
FROM python:3.11-slim

# No .pyc files are written at run time, and there is no home: the root file system may be read-only. /tmp, a tmpfs, takes large uploads and worker files.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    HOST=0.0.0.0 \
    PORT=8900 \
    WEB_CONCURRENCY=1 \
    THREADS=16

WORKDIR /app

# Requirements first: they change less often than the code. requirements.lock names every package with its hashes (make lock):
# those of requirements.txt, GDCM for JPEG Lossless, which much archived CT and MR is in, the study store (the extra `store`),
# the DICOM network (`dimse`), which a second container of this image serves, and what clients beside DICOM's send (`nifti`,
# `nninteractive`).
COPY requirements.txt requirements.lock ./
RUN pip install --no-cache-dir --no-compile --require-hashes --requirement requirements.lock

COPY gateway ./gateway
COPY utils ./utils
COPY models ./models
COPY logging.yaml ./

# Compile what a server imports, and no more: each of its processes then starts with a third of the work, for 15 MB.
RUN PYTHONDONTWRITEBYTECODE= python -W ignore -c "import gateway.gunicorn_conf, gateway.worker, gateway.dimse.listening, models.app"

# A number, so that an orchestrator can see that it is not root.
USER 65532:65532

EXPOSE 8900

# A model that is still loading answers 200 with another word; only READY is healthy.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, sys, urllib.request as web; url = 'http://127.0.0.1:' + os.environ['PORT'] + '/healthcheck'; sys.exit(web.urlopen(url, timeout=4).read().strip() != b'READY')"]

CMD ["python", "-m", "gateway", "serve", "models.app:app"]
