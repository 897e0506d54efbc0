"""A lake in an S3 bucket (AWS, MinIO, rclone and the like).

Credentials, region and endpoint come from where every AWS tool takes them (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`,
profiles, instance roles). DuckDB gets them as a secret of the connection, in memory only.
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

from storage.backends.base import Backend

if TYPE_CHECKING:
    from botocore.credentials import Credentials

LOG = logging.getLogger(__name__)

_RETRIES = {"http_retries": 8, "http_retry_wait_ms": 200, "http_retry_backoff": 2}
"""How DuckDB retries requests: for 25 seconds; its default gives up after half a second.
s3fs makes five attempts by default, or as many as AWS_MAX_ATTEMPTS."""


class S3Backend(Backend):
    """`s3://bucket/prefix`."""

    scheme = "s3"
    example = "s3://bucket/prefix"

    def filesystem(self) -> AbstractFileSystem:
        """An s3fs filesystem without a cache of listings, since other machines write to the lake too.

        Response checksums are validated only where required: some servers send the whole object's checksum with a
        part of it. Without credentials requests are not signed, which public buckets allow.
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
        """Abort old multipart uploads, which are stored but not listed, and remove old tests for write access."""
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
        listing = filesystem.call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{begin}.writable-")
        probes = [probe for probe in listing.get("Contents", []) if probe["LastModified"] <= oldest]
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
            # DuckDB takes them from the environment, and shows them to any query.
            connection.execute(f"set {setting} = ''")
        for setting, value in _RETRIES.items():
            connection.execute(f"set {setting} = {value}")
        connection.execute(*_secret())


def _extension() -> Path | None:
    """The extension's file for this version of DuckDB, if its package is installed."""
    package = importlib.util.find_spec("duckdb_extension_httpfs")
    if package is None or package.origin is None:
        return None
    file = Path(package.origin).parent / "extensions" / f"v{duckdb.__version__}"
    file = file / "httpfs.duckdb_extension"
    return file if file.is_file() else None


def _secret() -> tuple[str, list[str | bool]]:
    """A DuckDB secret with the endpoint, region and credentials that botocore resolves, as every AWS tool does."""
    resolved = _resolved(_environment())
    endpoint = urlsplit(resolved.endpoint)
    options: dict[str, str | bool] = {"region": resolved.region}
    if not endpoint.netloc.endswith("amazonaws.com"):
        options |= {
            "endpoint": endpoint.netloc,
            "url_style": "path",
            "use_ssl": endpoint.scheme == "https",
        }
    if resolved.credentials is not None:
        # Read anew for every connection: a role's credentials expire, and botocore renews them.
        frozen = resolved.credentials.get_frozen_credentials()
        options |= {"key_id": frozen.access_key or "", "secret": frozen.secret_key or ""}
        if frozen.token:
            options["session_token"] = frozen.token
    settings = ", ".join(f"{name} ?" for name in options)
    return f"create or replace secret lake (type s3, {settings})", list(options.values())


def _environment() -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))


class _Resolved(NamedTuple):
    """Endpoint, region and credentials of requests."""

    endpoint: str
    region: str
    credentials: "Credentials | None"


@lru_cache(maxsize=1)
def _resolved(_environment: frozenset[tuple[str, str]]) -> _Resolved:
    # Cached: botocore takes a third of a second to make a client, and a run makes thousands of connections.
    from botocore.session import get_session  # noqa: PLC0415  (slow to import, and only s3 lakes need it)

    session = get_session()
    # botocore itself looks at AWS_DEFAULT_REGION only; the other SDKs at AWS_REGION.
    region = session.get_config_variable("region") or os.environ.get("AWS_REGION") or "us-east-1"
    # Only the client's endpoint is read; placeholder keys keep it from resolving credentials again.
    client = session.create_client(
        "s3",
        region_name=region,
        aws_access_key_id="-",
        aws_secret_access_key="-",  # noqa: S106
    )
    return _Resolved(client.meta.endpoint_url, client.meta.region_name, session.get_credentials())
