"""A person at a terminal: starts a program on one, and types when the screen says what he waits for.

usage: typist.py ROWS COLUMNS STEPS COMMAND ...
STEPS is JSON: ["see", PATTERN] waits until what came since the last sight matches a regular expression, ["type", TEXT] types,
["resize", ROWS, COLUMNS] changes the terminal's size. Prints all that came; ends like the command, or with 1 and the step that
could not be done.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

PATIENCE = 60


class Terminal:
    def __init__(self, rows, columns, command):
        self.seen, self.from_here = b"", 0
        self.pid, self.hands = pty.fork()
        if self.pid == 0:
            # The size is there before the program looks. What a job in the background ignores, nobody at a terminal does.
            set_size(0, rows, columns)
            for number in (signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            os.execvp(command[0], command)

    def read(self, seconds):
        """Whether the terminal is still open."""
        if select.select([self.hands], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.hands, 65536)
            except OSError:
                return False
        return True

    def see(self, pattern):
        end, is_open = time.monotonic() + PATIENCE, True
        while True:
            found = re.compile(pattern.encode(), re.DOTALL).search(self.seen, self.from_here)
            if found:
                self.from_here = found.end()
                return
            if not is_open or time.monotonic() > end:
                raise TimeoutError
            is_open = self.read(0.05)

    def end(self):
        end = time.monotonic() + PATIENCE
        while self.read(0.05):
            if time.monotonic() > end:
                raise TimeoutError
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def set_size(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def main(rows, columns, steps, *command):
    terminal, code = Terminal(int(rows), int(columns), command), 1
    step = None
    try:
        for step in json.loads(steps):
            what, words = step[0], step[1:]
            if what == "see":
                terminal.see(*words)
            elif what == "type":
                os.write(terminal.hands, words[0].encode())
            else:
                set_size(terminal.hands, *words)
        step = "the end"
        code = terminal.end()
    except (TimeoutError, OSError):
        print(f"could not do {step}; unseen: {terminal.seen[terminal.from_here:]}", file=sys.stderr)
        os.kill(terminal.pid, signal.SIGHUP)
    sys.stdout.buffer.write(terminal.seen)
    sys.exit(code)


main(*sys.argv[1:])
