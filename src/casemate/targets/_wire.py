"""One host, asked politely: one request at a time, counted, paced, bounded in time and size, secrets kept to itself."""

from __future__ import annotations

import email.utils
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..core.errors import BadInput, CasemateError, Refused, TargetFailed, UsageError, need
from ._allowance import Allowance
from .answers import brief

LARGEST = 64 * 2**20  # bytes of one answer
_LOCAL = ("localhost", "127.0.0.1", "::1")
_SECRET = re.compile(r"key|token|secret|password|passwd|signature|credential|auth", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")


@dataclass(frozen=True, slots=True)
class _Again:
    """An answer after which asking again is safe: nothing was done yet."""

    error: CasemateError
    pause: float


class Wire:
    """Sends bodies to one URL's host and gives back what it answers.

    Asked again only where the server cannot have acted: no connection came about, or it said 429, or 503 with a time to
    come back. Redirects are never followed.

    Args:
        url: Where; http or https. Checked for secrets, which belong into the environment.
        headers_from_env: Header to the name of an environment variable, or a text such as ``Bearer $API_TOKEN``.
        verify: Whether certificates are checked, or a file of authorities to check them with.
        timeout_s: Seconds for one request, all in all.
        retries: How often to ask again.
        max_wait_s: Longest wait before asking again; a server that wants more has refused.
    """

    def __init__(
        self, url: str, *, headers_from_env: Mapping[str, str], verify: bool | str, timeout_s: float, retries: int,
        max_wait_s: float, allowance: Allowance, sleep: Callable[[float], None],
    ) -> None:  # fmt: skip
        self.allowance, self._sleep = allowance, sleep
        self._url, self._env, self._timeout = url, dict(headers_from_env), timeout_s
        self._retries, self._max_wait = retries, max_wait_s
        self.host = _check_url(url, bool(headers_from_env), verify)
        self._secrets()  # a missing variable is said now, not in the middle of a run
        self._urllib3 = need("urllib3", "http", "an HTTP target")
        trust = {
            "cert_reqs": "CERT_REQUIRED" if verify else "CERT_NONE",
            "ca_certs": verify if isinstance(verify, str) else None,
        }
        self._pool = self._urllib3.PoolManager(num_pools=1, **trust)

    def __repr__(self) -> str:
        return f"Wire({self.host!r})"

    def post(self, path: str, body: bytes, rows: int) -> bytes:
        """Send one body that carries `rows` rows; each attempt is counted before it is made.

        Raises:
            BudgetSpent: The cap does not cover another attempt.
            Refused: The server still says to come back later.
            TargetFailed: No connection, no answer in time, a redirect, or an answer that is an error.
        """
        for attempt in range(self._retries + 1):
            self.allowance.take(rows)
            answer = self._once(path, body, 2.0**attempt)
            if isinstance(answer, bytes):
                return answer
            if attempt == self._retries or answer.pause > self._max_wait:
                raise answer.error
            self._sleep(answer.pause)
        raise AssertionError("unreachable")

    def _once(self, path: str, body: bytes, pause: float) -> bytes | _Again:
        faults = self._urllib3.exceptions
        limit = self._urllib3.Timeout(connect=self._timeout, read=self._timeout)
        end = time.monotonic() + self._timeout
        head = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        response = None
        try:
            response = self._pool.request(
                "POST", _joined(self._url, path), body=body, headers=head | self._headers(), timeout=limit,
                retries=False, redirect=False, preload_content=False,
            )  # fmt: skip
            content = self._read(response, end)
            return self._judge(response.status, response.headers, content, pause)
        except (faults.NewConnectionError, faults.ConnectTimeoutError) as error:
            return _Again(TargetFailed(f"{self.host}: no connection: {self._clean(brief(error))}"), pause)
        except (faults.TimeoutError, TimeoutError):
            raise TargetFailed(f"{self.host} hung: no answer in {self._timeout:g} s (timeout_s)") from None
        except (faults.HTTPError, OSError) as error:  # never chained: what these hold may carry the request
            raise TargetFailed(f"{self.host}: the connection failed: {self._clean(brief(error))}") from None
        finally:
            if response is not None:
                response.close()

    def _read(self, response: Any, end: float) -> bytes:
        parts, size = [], 0
        while part := response.read1(1 << 16):
            parts.append(part)
            size += len(part)
            if size > LARGEST:
                raise TargetFailed(f"{self.host} answered more than {LARGEST >> 20} MiB; that is refused")
            if time.monotonic() > end:  # a server that drips bytes keeps every single read in time
                raise TimeoutError
        return b"".join(parts)

    def _judge(self, status: int, head: Any, content: bytes, pause: float) -> bytes | _Again:
        if 200 <= status < 300:
            return content
        text = self._clean(" ".join(content[:2000].decode("utf-8", "replace").split()))[:200]
        if status == 429 or (status == 503 and "Retry-After" in head):
            wait = _seconds(head.get("Retry-After"), pause)
            return _Again(Refused(f"{self.host} refused ({status}): come back in {wait:g} s"), wait)
        if 300 <= status < 400:
            place = head.get("Location", "")
            other = "elsewhere" if "@" in place else f"to {self._clean(urlsplit(place).netloc) or self.host}"
            raise TargetFailed(f"{self.host} redirects {other}, which is refused; if that is the target, give its url")
        hint = f"; the headers come from {', '.join(self._env.values())}" if status in (401, 403) and self._env else ""
        raise TargetFailed(f"{self.host} answered {status}: {text or 'no text'}{hint}")

    # -- secrets: read when needed, held nowhere ----------------------------------------------------------------------
    def _secrets(self) -> dict[str, str]:
        found = {}
        for variable in {name for text in self._env.values() for name in _variables(text)}:
            if not (value := os.environ.get(variable, "")).strip():
                raise UsageError(
                    f"the environment variable {variable} is not set; {self.host} needs it for its headers"
                )
            if not value.isprintable():
                raise UsageError(f"the environment variable {variable} holds a line break or control character")
            found[variable] = value
        return found

    def _headers(self) -> dict[str, str]:
        secrets = self._secrets()

        def fill(text: str) -> str:
            return _VARIABLE.sub(lambda hit: secrets[hit[1]], text) if "$" in text else secrets[text]

        return {header: fill(text) for header, text in self._env.items()}

    def _clean(self, text: str) -> str:
        for value in sorted(self._secrets().values(), key=len, reverse=True):
            text = text.replace(value, "***")
        return text


def _variables(text: str) -> list[str]:
    return _VARIABLE.findall(text) if "$" in text else [text]


def _check_url(url: str, secrets: bool, verify: bool | str) -> str:
    if "@" in url:  # not left to a parser: with a slash in the password it finds no user
        raise BadInput("url holds a user or password (an @); use headers_from_env= instead")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.netloc.isprintable():
        raise BadInput("url must begin with http:// or https:// and name a host")
    for key, _ in parse_qsl(parts.query, keep_blank_values=True):
        if _SECRET.search(key):
            raise BadInput(f"url of {parts.hostname}: {key!r} looks like a secret; use headers_from_env= instead")
    if secrets and parts.hostname not in _LOCAL and (parts.scheme == "http" or verify is False):
        raise BadInput(
            f"{parts.hostname}: headers_from_env would travel where others can read them; use https and verify"
        )
    return parts.netloc


def _joined(url: str, path: str) -> str:
    parts = urlsplit(url)
    return parts._replace(path=parts.path.rstrip("/") + path if path else parts.path, fragment="").geturl()


def _seconds(retry_after: str | None, default: float) -> float:
    """Seconds to wait: a header holds a number or a date; what it does not say, the backoff does."""
    if retry_after is None:
        return default
    try:
        return max(0.0, float(retry_after)) if float(retry_after) < float("inf") else default
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError):
        return default
