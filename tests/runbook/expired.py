"""A door in front of moto that answers as AWS does once a session's time is over: RDS in XML, Secrets Manager in JSON."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_SAID = "The security token included in the request is expired"
_XML = f"""<ErrorResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><Error><Type>Sender</Type><Code>ExpiredToken</Code>
<Message>{_SAID}</Message></Error><RequestId>2f1a</RequestId></ErrorResponse>"""


@dataclass
class Door:
    url: str
    expired: bool = False


@contextmanager
def door(behind: str) -> Iterator[Door]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if opened.expired:
                self._refuse()
                return
            asked = urllib.request.Request(behind + self.path, data=body, headers=dict(self.headers), method="POST")
            try:
                with urllib.request.urlopen(asked) as answer:
                    self._answer(answer.status, answer.headers["content-type"], answer.read())
            except urllib.error.HTTPError as error:
                self._answer(error.code, error.headers["content-type"], error.read())

        def _refuse(self) -> None:
            if self.headers.get("x-amz-target"):
                self._answer(400, "application/x-amz-json-1.1", f'{{"__type":"ExpiredTokenException","message":"{_SAID}"}}'.encode())
            else:
                self._answer(403, "text/xml", _XML.encode())

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    opened = Door(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield opened
    finally:
        server.shutdown()
        server.server_close()
