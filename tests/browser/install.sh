#!/usr/bin/env bash
# Debian's Chromium, in which the tests open detkit's pages. Where it cannot be installed they are skipped and say so.
set -euo pipefail

if command -v chromium >/dev/null || [[ -n "${DETKIT_CHROMIUM:-}" ]]; then
  exit 0
fi
if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
  echo "no Chromium, and no right to install it; tests of pages will be skipped" >&2
  exit 0
fi
apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null ||
  echo "Chromium could not be installed; tests of pages will be skipped" >&2
