#!/usr/bin/env bash
# What the host must have beside Python and make: installed by apt where this runs as root on Debian or Ubuntu, elsewhere
# named with the line that gets it. Only what is missing, nothing asked. Exits 1 only when an essential thing is missing:
# python3, java, mvn, ip. The rest (browser, fonts, PDF) costs a feature, not the system.
set -euo pipefail

PYTHON=${PYTHON:-python3}
PATH=$PATH:/usr/sbin:/sbin

has() { command -v "$1" >/dev/null 2>&1; }
has_library() { ldconfig -p 2>/dev/null | grep -q "$1"; }

has_python() { "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_venv() { "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; }
has_java() {
  local java=java version
  if [ -n "${JAVA_HOME:-}" ] && [ -x "$JAVA_HOME/bin/java" ]; then java=$JAVA_HOME/bin/java; fi
  version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || return 1
  [ "${version:-0}" -ge 17 ]
}
has_mvn() { has mvn; }
has_ip() { has ip; }
has_browser() { has chromium || has chromium-browser || has google-chrome; }
has_cjk() { { has fc-list && fc-list :lang=zh family | grep -q .; } || compgen -G '/usr/share/fonts/*/noto/*CJK*' >/dev/null; }
has_pango() { has_library libpango-1.0.so.0 && has_library libpangoft2-1.0.so.0 && has_library libharfbuzz-subset.so.0; }
has_pdftotext() { has pdftotext; }

# what | essential | what it is for | packages, or for java: of these the first that apt knows
NEEDS='python|yes|everything (3.11 or newer)|python3
venv|yes|the virtual environment|python3-venv
java|yes|the embedded Kafka broker (17 or newer)|openjdk-17-jre-headless openjdk-21-jre-headless default-jre-headless
mvn|yes|fetching the Kafka broker|maven
ip|yes|the lab (network namespaces)|iproute2
browser|no|the test of the page|chromium
cjk|no|Chinese text in reports and screenshots|fonts-noto-cjk
pango|no|reports as PDF|libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0
pdftotext|no|the test of the PDF|poppler-utils'

missing() { while IFS='|' read -r what essential use packages; do "has_$what" || echo "$what|$essential|$use|$packages"; done <<<"$NEEDS"; }

first_known() {
  local name
  for name in "$@"; do
    if apt-cache policy "$name" 2>/dev/null | grep -q 'Candidate: [0-9]'; then echo "$name" && return; fi
  done
  echo "$1"
}

apt_install() { # in one go, else one by one, so that a package that this release lacks does not cost the others
  local quiet=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends)
  "${quiet[@]}" "$@" >/dev/null 2>&1 && return
  local name
  for name in "$@"; do "${quiet[@]}" "$name" >/dev/null 2>&1 || echo "host: apt-get could not install $name" >&2; done
}

install_by_apt() {
  local what essential use packages names=()
  echo "host: apt-get update" && apt-get -o DPkg::Lock::Timeout=120 update -qq >/dev/null 2>&1 || true
  while IFS='|' read -r what essential use packages; do
    # shellcheck disable=SC2086 # a list of names on purpose
    if [ "$what" = java ]; then names+=("$(first_known $packages)"); else names+=($packages); fi
  done <<<"$1"
  echo "host: installing ${names[*]}"
  apt_install "${names[@]}"
}

lacking=$(missing)
[ -z "$lacking" ] && exit 0
if [ "$(id -u)" = 0 ] && has apt-get && grep -Eq '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release 2>/dev/null; then
  install_by_apt "$lacking"
  lacking=$(missing)
  [ -z "$lacking" ] && exit 0
fi

status=0
while IFS='|' read -r what essential use packages; do
  [ "$what" = java ] && packages=default-jdk-headless
  echo "host: $what is missing, needed for $use; Debian and Ubuntu: apt-get install $packages; elsewhere: your system's package of that name" >&2
  if [ "$essential" = yes ]; then status=1; fi
done <<<"$lacking"
exit $status
