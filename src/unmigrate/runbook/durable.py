"""Durable execution, by DBOS: sessions of a run as workflows whose steps are recorded and not run again after a crash.

A run is worked at in sessions, numbered from 1: the first goes forward; one that stopped is followed by the next. A session that was
killed is gone on with under its own number. State is in SQLite, or in PostgreSQL where colleagues share it. Nothing outside of this file
knows DBOS. docs/decisions says why it is used, and around which of its gaps this file is built.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryFile
from threading import Event
from typing import Any

from unmigrate.errors import EnvironmentProblem, PartialError
from unmigrate.runbook.model import Direction, Json, Record, Result, Spec

Durable = Callable[[str, Callable[[], Json]], Json]
Play = Callable[[Spec, list[Record], Direction, Durable], Result]
_PREFIX = "unmigrate."
_BROKEN = "__broken__"
_POLL = 0.05  # seconds; DBOS's own second is felt in every command, as its threads are waited for at the end
_RECORDED = 5.0  # seconds after its end within which a session is recorded as ended
_BEGUN = 120.0  # seconds within which a session begins; DBOS itself would wait for ever where it cannot write that it does
_ROOM = 1 << 20  # bytes that must be free where the state is kept
_MAKE_ROOM = f"make room there ({_ROOM >> 20} MB at least), and give the same command again"
_FILL = f"CREATE TEMP TABLE room ON COMMIT DROP AS SELECT repeat('x', 1000) FROM generate_series(1, {_ROOM >> 10})"
_STUCK = 3.0  # seconds for something to be recorded; DBOS tries for ever, so we look whether there is room
_questions: "Queue[tuple[Callable[[], bool], Future[bool]]]" = Queue()
_play: Play | None = None
_begun = Event()
_over = Event()
_recording = 0.0  # since when what a step did is being recorded; 0: it is not
_workflow: Any = None


@dataclass(frozen=True, slots=True)
class Session:
    """One session as it is recorded. result: None while it was not ended: it runs, or was killed; broken: it ended without one."""

    number: int
    spec: Spec
    direction: Direction
    before: tuple[Record, ...]
    result: Result | None
    done: tuple[Record, ...]
    broken: bool = False

    @property
    def records(self) -> tuple[Record, ...]:
        """All records of the run up to now."""
        return self.result.records if self.result else (*self.before, *self.done)


class _Serializer:
    """JSON in place of pickle: state that can be read by people and by later versions."""

    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=lambda value: {_BROKEN: repr(value)} if isinstance(value, BaseException) else str(value))

    def deserialize(cls, serialized_data: str) -> Any:
        value = json.loads(serialized_data)
        return RuntimeError(value[_BROKEN]) if isinstance(value, dict) and _BROKEN in value else value

    def name(self) -> str:
        return "unmigrate_json"


class Store:
    """Where runs are kept. url: of SQLAlchemy."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def _folder(self) -> Path | None:
        """Where SQLite keeps it; None for PostgreSQL."""
        return Path(self.url.removeprefix("sqlite:///")).parent if self.url.startswith("sqlite:") else None

    @classmethod
    def open(cls, folder: Path, state_env: str | None, environ: Mapping[str, str]) -> "Store":
        """SQLite in `folder`, or the PostgreSQL whose URL stands in the environment variable `state_env`."""
        try:
            import dbos  # noqa: F401
        except ImportError as error:
            message = "runs need the library dbos, which is not installed"
            raise EnvironmentProblem(message, code="no-dbos", remedy="pip install 'unmigrate[run]'") from error
        if state_env is None:
            file = folder / "state.sqlite"
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
            return cls(f"sqlite:///{file}")
        url = environ.get(state_env)
        if not url:
            message = f"run.state_env names {state_env}, which is not set"
            raise EnvironmentProblem(message, code="state", remedy=f"set {state_env} to a PostgreSQL URL, or take state_env out")
        return cls(url)

    def sessions(self, run: str | None = None) -> list[Session]:
        """Sessions of one run, or of all, in order. Empty where nothing was ever run."""
        from dbos import DBOSClient

        with _told():
            client = DBOSClient(system_database_url=self.url, serializer=_serializer())
            try:
                found = client.list_workflows(workflow_id_prefix=f"{_PREFIX}{run}." if run else _PREFIX)
                return sorted((_session(client, w) for w in found), key=lambda s: (s.spec.run, s.number))
            finally:
                client.destroy()

    def cancel(self, session: Session) -> None:
        """A session that was killed is not gone on with: another follows it."""
        from dbos import DBOSClient

        self._require_room()
        with _told():
            client = DBOSClient(system_database_url=self.url, serializer=_serializer())
            try:
                client.cancel_workflow(_id(session.spec.run, session.number))
            finally:
                client.destroy()

    def work(self, number: int, spec: Spec, before: tuple[Record, ...], direction: Direction, play: Play) -> Result:
        """Begin session `number`, or go on with it where it was killed; returns when it has ended."""
        self._require_room()
        with _launched(self.url, f"{spec.run}.{number}", play) as dbos:
            given = {"spec": spec.to_json(), "direction": direction, "records": [r.to_json() for r in before]}
            with dbos.SetWorkflowID(_id(spec.run, number)):
                handle = dbos.DBOS.start_workflow(_registered(), given)  # the same id again is the same workflow
            try:
                _await(handle, spec.run, self._require_room)
            except PartialError:
                _give_up(dbos)
                raise
            try:
                return Result.from_json(handle.get_result(polling_interval_sec=_POLL))
            except Exception as error:  # steps record what goes wrong; this is the flow itself
                message = f"run {spec.run} broke: {error}"
                raise PartialError(message, code="bug", remedy=f"report it; unmigrate resume {spec.run} goes on") from error

    def prepare(self) -> None:
        """Make the tables, so that what is wrong with the state is known before anything is done."""
        self._require_room()
        with _launched(self.url, "prepare", lambda *_: Result("done", ())):
            pass

    def _require_room(self) -> None:
        """Raises EnvironmentProblem where nothing more can be written: a session that cannot record what it does must not begin."""
        if self._folder:
            _require_folder_room(self._folder)
        else:
            _require_database_room(self.url)


