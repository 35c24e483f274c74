#!/usr/bin/env bash
# Debian's parts of the image, downloaded and unpacked, never installed.
# WORK: a folder for what is made; MIRROR: a Debian mirror; KEYRING: Debian's archive keys; PACKAGES: the list.
set -euo pipefail
: "${WORK:?}" "${MIRROR:?}" "${KEYRING:?}" "${PACKAGES:?}"

apt="$WORK/apt"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$WORK/debs"
cat > "$apt/sources.list" <<EOF
deb [signed-by=$KEYRING] $MIRROR bookworm main
deb [signed-by=$KEYRING] $MIRROR bookworm-backports main
EOF
: > "$apt/status"
options=(
  -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null
  -o "Dir::State=$apt" -o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status"
  -o "Dir::Cache=$apt/cache" -o APT::Architecture=amd64 -o APT::Sandbox::User=root
  -o Acquire::Retries=3 -o Acquire::http::Timeout=60
)
apt-get "${options[@]}" -qq update
mapfile -t packages < <(sed -e 's/#.*//' -e '/^\s*$/d' "$PACKAGES")
cd "$WORK/debs"
apt-get "${options[@]}" -qq download "${packages[@]}"
