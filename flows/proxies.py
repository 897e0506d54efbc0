"""Proxies that the environment names stand before other machines, and not before the command's own server."""

from collections.abc import MutableMapping

LOOPBACK = ("127.0.0.1", "localhost")


def spare_loopback(environment: MutableMapping[str, str]) -> None:
    """Put this machine into `NO_PROXY`, in both spellings, where a proxy is named.

    Not where `PREFECT_API_URL` names a server: what stands before that one is for its user to say.
    """
    named = {name.lower() for name, value in environment.items() if value}
    if environment.get("PREFECT_API_URL") or not named & {"http_proxy", "https_proxy", "all_proxy"}:
        return
    given = {name: environment.get(name, "") for name in ("no_proxy", "NO_PROXY")}
    for name, value in given.items():
        spared = [host.strip() for host in (value or given["no_proxy"] or given["NO_PROXY"]).split(",")]
        environment[name] = ",".join(dict.fromkeys(host for host in (*spared, *LOOPBACK) if host))
