#!/bin/sh
# deps.sh [GROUP ...] - install those packages of packaging/packages.txt that are missing and nothing
# else (groups build, test, engine, bench; without any: build). As root, or through sudo if that asks for no
# password; otherwise it says what to install and ends with 1. Does nothing when nothing is missing.
set -eu
list=$(dirname "$0")/packages.txt
groups=${*:-build}

command -v dpkg-query >/dev/null 2>&1 || {
    echo "deps: no Debian here; needed are the equivalents of:"
    awk '!/^#/ {print "  " $1}' "$list"
    exit 0
}

missing=
for group in $groups; do
    [ "$group" = engine ] && command -v npm >/dev/null 2>&1 && continue
    for package in $(awk -v group="$group" '!/^#/ && $2 == group {print $1}' "$list"); do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "deps: missing, and neither root nor sudo without a password. As root:"
    echo "  apt-get install --no-install-recommends$missing"
    exit 1
fi
echo "deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # lists of words
$as_root apt-get -qq update && $as_root apt-get -qq install -y --no-install-recommends $missing \
    >/dev/null || { echo "deps: apt-get could not install$missing"; exit 1; }
