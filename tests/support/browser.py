"""The browser that tests drive: the distribution's Chromium, never a download."""

import shutil

from support.services import require

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


def chromium() -> str:
    """Return the path of Chromium, or end the test as `require` says."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
    require("Chromium", found != "", "install it: apt-get install -y chromium")
    return found
