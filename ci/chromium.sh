#!/usr/bin/env bash
# Make sure that the browser tests find Chromium: install Debian's where it is missing and can be installed.
# Where it cannot, say so and go on: the browser tests then fail and say the same.
set -u
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null && exit 0
done
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null && { [ -z "$as_root" ] || $as_root true 2>/dev/null; }; then
  echo "installing chromium"
  $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null
fi
command -v chromium >/dev/null || echo "chromium is missing and could not be installed: apt-get install chromium" >&2
exit 0
