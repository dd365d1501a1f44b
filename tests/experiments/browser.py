"""A real browser without a window, spoken to through a pipe: what a page draws, says, asks for, and how it reacts.

Only the standard library: the DevTools protocol is JSON between zero bytes on the descriptors 3 and 4 of the browser.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--hide-scrollbars --disable-component-update --disable-sync --disable-extensions --disable-dev-shm-usage "
    "--remote-debugging-pipe"
).split()
ENTER = (  # the descriptors get their numbers in a process of its own, far from the threads of this one
    "import fcntl, os, sys; down, up = (fcntl.fcntl(int(x), fcntl.F_DUPFD, 10) for x in sys.argv[1:3]); "
    "os.dup2(down, 3); os.dup2(up, 4); os.execv(sys.argv[3], sys.argv[3:])"
)
KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), " ": (32, " "), "Escape": (27, ""), "ArrowDown": (40, "")}


class Browser:
    """One page at a time. `errors` holds what the console complained of, `requests` what was asked for."""

    def __init__(self, profile, width=1300, height=1000):
        self.events, self.errors, self.requests, self.count, self.rest = [], [], [], 0, b""
        down, self.write = os.pipe()
        self.read, up = os.pipe()
        switches = [*SWITCHES, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", ENTER, str(down), str(up), PROGRAM, *switches, "about:blank"],
            pass_fds=(down, up),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(down)
        os.close(up)
        self.session = None
        (target,) = [x for x in self.send("Target.getTargets")["targetInfos"] if x["type"] == "page"]
        self.session = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self):
        """Ends the browser and its processes."""
        self.session = None
        self.send("Browser.close")
        self.process.wait(20)
        os.close(self.read)
        os.close(self.write)

    def send(self, method, **parameters):
        """Asks for something and returns the answer; what happens meanwhile is noted."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(60)
            if answer.get("id") == self.count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def _next(self, seconds):
        end = time.monotonic() + seconds
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            came = os.read(self.read, 1 << 20)
            assert came, f"the browser ended with status {self.process.wait(20)}"
            self.rest += came
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        kind, more = event.get("method"), event.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(more["exceptionDetails"])[:500])
        if kind == "Runtime.consoleAPICalled" and more["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(x.get("value", x.get("description"))) for x in more["args"]))
        if kind == "Log.entryAdded" and more["entry"]["level"] in ("error", "warning"):
            self.errors.append(more["entry"]["text"])
        if kind == "Network.requestWillBeSent":
            self.requests.append(more["request"]["url"][:200])
        if kind == "Page.javascriptDialogOpening":
            self.errors.append(f"dialog: {more['message']}")
            self.send("Page.handleJavaScriptDialog", accept=True)

    def open(self, path, scheme="light"):
        """Opens a file in a colour scheme and waits until it has drawn itself."""
        self.scheme(scheme)
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.drawn()

    def scheme(self, name):
        """light or dark."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def drawn(self):
        """Waits for the page's own word that all is drawn."""
        end = time.monotonic() + 60
        while self.run("document.body && document.body.dataset.drawn") != "yes":
            assert time.monotonic() < end, f"the page did not draw itself: {self.errors}"
            time.sleep(0.05)

    def run(self, expression):
        """The value of a JavaScript expression."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key, times=1):
        """Presses a key, as a person would."""
        code, text = KEYS[key]
        for _ in range(times):
            shared = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code}
            self.send("Input.dispatchKeyEvent", type="keyDown", **shared, **({"text": text} if text else {}))
            self.send("Input.dispatchKeyEvent", type="keyUp", **shared)

    def move(self, x, y):
        """Moves the mouse to a place of the window."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, path, height=None):
        """Saves what the window shows, or the page down to a height, as PNG."""
        clip = {}
        if height:
            wide = self.run("document.documentElement.clientWidth")
            clip = {
                "clip": {"x": 0, "y": 0, "width": wide, "height": height, "scale": 1},
                "captureBeyondViewport": True,
            }
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", **clip)["data"]))
