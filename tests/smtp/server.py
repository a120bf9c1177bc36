"""A mail server for tests. Settings come as JSON in the first argument.

It prints its port, then one JSON line for each mail that it took in. Each line on standard input sets
rules: a JSON object from recipients ("*" stands for all) to what is done with their mails, which is
"451 ..." or "550 ..." (said at RCPT), "554 data ..." (said after the mail), "hang" (no answer to the
mail), or "drop once" (the mail is taken in, and the connection cut before that is said). An empty line
is printed when they hold.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys
import time

from aiosmtpd.smtp import SMTP, AuthResult

settings = json.loads(sys.argv[1])
rules = dict(settings.get("rules", {}))


def say(line):
    print(line, flush=True)


def part(message, kind):
    body = message.get_body(preferencelist=(kind,))
    return body.get_content() if body else None


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        rule = rules.get(address, rules.get("*", ""))
        if rule[:1].isdigit() and " data " not in rule:
            return rule
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        to = envelope.rcpt_tos[0]
        rule = rules.get(to, rules.get("*", ""))
        if rule == "hang":
            await asyncio.sleep(3600)
        if " data " in rule:
            return rule.replace(" data ", " ")
        raw = envelope.content
        message = email.message_from_bytes(raw, policy=email.policy.default)
        say(json.dumps({
            "at": time.time(),
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "user": session.auth_data.login.decode() if session.authenticated else None,
            "hello": session.host_name,
            "peer": session.peer[1],
            "ascii": raw.isascii(),
            "longest": max(len(line) for line in raw.split(b"\r\n")),
            "headers": [[name, str(value)] for name, value in message.items()],
            "type": message.get_content_type(),
            "text": part(message, "plain"),
            "html": part(message, "html"),
        }))
        if rule == "drop once":
            rules.pop(to)
            server.transport.abort()
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = [data.login.decode(), data.password.decode()] == settings.get("credentials")
    # Not handled: the library says so, which it does not by itself.
    return AuthResult(success=good, handled=False, auth_data=data)


def context():
    if "certificate" not in settings:
        return None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(settings["certificate"], settings["key"])
    return tls


async def main():
    loop = asyncio.get_running_loop()
    implicit = settings.get("tls") == "implicit"
    tls = context()

    def connection():
        return SMTP(
            Handler(),
            loop=loop,
            hostname="mail.test",
            tls_context=None if implicit else tls,
            require_starttls=tls is not None and not implicit,
            auth_required="credentials" in settings,
            auth_require_tls=tls is not None and not implicit,
            authenticator=authenticate,
        )

    server = await loop.create_server(
        connection, "127.0.0.1", settings.get("port", 0), ssl=tls if implicit else None
    )
    say(server.sockets[0].getsockname()[1])
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    # Ends with the test that holds the other end.
    while line := await reader.readline():
        told = json.loads(line)
        # Null asks only whether all that was said before was heard.
        if told is not None:
            rules.clear()
            rules.update(told)
        say("")


asyncio.run(main())
