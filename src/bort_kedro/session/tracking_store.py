"""Where MLflow keeps the runs: opened by one run at a time, and what to say where it cannot be."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from shlex import quote
from urllib.parse import unquote, urlparse
from urllib.request import url2pathname

from filelock import FileLock
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from bort_kedro.environment import environment_variables
from bort_kedro.errors import ConfigurationError
from bort_kedro.redaction import redacted

VARIABLE = "MLFLOW_TRACKING_URI"
USERNAME, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
# What MLflow raises where a store is not there, does not answer or cannot be written; OSError covers those of requests.
FAULTS = (MlflowException, SQLAlchemyError, OSError)
# How often a request to a server is repeated, after pauses that double from 2 s on, and for how long one may take.
RETRIES, SECONDS = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
# Of a run, unless the user has set them: with MLflow's own it waits four minutes for a server that is gone.
OF_A_RUN = {RETRIES: "3", SECONDS: "30"}
OPENING, LEAVING = {RETRIES: "1", SECONDS: "10"}, {RETRIES: "0", SECONDS: "1"}
_OUT_OF_DATE = "out-of-date database schema"


def database_uri(file: Path) -> str:
    """MLflow's name for a SQLite file, whatever signs its path holds.

    With the driver it is no other database; without it MLflow takes the name's quoted signs for those of a folder, and
    makes that folder.
    """
    uri: str = URL.create("sqlite+pysqlite", database=file.as_posix()).render_as_string()
    return uri


def seen_from(project: Path, uri: str) -> str:
    """The URI itself; of a SQLite file or a folder with a relative path, the one below the project."""
    if _is_folder(uri) and not uri.startswith("file:"):
        return str(project / uri)
    file = _sqlite_file(uri)
    return uri if file is None or file.is_absolute() else database_uri(project / file)


def is_served(uri: str) -> bool:
    """Whether a server keeps the runs, and decides where artifacts go."""
    return _database(uri) is None and not _is_folder(uri)


@contextmanager
def opening(uri: str) -> Iterator[None]:
    """In the block MLflow opens a store, which it makes or brings up to date where it is a file, so one run at a time.

    Raises:
        ConfigurationError: If it cannot be opened, with the command that mends it.
    """
    for name, value in OF_A_RUN.items():
        os.environ.setdefault(name, value)
    url, file = _database(uri), _sqlite_file(uri)
    try:
        with environment_variables(OPENING), FileLock(f"{file}.lock") if file else nullcontext():
            # MLflow would try a database that is not there for a minute and a half.
            if url is not None:
                create_engine(url).connect().close()
            yield
    except (*FAULTS, ImportError) as fault:
        raise ConfigurationError(_explain(uri, fault)) from fault


def without_credentials(uri: str) -> str:
    """The address of a server without ``user:password@``, which go into the variables that MLflow has for them.

    MLflow prints the address of each run that ends, and faults have it.
    """
    parts = urlparse(uri)
    if parts.scheme not in ("http", "https") or parts.password is None:
        return uri
    os.environ[USERNAME], os.environ[PASSWORD] = unquote(parts.username or ""), unquote(parts.password)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _explain(uri: str, fault: Exception) -> str:
    if _is_folder(uri):
        return _of_a_folder(uri)
    file = _sqlite_file(uri)
    place = redacted(uri)
    if _OUT_OF_DATE in str(fault):
        found = re.findall(r"(?:version|expected) (\w+)", str(fault))
        advice = (
            f"its tables are of version {found[0]}, those of the installed MLflow of version {found[1]}. Copy it to a "
            f"safe place and run `mlflow db upgrade {quote(place)}`, or, if it is of a newer MLflow, install that one"
        )
    elif is_served(uri):
        advice = f"{reason_of(fault)}. Start the server of that address"
    else:
        advice = f"{reason_of(fault)}. " + (
            f"Let it be read and written, or move it away with `mv {quote(str(file))} {quote(f'{file}.old')}`"
            if file
            else "Start that database, or install its driver"
        )
    return (
        f"Runs cannot be tracked at {place}: {advice}; or track them elsewhere: change the variable {VARIABLE} or "
        "`server.mlflow_tracking_uri` in conf/local/mlflow.yml. Without both (`unset MLFLOW_TRACKING_URI`) they go to "
        "mlruns.db of the project's folder."
    )


def _of_a_folder(uri: str) -> str:
    folder = Path(url2pathname(urlparse(uri).path) if uri.startswith("file:") else uri)
    database = quote(f"sqlite:///{folder}/mlruns.db")
    moved = (
        f" Runs that it has go there with `mlflow migrate-filestore --source {quote(str(folder))} --target {database}`."
    )
    return (
        f"Runs cannot be tracked at {uri}: this is a folder, and MLflow keeps runs in databases. Name one, such as "
        f"`export {VARIABLE}={database}`, or `unset {VARIABLE}`: then it is mlruns.db of the project's folder."
        f"{moved if folder.is_dir() else ''}"
    )


def reason_of(fault: Exception) -> str:
    """What a store's fault comes down to, without what was tried."""
    text = str(fault).splitlines()[0]
    system = re.findall(r"\[Errno -?\d+\] [^)'\"]+", text)
    return redacted(str(system[-1] if system else text)).strip(".: ")


def is_unreachable(fault: MlflowException) -> bool:
    """Whether a server did not answer at all, rather than refuse."""
    return "failed with exception" in str(fault)


def _database(uri: str) -> URL | None:
    """None where it is no address of a database."""
    try:
        url = make_url(uri)
    except ArgumentError:
        return None
    return url if url.get_backend_name() in ("sqlite", "postgresql", "mysql", "mssql") else None


def _sqlite_file(uri: str) -> Path | None:
    url = _database(uri)
    if url is None or url.get_backend_name() != "sqlite" or "uri" in url.query or url.database in (None, ":memory:"):
        return None
    return Path(url.database)


def _is_folder(uri: str) -> bool:
    # Databricks' own names for its server look like one.
    return urlparse(uri).scheme in ("", "file") and uri not in ("databricks", "databricks-uc")
