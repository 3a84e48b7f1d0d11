#!/usr/bin/with-contenv bashio
# shellcheck shell=bash
# The add-on's options and Home Assistant's own MQTT broker, as a configuration file.
set -euo pipefail
umask 077
file=/data/config.yaml
{
  echo "interfaces: $(bashio::config 'interfaces | tojson')"
  echo "state: /data/registry.db"
  if bashio::services.available mqtt; then
    bashio::services mqtt password >/data/mqtt.password
    echo "sinks:"
    echo "  mqtt:"
    echo "    url: mqtt://$(bashio::services mqtt host):$(bashio::services mqtt port)"
    echo "    username: $(bashio::services mqtt username)"
    echo "    password_file: /data/mqtt.password"
  fi
} >"$file"
exec iotsense run --config "$file"
