#!/bin/sh
# Runs the demo on real captures when they lie beside the repository, else on
# the traffic of the project's own device lab. Flags are passed on.
set -eu
cd "$(dirname "$0")/.."

scripts/data.sh
case " $* " in
*" --learn "*) exec scripts/root.sh bin/iotsense demo "$@" ;;
esac
if [ -e build/data/iot-sentinel/manifest.csv ]; then
  echo "demo: replays captures of the data set's test split (../shared/data)"
  set -- --captures build/data/iot-sentinel "$@"
else
  echo "demo: no data set in ../shared/data: plays the device lab's own traffic"
fi
exec scripts/root.sh bin/iotsense demo "$@"
