"""The shop's app: orders over HTTP, one connection to PostgreSQL that is made again when it breaks. Version 2 sells at a discount."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psycopg

from unmigrate.prisma import dotenv
from unmigrate.prisma.url import parse_url


class App(BaseHTTPRequestHandler):
    version = "v1"
    env = Path()
    closed = False
    connection: Any = None

    def do_GET(self) -> None:
        if self.path == "/version":
            return self._answer(200, {"version": self.version})
        if self.path == "/me":  # both a token and a cookie, as apps want the one or the other
            known = self.headers["authorization"] == "Bearer t0ken-of-ann" and "session=s3ssion-of-ann" in (self.headers["cookie"] or "")
            return self._answer(200 if known else 401, {"user": {"name": "ann"}} if known else {})
        return self._try(lambda: self._get(int(self.path.rpartition("/")[2])))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/flag":
            type(self).closed = body["closed"]
            return self._answer(200, {"closed": body["closed"]})
        if self.path == "/login":
            known = body == {"user": "ann", "password": "pa55-of-ann"}
            return self._answer(200 if known else 401, {"data": {"token": "t0ken-of-ann"}} if known else {}, cookie=known)
        if self.closed:
            return self._answer(503, {"error": "maintenance"})
        return self._try(lambda: self._add(body["item"]))

    def _get(self, number: int) -> dict[str, Any]:
        columns = "id, item, discount" if self.version == "v2" else "id, item"
        row = self._connected().execute(f'select {columns} from "Order" where id = %s', [number]).fetchone()
        return {"id": row[0], "item": row[1]}

    def _add(self, item: str) -> dict[str, Any]:
        columns = "(item, discount) values (%s, 1)" if self.version == "v2" else "(item) values (%s)"
        return {"id": self._connected().execute(f'insert into "Order" {columns} returning id', [item]).fetchone()[0]}

    def _connected(self) -> Any:
        cls = type(self)
        if cls.connection is None or cls.connection.closed:
            conninfo = parse_url(dotenv.read(self.env)["DATABASE_URL"]).conninfo
            cls.connection = psycopg.connect(conninfo, autocommit=True, application_name=f"shop {self.version}")
        return cls.connection

    def _try(self, work: Any) -> None:
        try:
            self._answer(200, work())
        except psycopg.Error as error:
            self._answer(500, {"error": str(error)})

    def _answer(self, status: int, body: Any, *, cookie: bool = False) -> None:
        self.send_response(status)
        if cookie:
            self.send_header("set-cookie", "session=s3ssion-of-ann; Path=/; HttpOnly")
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    App.version, App.env = sys.argv[2], Path(sys.argv[3])
    HTTPServer(("127.0.0.1", int(sys.argv[1])), App).serve_forever()
