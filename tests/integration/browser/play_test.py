"""Plays in headless Chromium: frames arrive, different keys give different frames, frames/s and the latency are on the
page, a second page is refused and goes on when the first is closed, and Ctrl-C ends the server.

    play_test.py [--screenshot FILE] [--keys A B] SERVER [ARGUMENT ...]

SERVER prints its URL on standard error, as `zoetrope play` does. Exit status 77: there is no Chromium."""
import argparse
import re
import signal
import subprocess
import sys
import time

from browser import Browser, find_chromium

SKIPPED = 77
MESSAGE = "document.getElementById('message').textContent"
PICTURE = "document.getElementById('canvas').toDataURL()"


def start(command):
    """The running server and its URL."""
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines = []
    for line in server.stderr:
        lines.append(line)
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        if found:
            return server, found.group()
    raise RuntimeError("the server did not start:\n" + "".join(lines))


def number(page, name):
    """A figure of the page; None while it has none."""
    text = page.evaluate(f"document.getElementById('{name}').textContent")
    return float(text) if re.fullmatch(r"[\d.]+", text) else None


def restart(page):
    """Begins the clip again and waits for its first frame."""
    page.evaluate("element('restart').click()")
    page.wait_for("!restart && asking === false")
    page.wait_for(f"queue.length === 0 || {MESSAGE} === ''")


def play(page, key, seconds):
    """The picture after `key` was held from the beginning of a clip for some time."""
    page.key(key, True)
    restart(page)
    time.sleep(seconds)
    picture = page.evaluate(PICTURE)
    page.key(key, False)
    return picture


def check_play(page, keys, screenshot):
    page.wait_for(f"{MESSAGE} === ''")
    first = page.evaluate(PICTURE)
    page.wait_for(f"{PICTURE} !== {first!r} || shownAt.length > 5")
    pictures = [play(page, key, 1.5) for key in keys]
    assert pictures[0] != pictures[1], f"the keys {keys} give the same frames"
    page.key(keys[0], True)
    page.wait_for(f"caps[{keys[0]!r}].classList.contains('down')")
    if screenshot:
        page.screenshot(screenshot)
    page.key(keys[0], False)
    page.wait_for(f"!caps[{keys[0]!r}].classList.contains('down')")
    figures = {name: number(page, name) for name in ("fps", "latency", "made")}
    print("figures on the page:", figures)
    assert figures["fps"] and figures["fps"] > 0, "no frames/s on the page"
    assert figures["latency"] and figures["latency"] > 0, "no latency on the page"


def check_second_page(browser, first, url):
    second = browser.open(url)
    second.wait_for(f"{MESSAGE}.includes('another page is playing')")
    first.close()
    second.wait_for(f"{MESSAGE} === ''")
    second.wait_for("shownAt.length > 5")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screenshot")
    parser.add_argument("--keys", nargs=2, default=["a", "d"])
    parser.add_argument("server", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        print("skipped: needs Chromium (apt-get install chromium)")
        return SKIPPED
    server, url = start(arguments.server)
    try:
        with Browser(chromium) as browser:
            page = browser.open(url)
            check_play(page, arguments.keys, arguments.screenshot)
            check_second_page(browser, page, url)
        server.send_signal(signal.SIGINT)
        _, messages = server.communicate(timeout=20)
    finally:
        server.kill()
    print(messages.strip())
    assert server.returncode == 0, f"the server ended with {server.returncode}"
    assert "frames/s; from key to frame" in messages, "the summary must have frames/s and the latency"
    return 0


if __name__ == "__main__":
    sys.exit(main())
