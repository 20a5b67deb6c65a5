"""Plays in headless Chromium: frames arrive, different keys give different frames, frames/s and the latency are on the
page, a second page is refused and goes on when the first is closed, and Ctrl-C ends the server.

    play_test.py [--screenshot FILE] [--keys A B] -- SERVER [ARGUMENT ...]

SERVER prints its URL on standard error, as `zoetrope play` does. Exit status 77: there is no Chromium."""
import argparse
import re
import signal
import subprocess
import sys
import time

from browser import Browser, find_chromium

SKIPPED = 77
MESSAGE = "document.getElementById('message')?.textContent"
MEASURED_SEC = 4
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


def record_blocks(page):
    """From now on the page keeps what it asked for and got in `blocks`."""
    page.evaluate("""
        window.blocks = [];
        window.plainFetch = window.fetch;
        window.fetch = async (path, options) => {
          const reply = await plainFetch(path, options);
          if (path === "/frames" && reply.ok) {
            const digest = await crypto.subtle.digest("SHA-256", await reply.clone().arrayBuffer());
            blocks.push({ ...JSON.parse(options.body), frames: new Uint8Array(digest).join() });
          }
          return reply;
        };
        true""")


def first_block(page, key):
    """What the first block of a clip shows that begins while `key` is down."""
    page.evaluate("blocks.length = 0")
    page.key(key, True)
    page.evaluate("element('restart').click()")
    wanted = f"(block) => block.restart && block.keys.includes({key!r})"
    page.wait_for(f"blocks.some({wanted})")
    page.key(key, False)
    page.wait_for(f"!caps[{key!r}].classList.contains('down')")
    return page.evaluate(f"blocks.find({wanted}).frames")


def check_play(page, keys):
    page.wait_for(f"{MESSAGE} === ''")
    page.wait_for("shownAt.length > 5")
    if not keys:
        return
    record_blocks(page)
    blocks = [first_block(page, key) for key in keys]
    assert blocks[0] != blocks[1], f"the keys {keys} give the same frames"
    assert first_block(page, keys[0]) == blocks[0], f"the key {keys[0]} gives other frames each time"
    before = page.evaluate(PICTURE)
    page.key(keys[0], True)
    page.wait_for(f"{PICTURE} !== {before!r}")
    page.key(keys[0], False)
    page.wait_for("latencyMean !== null")


def check_figures(page, keys, screenshot):
    for key in keys:
        page.key(key, True)
    time.sleep(MEASURED_SEC)
    if screenshot:
        page.screenshot(screenshot)
    for key in keys:
        page.key(key, False)
    figures = {name: number(page, name) for name in ("fps", "latency", "made")}
    print("figures on the page:", figures)
    assert figures["fps"], "no frames/s on the page"
    assert figures["latency"] or not keys, "no latency on the page"


def check_second_page(browser, first, url):
    second = browser.open(url)
    second.wait_for(f"{MESSAGE}?.includes('another page is playing')")
    first.close()
    second.wait_for(f"{MESSAGE} === ''")
    second.wait_for("shownAt.length > 5")


def main(command_line=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screenshot")
    parser.add_argument("--keys", nargs=2, default=[], help="two keys that the model takes")
    parser.add_argument("server", nargs="+")
    arguments = parser.parse_args(command_line)
    chromium = find_chromium()
    if chromium is None:
        print("skipped: needs Chromium (apt-get install chromium)")
        return SKIPPED
    server, url = start(arguments.server)
    try:
        with Browser(chromium) as browser:
            page = browser.open(url)
            check_play(page, arguments.keys)
            check_figures(page, arguments.keys, arguments.screenshot)
            check_second_page(browser, page, url)
        server.send_signal(signal.SIGINT)
        _, messages = server.communicate(timeout=20)
    finally:
        server.kill()
    print(messages.strip())
    assert server.returncode == 0, f"the server ended with {server.returncode}"
    assert "frames/s" in messages, "the summary must have frames/s"
    assert "from key to frame" in messages or not arguments.keys, "the summary must have the latency"
    return 0


if __name__ == "__main__":
    sys.exit(main())