def _require_database_room(url: str) -> None:
    """Where it cannot be asked, others tell why."""
    import psycopg

    try:
        with psycopg.connect(url.replace("postgresql+psycopg:", "postgresql:", 1), connect_timeout=10) as connection:
            connection.execute(_FILL)
    except psycopg.errors.DiskFull as error:
        raise EnvironmentProblem(f"runs cannot be kept: {error.diag.message_primary}", code="state", remedy=_MAKE_ROOM) from error
    except psycopg.Error:
        return


def _require_folder_room(folder: Path) -> None:
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        remedy = f"{_MAKE_ROOM}; or keep runs elsewhere: $UNMIGRATE_STATE"
        raise EnvironmentProblem(f"runs cannot be kept in {folder}: {error.strerror}", code="state", remedy=remedy) from error


@contextmanager
def _launched(url: str, name: str, play: Play) -> Iterator[Any]:
    """DBOS, for this session alone: executor and version are its name, so that launching goes on with nothing else."""
    global _play
    import dbos

    _play = play
    _begun.clear()
    _over.clear()
    _registered()
    with _told():
        dbos.DBOS(
            config={
                "name": "unmigrate", "system_database_url": url, "application_version": name, "executor_id": name,
                "log_level": "CRITICAL", "serializer": _serializer(), "use_listen_notify": False,
                "notification_listener_polling_interval_sec": _POLL,
            }
        )  # fmt: skip
        dbos.DBOS.launch()
    try:
        yield dbos
    finally:
        if not isinstance(sys.exc_info()[1], KeyboardInterrupt):  # else it is at work in another thread, until the process ends
            dbos.DBOS.destroy()
            _play = None


