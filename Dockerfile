# The image holds the static binary for a box and nothing else. It needs the host's
# network and CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON (README.md, "Container"). Builders
# without BuildKit (Docker 20.10's default) set none of the platform arguments: an
# empty TARGETARCH builds for the builder's own machine.
FROM golang:1.26 AS build
ARG TARGETARCH
ARG VERSION=unknown
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=$VERSION" -o /iotsense ./cmd/iotsense-box

FROM scratch
COPY --from=build /iotsense /iotsense
ENTRYPOINT ["/iotsense"]
