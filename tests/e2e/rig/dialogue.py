"""Line dialogues with SMTP and LMTP servers, byte for byte, without a library's kindness."""

import base64
import socket


class Dialogue:
    """ADDRESS is a port of 127.0.0.1 or the path of a Unix socket."""

    def __init__(self, address, timeout=60):
        if isinstance(address, int):
            self.socket = socket.create_connection(("127.0.0.1", address), timeout)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.socket.close()

    def line(self):
        while b"\n" not in self.pending:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the server closed the connection")
            self.pending += data
        line, self.pending = self.pending.split(b"\n", 1)
        return line.rstrip(b"\r").decode("utf-8", "replace")

    def reply(self):
        """A whole reply, its lines joined by newlines."""
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return "\n".join(lines)

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("utf-8") + b"\r\n")

    def command(self, text):
        self.send(text)
        return self.reply()

    def expect(self, code, text):
        """Sends TEXT (None: only waits) and fails unless the reply begins with CODE."""
        answer = self.command(text) if text is not None else self.reply()
        if not answer.startswith(str(code)):
            raise AssertionError(f"{text!r} was answered {answer!r}, not {code}")
        return answer

    def message(self, body):
        """Sends BODY (bytes, CRLF lines) dot-stuffed, with the final dot."""
        if not body.endswith(b"\r\n"):
            body += b"\r\n"
        stuffed = (b"." + body if body.startswith(b".") else body).replace(b"\r\n.", b"\r\n..")
        self.socket.sendall(stuffed + b".\r\n")


def plain(login, password, authzid=""):
    return base64.b64encode(f"{authzid}\0{login}\0{password}".encode()).decode()


def auth_plain(dialogue, login, password, authzid=""):
    return dialogue.command(f"AUTH PLAIN {plain(login, password, authzid)}")


def auth_login(dialogue, login, password):
    answer = dialogue.command("AUTH LOGIN")
    if not answer.startswith("334"):
        return answer
    answer = dialogue.command(base64.b64encode(login.encode()).decode())
    if not answer.startswith("334"):
        return answer
    return dialogue.command(base64.b64encode(password.encode()).decode())


def send(address, sender, recipients, body, greeting="EHLO"):
    """One message; returns {recipient: reply} (the RCPT reply where refused, else the last one)."""
    with Dialogue(address) as dialogue:
        dialogue.expect(220, None)
        dialogue.expect(250, f"{greeting} client.example.test")
        dialogue.expect(250, f"MAIL FROM:<{sender}> BODY=8BITMIME SMTPUTF8")
        answers, accepted = {}, []
        for recipient in recipients:
            answers[recipient] = dialogue.command(f"RCPT TO:<{recipient}>")
            if answers[recipient].startswith("2"):
                accepted.append(recipient)
        if accepted:
            answer = dialogue.command("DATA")
            if answer.startswith("354"):
                dialogue.message(body)
                answer = None
            if greeting == "LHLO":
                for recipient in accepted:
                    answers[recipient] = answer or dialogue.reply()
            else:
                answer = answer or dialogue.reply()
                answers.update(dict.fromkeys(accepted, answer))
        dialogue.expect(221, "QUIT")
    return answers