def _registered() -> Any:
    """The one workflow there is. Its name must stay: recorded runs refer to it."""
    global _workflow
    if _workflow is None:
        from dbos import DBOS

        @DBOS.workflow(name="unmigrate.session", max_recovery_attempts=1_000_000)
        def session(given: Json) -> Json:
            _begun.set()
            assert _play is not None
            records = [Record.from_json(r) for r in given["records"]]
            try:
                return _play(Spec.from_json(given["spec"]), records, given["direction"], _step).to_json()
            finally:
                _over.set()

        _workflow = session
    return _workflow


def _await(handle: Any, run: str, require_room: Callable[[], None]) -> None:
    """Until the session's end is recorded. Raises PartialError where that cannot be: DBOS itself would wait for ever."""
    began, since, looked = time.monotonic(), 0.0, 0.0
    while handle.get_status().status in ("PENDING", "ENQUEUED"):
        now = time.monotonic()
        since = since or (now if _over.is_set() else 0.0)
        waiting = since or _recording or (0.0 if _begun.is_set() else began)
        if waiting and now - max(waiting, looked) > _STUCK:
            try:
                require_room()
            except EnvironmentProblem as error:
                raise _unwritten(run) from error
            looked = now
        if (not _begun.is_set() and now - began > _BEGUN) or (since and now - since > _RECORDED):
            raise _unwritten(run)
        try:
            question, answer = _questions.get(timeout=_POLL)
        except Empty:
            continue
        answer.set_result(question())


def in_main(question: Callable[[], bool]) -> bool:
    """Ask from within a session: people are asked in the main thread, where Ctrl-C is heard."""
    answer: Future[bool] = Future()
    _questions.put((question, answer))
    return answer.result()


def _give_up(dbos: Any) -> None:
    """End DBOS's attempts to write: it would try until there is room, and this process would never end.

    DBOS has a setting for this (`retry_connection_errors`) for its client alone, not for what runs workflows: so it is set by hand.
    """
    dbos._dbos._get_dbos_instance()._sys_db._retry_connection_errors = False


def _unwritten(run: str) -> PartialError:
    message = f"run {run} stopped, as its state cannot be written: is the disk full?"
    remedy = f"make room where runs are kept ($UNMIGRATE_STATE, or run.state_env); then unmigrate resume {run} goes on"
    return PartialError(message, code="state", remedy=remedy)


def _step(name: str, work: Callable[[], Json]) -> Json:
    from dbos import DBOS

    def working() -> Json:
        global _recording
        did = work()
        _recording = time.monotonic()
        return did

    global _recording
    done: Json = DBOS.run_step({"name": name}, working)
    _recording = 0.0
    return done


def _serializer() -> Any:
    from dbos import Serializer

    return type("JsonSerializer", (_Serializer, Serializer), {})()


def _id(run: str, number: int) -> str:
    return f"{_PREFIX}{run}.{number}"


def _session(client: Any, found: Any) -> Session:
    given = found.input["args"][0]
    records = tuple(Record.from_json(r) for r in given["records"])
    output = found.output if found.status == "SUCCESS" else None
    steps = () if output else client.list_workflow_steps(found.workflow_id)
    done = tuple(Record.from_json(s["output"]) for s in steps if isinstance(s["output"], dict) and "phase" in s["output"])
    number = int(found.workflow_id.rpartition(".")[2])
    result = Result.from_json(output) if output else None
    return Session(number, Spec.from_json(given["spec"]), given["direction"], records, result, done, found.status in ("ERROR", "CANCELLED"))


@contextmanager
def _told() -> Iterator[None]:
    """What the state's database says, in one line without its password."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as error:
        text = " ".join(str(getattr(error, "orig", None) or type(error).__name__).split())[:300]
        if "no such table" in text or "UndefinedTable" in text or "does not exist" in text:
            raise EnvironmentProblem("no run was ever begun here", code="no-run", remedy="unmigrate run rollback NAME") from None
        remedy = (
            "make room for it"
            if "disk is full" in text or "No space" in text
            else "check where it is kept ($UNMIGRATE_STATE, run.state_env)"
        )
        raise EnvironmentProblem(f"the state of runs cannot be read or written: {text}", code="state", remedy=remedy) from None
