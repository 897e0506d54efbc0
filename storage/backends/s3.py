"""A lake in an S3 bucket (AWS, MinIO, rclone and the like).

Credentials, region and endpoint come from where every AWS tool takes them (`AWS_ACCESS_KEY_ID`,
`AWS_ENDPOINT_URL`, profiles, instance roles) and are given to DuckDB as a secret of the connection,
in memory only.
"""

import importlib.util
import logging
import os
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import duckdb
import fsspec
from fsspec import AbstractFileSystem

if TYPE_CHECKING:
    from botocore.credentials import Credentials

LOG = logging.getLogger(__name__)

_RETRIES = {"http_retries": 8, "http_retry_wait_ms": 200, "http_retry_backoff": 2}
"""How DuckDB retries requests: for 25 seconds, where by itself it gives up after half a second.
s3fs tries five times by itself, or as AWS_MAX_ATTEMPTS says."""


class S3Backend:
    """`s3://bucket/prefix`."""

    def __init__(self, uri: str) -> None:
        """Remember bucket and prefix; reaches nothing."""
        self._root = uri.removeprefix("s3://").rstrip("/")

    @property
    def root(self) -> str:
        """`bucket/prefix`."""
        return self._root

    def filesystem(self) -> AbstractFileSystem:
        """An s3fs filesystem that keeps no listings, since other machines write here too.

        Some servers send the whole object's checksum with a part of it, which no reader could confirm. Without any
        credentials requests are not signed, as public buckets allow.
        """
        anonymous = _resolved(_environment()).credentials is None
        config: dict[str, object] = {"response_checksum_validation": "when_required"}
        if anonymous:
            config["retries"] = {"total_max_attempts": 2}  # most likely the credentials were forgotten
        return fsspec.filesystem(
            "s3",
            anon=anonymous,
            use_listings_cache=False,
            default_fill_cache=False,
            config_kwargs=config,
        )

    def put(self, path: str, data: bytes) -> None:
        """One upload: S3 shows an object only when its upload is complete."""
        self.filesystem().pipe_file(f"{self._root}/{path}", data)

    def uri(self, path: str) -> str:
        """The object's URI."""
        return f"s3://{self._root}/{path}"

    @property
    def advice(self) -> str:
        """What to do when the bucket refuses something."""
        if _resolved(_environment()).credentials is None:
            return (
                "no AWS credentials were found: unless the bucket is public, set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            )
        return "check its path, its rights, the AWS_* variables"

    def remove_drafts(self, age: float) -> int:
        """Remove uploads in several requests that a kill cut off, which are stored and shown to nobody, and probes."""
        bucket, _, prefix = self._root.partition("/")
        begin = f"{prefix}/" if prefix else ""
        filesystem: Any = self.filesystem()  # s3fs's, whose type knows its calls
        oldest = datetime.now(UTC) - timedelta(seconds=age)
        try:
            uploads = filesystem.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=begin)
        except OSError:  # some servers have no such list
            uploads = {}
        old = [upload for upload in uploads.get("Uploads", []) if upload["Initiated"] <= oldest]
        for upload in old:
            filesystem.call_s3(
                "abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )
        found = filesystem.call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{begin}.writable-")
        probes = [probe for probe in found.get("Contents", []) if probe["LastModified"] <= oldest]
        for probe in probes:
            filesystem.call_s3("delete_object", Bucket=bucket, Key=probe["Key"])
        return len(old) + len(probes)

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Load DuckDB's httpfs extension from its PyPI package, or register s3fs where that isn't installed."""
        extension = _extension()
        if extension is None:
            LOG.warning(
                "no duckdb-extension-httpfs for DuckDB %s is installed, so s3:// is read through s3fs, "
                "which is 2.5 to 6 times slower on first reads",
                duckdb.__version__,
            )
            connection.register_filesystem(self.filesystem())
            return
        connection.load_extension(extension.as_posix())
        for setting in ("s3_access_key_id", "s3_secret_access_key", "s3_session_token"):
            connection.execute(f"set {setting} = ''")  # taken from the environment, and shown to any query
        for setting, value in _RETRIES.items():
            connection.execute(f"set {setting} = {value}")
        connection.execute(*_secret())


def _extension() -> Path | None:
    """The extension's file that fits this DuckDB, if its package is there."""
    package = importlib.util.find_spec("duckdb_extension_httpfs")
    if package is None or package.origin is None:
        return None
    file = Path(package.origin).parent / "extensions" / f"v{duckdb.__version__}"
    file = file / "httpfs.duckdb_extension"
    return file if file.is_file() else None


def _secret() -> tuple[str, list[str | bool]]:
    """A DuckDB secret with what botocore finds: the one resolver that every AWS tool agrees with."""
    found = _resolved(_environment())
    endpoint = urlsplit(found.endpoint)
    options: dict[str, str | bool] = {"region": found.region}
    if not endpoint.netloc.endswith("amazonaws.com"):
        options |= {
            "endpoint": endpoint.netloc,
            "url_style": "path",
            "use_ssl": endpoint.scheme == "https",
        }
    if found.credentials is not None:
        # Frozen anew for every connection: those of a role expire, and botocore renews them.
        frozen = found.credentials.get_frozen_credentials()
        options |= {"key_id": frozen.access_key or "", "secret": frozen.secret_key or ""}
        if frozen.token:
            options["session_token"] = frozen.token
    settings = ", ".join(f"{name} ?" for name in options)
    return f"create or replace secret lake (type s3, {settings})", list(options.values())


def _environment() -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))


class _Resolved(NamedTuple):
    """Where requests go and who signs them."""

    endpoint: str
    region: str
    credentials: "Credentials | None"


@lru_cache(maxsize=1)
def _resolved(_environment: frozenset[tuple[str, str]]) -> _Resolved:
    # Making a client takes botocore a third of a second, and a run makes thousands of connections.
    from botocore.session import get_session  # noqa: PLC0415  (slow to import, and only s3 lakes need it)

    session = get_session()
    # botocore itself looks at AWS_DEFAULT_REGION only; the other SDKs at AWS_REGION.
    region = session.get_config_variable("region") or os.environ.get("AWS_REGION") or "us-east-1"
    # With keys made up: of the client only its endpoint is asked, and it would look for credentials once more.
    client = session.create_client(
        "s3",
        region_name=region,
        aws_access_key_id="-",
        aws_secret_access_key="-",  # noqa: S106
    )
    return _Resolved(client.meta.endpoint_url, client.meta.region_name, session.get_credentials())
