"""Take docs/images/*.png of the page while `es-power demo` goes on: about a minute, and needs node and Chromium.

They are looked at before they are committed; no test compares them, since no two demos are the same.
"""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Final

CHECKOUT: Final = Path(__file__).parents[1]
IMAGES: Final = CHECKOUT / "docs" / "images"
_VMS: Final = 60


def main() -> int:
    """Play the demo, look at what is left of it, and end it."""
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log.db"
        demo = [sys.executable, "-u", "-m", "es_power", "demo", "--keep", "--vms", str(_VMS), "--log", str(log)]
        with subprocess.Popen(demo, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as story:
            try:
                link, unseen = _told(story)
                assert story.stdout is not None
                # A demo that nobody listens to would stand still once the pipe is full.
                Thread(target=story.stdout.read, daemon=True).start()
                shoot = CHECKOUT / "web" / "e2e" / "screenshots.mjs"
                return subprocess.run(["node", shoot, link, unseen, IMAGES], check=False).returncode
            finally:
                story.terminate()


def _told(story: "subprocess.Popen[str]") -> tuple[str, str]:
    """Listen until the story is over: the page's link, and the first VM that stopped while nobody saw it."""
    assert story.stdout is not None
    link = unseen = ""
    for line in story.stdout:
        print(line, end="")
        if found := re.match(r"the page is (\S+)", line):
            link = found[1]
        elif found := re.search(r"unseen, ([^ ,]+)", line):
            unseen = found[1]
        elif "goes on until Ctrl-C" in line:
            return link, unseen
    raise SystemExit("the demo ended before its story was over")


if __name__ == "__main__":
    sys.exit(main())
