#!/bin/bash
# Start task of a Batch pool: installs Microsoft's ODBC Driver 18 for SQL Server, and what it depends on.
#
# Batch runs it as root at every start of a node and may run it again: where the driver is installed it does nothing.
# Running it accepts the driver's licence (ACCEPT_EULA). The repository is set up as Microsoft documents it for Debian
# and Ubuntu: https://learn.microsoft.com/sql/connect/odbc/linux-mac/installing-the-microsoft-odbc-driver-for-sql-server
set -euo pipefail

package=msodbcsql18
repository=https://packages.microsoft.com

say() { printf 'install-odbc-driver: %s\n' "$*"; }
fail() {
  say "$*" >&2
  exit 1
}

installed() {
  [[ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" == installed ]]
}

# A fresh node runs unattended-upgrades, which holds dpkg's lock for minutes. apt waits for it, and the whole is tried
# again, since the package lists can be replaced under apt's hands at that time.
apt_get() {
  local try
  for try in 1 2 3; do
    if DEBIAN_FRONTEND=noninteractive ACCEPT_EULA=Y apt-get -q -y -o DPkg::Lock::Timeout=600 "$@"; then
      return 0
    fi
    say "apt-get $1 failed at try $try of 3"
    sleep $((try * 10))
  done
  return 1
}

if installed; then
  say "$package is installed already"
  exit 0
fi

# shellcheck source=/dev/null
. "${OS_RELEASE:-/etc/os-release}"
case "${ID:-}" in
  ubuntu | debian) ;;
  *) fail "this node runs \`${ID:-unknown}\`; only ubuntu and debian are supported" ;;
esac

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
package_url="$repository/config/$ID/${VERSION_ID:-}/packages-microsoft-prod.deb"
# This package holds the repository's address and its signing key, nothing more.
curl -fsSL --retry 5 --retry-delay 5 -o "$folder/packages-microsoft-prod.deb" "$package_url" ||
  fail "cannot fetch $package_url: no way out to it from this node, or no packages for $ID ${VERSION_ID:-}"
apt_get install "$folder/packages-microsoft-prod.deb" || fail "cannot set up the repository $repository"
apt_get update || fail "cannot read the package lists"
apt_get install --no-install-recommends "$package" || fail "cannot install $package"
installed || fail "apt-get reported success, yet $package is not installed"
say "$package is installed"
