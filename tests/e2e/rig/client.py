"""An LMTP client and a caller of the pipe agent that tell a ledger what they were told."""

import random
import subprocess
import threading
import time

from . import ledger
from .dialogue import Dialogue
from .host import program

SENDER = "someone@remote.test"


class Transaction:
    """
    One message to RECIPIENTS {address: Ledger} on the open session DIALOGUE, in two halves, so that
    something can be done to the server in between.
    """

    def __init__(self, dialogue, identifier, recipients, size=600):
        self.dialogue, self.identifier, self.recipients = dialogue, identifier, recipients
        self.size, self.accepted, self.replies = size, [], {}

    def begin(self):
        self.dialogue.expect(250, f"MAIL FROM:<{SENDER}>")
        for address in self.recipients:
            self.replies[address] = self.dialogue.command(f"RCPT TO:<{address}>")
            if self.replies[address].startswith("2"):
                self.accepted.append(address)
            else:
                self.recipients[address].note(self.identifier, self.replies[address])

    def finish(self):
        """False: the server left before its last reply."""
        waiting = list(self.accepted)
        try:
            answer = self.dialogue.command("DATA")
            if answer.startswith("354"):
                self.dialogue.message(ledger.message(self.identifier, self.size))
                answer = None
            while waiting:
                reply = answer or self.dialogue.reply()
                self.replies[waiting[0]] = reply
                self.recipients[waiting[0]].note(self.identifier, reply)
                waiting.pop(0)
        except (OSError, EOFError):
            for address in waiting:
                self.replies[address] = None
                self.recipients[address].note(self.identifier, None)
            return False
        return True


def greet(path):
    """A session on which LHLO was answered. OSError or EOFError: nobody serves."""
    dialogue = Dialogue(path)
    try:
        dialogue.expect(220, None)
        dialogue.expect(250, "LHLO client.example.test")
    except BaseException:
        dialogue.socket.close()
        raise
    return dialogue


def deliver(path, identifier, recipients, size=600):
    """One message in a session of its own; {address: reply or None}."""
    with greet(path) as dialogue:
        transaction = Transaction(dialogue, identifier, recipients, size)
        transaction.begin()
        transaction.finish()
    return transaction.replies


def agent_argv(host, address, alone=True):
    """ALONE: it finds no server to hand the message over to."""
    config = host.config_without_server() if alone else host.config_path
    return [program("lmtp-deliver"), "-c", config, "-f", SENDER, "-d", address]


def agent(host, identifier, address, account, size=600, before=lambda argv: argv, alone=True):
    """One message by the pipe agent, whose command line goes through BEFORE; its exit code."""
    done = subprocess.run(before(agent_argv(host, address, alone)), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, timeout=60,
                          input=ledger.message(identifier, size).replace(b"\r\n", b"\n"))
    if done.returncode in (-9, 137) or b"the LMTP server has gone away" in done.stdout:
        account.note(identifier, None)
    else:
        account.note(identifier, "250" if done.returncode == 0 else done.stdout.decode())
    return done.returncode


class Load:
    """
    Sessions that deliver without a pause while the server comes and goes. A message whose reply was
    lost is sent once more, as Postfix would.
    """

    def __init__(self, path, accounts, sessions, seed, pause=0.0):
        self.path, self.accounts, self.pause = path, accounts, pause
        self.stopping = threading.Event()
        self.faults = []
        self.threads = [threading.Thread(target=self._guarded, args=(random.Random(seed + number),
                                                                      f"load{number}"))
                        for number in range(sessions)]

    def _guarded(self, choice, name):
        try:
            self._run(choice, name)
        except Exception as fault:  # whatever it is, the test is to know
            self.faults.append(repr(fault))

    def _run(self, choice, name):
        number, again = 0, None
        while not self.stopping.is_set():
            try:
                with greet(self.path) as dialogue:
                    while not self.stopping.is_set():
                        if again is None:
                            number += 1
                            count = min(choice.choice((1, 1, 3)), len(self.accounts))
                            addresses = choice.sample(sorted(self.accounts), count)
                            message = (f"{name}.{number}", addresses, choice.choice((600, 600, 30000)))
                        else:
                            message, again = again, None
                        identifier, addresses, size = message
                        transaction = Transaction(
                            dialogue, identifier, {one: self.accounts[one] for one in addresses}, size)
                        transaction.begin()
                        if not transaction.finish():
                            lost = [one for one, reply in transaction.replies.items() if reply is None]
                            again = (identifier, lost, size)
                            break
                        time.sleep(self.pause)
            except (OSError, EOFError):
                time.sleep(0.005)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *unused):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
