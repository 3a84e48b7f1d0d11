# The image holds the static binary for a box and nothing else, of `make cross`; its
# context is bin/ (scripts/image.sh). It needs the host's network and CAP_BPF,
# CAP_NET_ADMIN, CAP_PERFMON (README.md, "Container").
FROM scratch
ARG TARGETARCH
COPY iotsense-box-linux-$TARGETARCH /iotsense
ENTRYPOINT ["/iotsense"]
