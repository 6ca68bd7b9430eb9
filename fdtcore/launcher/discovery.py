"""A program of the user's that names the machines a job may use, asked again and again.

It prints lines like ``node1 slots=4``, as Horovod's discovery scripts do.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable

from fdtcore.launcher.hosts import Host, parse_hostfile

EVERY_S = 5.0
LIMIT_S = 10.0


class Discovery:
    """The machines that a program names.

    Args:
        program: Path of the program, which is called without arguments.
        say: Is told once that it does not answer any more.
        every_s: Time between two calls.
    """

    def __init__(
        self, program: str, say: Callable[[str], None], every_s: float = EVERY_S
    ):
        self._program, self._say, self._every_s = program, say, every_s
        self._newest: tuple[Host, ...] = ()
        self._is_wrong = False
        self._over = threading.Event()

    @property
    def hosts(self) -> tuple[Host, ...]:
        """What the program has named last."""
        return self._newest

    def ask(self) -> tuple[Host, ...]:
        """Calls the program.

        Returns:
            The machines, in its order; none where it prints nothing.

        Raises:
            ValueError: The program cannot be called, fails, or prints something else.
        """
        self._newest = self._asked()
        return self._newest

    def watch(self) -> None:
        """Calls the program from now on, in a thread that ends with this process."""
        threading.Thread(target=self._watch, name="discovery", daemon=True).start()

    def close(self) -> None:
        """Calls it no more."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self.ask()
                self._is_wrong = False
            except ValueError as error:
                if not self._is_wrong:
                    self._is_wrong = True
                    self._say(f"{error} The job goes on where it is.")

    def _asked(self) -> tuple[Host, ...]:
        try:
            done = subprocess.run(
                [self._program],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._wrong(
                f"no end within {LIMIT_S:g} s", "Make it faster"
            ) from None
        except OSError as error:
            way_out = "Name a program: chmod +x, and #! in its first line"
            raise self._wrong(error.strerror or str(error), way_out) from None
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            said = "".join(f": {line.strip():.200}" for line in last)
            raise self._wrong(f"exit code {done.returncode}{said}", "Run it by hand")
        if not done.stdout.strip():
            return ()
        try:
            return parse_hostfile(done.stdout)
        except ValueError as error:
            found = str(error).partition("Received: ")[2].partition(" Correct")[0]
            raise self._wrong(found.rstrip("."), "Run it by hand") from None

    def _wrong(self, what: str, way_out: str) -> ValueError:
        return ValueError(
            "--hosts-from must be a program that prints lines like 'node1 slots=4'. "
            f"Received: {self._program}: {what}. {way_out}."
        )
