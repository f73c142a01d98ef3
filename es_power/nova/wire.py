"""One request to Nova and its answer, in a worker thread, with a token of Keystone's.

Only this module knows OpenStack's libraries. It is imported by whoever connects, and not before: that takes a quarter
of a second. What a request of unknown outcome may have done is decided here, by when it went out: whatever fails before
`Passage.take` happened to a token, an address or a connection, and Nova was told to do nothing.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import requests
from keystoneauth1.exceptions import (
    ClientException,
    HttpError,
    MissingRequiredOptions,
)
from keystoneauth1.session import Session
from openstack.config import get_cloud_region
from openstack.exceptions import ConfigException
from openstack.proxy import Proxy
from urllib3.exceptions import HTTPError

from es_power.errors import (
    NovaAnswerError,
    NovaError,
    NovaOutcomeUnknownError,
    NovaRefusedError,
    NovaUnavailableError,
    SettingsError,
)
from es_power.nova.exchange import Answer, Body, Request

_CHUNK: Final = 65_536


class Wire:
    """A keystoneauth session; its methods block, and may be called from several threads."""

    def __init__(self, nova: Proxy, session: Session) -> None:
        self._nova = nova
        self._session = session

    def exchange(self, request: Request) -> Answer:
        """Send a request and read the answer; where the token is not taken, once more with a new one.

        NovaUnavailableError, NovaRefusedError: nothing was done. NovaOutcomeUnknownError: it went out, and no answer
        came. NovaAnswerError: what came is longer than the limit.
        """
        answer = self._once(request)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            request.passage.come_back()
            if self._session.invalidate():
                answer = self._once(request)
        return answer

    def close(self) -> None:
        """Close the connections that are kept for the next request."""
        self._session.session.close()

    def _once(self, request: Request) -> Answer:
        with _on_the_way_to_nova(self._session):
            token = self._session.get_auth_headers() or {}
            endpoint = self._nova.get_endpoint()
        if endpoint is None:
            raise NovaUnavailableError(
                "Keystone's catalogue has no compute endpoint; check OS_REGION_NAME and OS_INTERFACE, or set "
                "compute_endpoint_override in clouds.yaml"
            )
        request.passage.check()
        headers, body = dict(token), None
        if request.json is not None:
            headers["Content-Type"] = "application/json"
            body = Body(request.json, request.passage)
        with _from_nova(endpoint, request):
            response = self._session.request(
                endpoint.rstrip("/") + request.path,
                request.method,
                data=body,
                headers=headers,
                # The token is there already, so that Keystone's troubles are not taken for Nova's.
                authenticated=False,
                microversion=request.microversion,
                microversion_service_type="compute",
                timeout=max(request.deadline - time.monotonic(), 0.001),
                # Not to where an answer says: with a token, and a command perhaps twice.
                redirect=False,
                raise_exc=False,
                # Or a body would be read whole, to be logged.
                log=False,
                connect_retries=0,
                stream=True,
            )
        with response:
            return Answer(
                status=response.status_code,
                body=_body(response, request),
                request_id=response.headers.get("x-openstack-request-id"),
                retry_after=_seconds(response.headers.get("Retry-After")),
            )


def connect(cloud: str | None, *, timeout: float, version: str) -> Wire:
    """Read clouds.yaml and OS_*; SettingsError where they do not say enough. Nobody is asked anything yet."""
    try:
        region = get_cloud_region(app_name="es-power", app_version=version, cloud=cloud or None)
        session = region.get_session()
        nova = region.get_session_client("compute", min_version="2", max_version="2.latest")
    except MissingRequiredOptions as error:
        names = [f"OS_{option.dest.upper()} (in clouds.yaml: {option.dest})" for option in error.options]
        raise SettingsError(
            [f"how to reach Nova is not said: {name} is missing; set it, or name a cloud by OS_CLOUD" for name in names]
        ) from error
    except (ConfigException, ClientException, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise SettingsError([f"how to reach Nova: {error}; check clouds.yaml and the OS_* variables"]) from error
    # Else Keystone could keep a thread for ever.
    session.timeout = session.timeout or timeout
    # Whoever follows no redirect still has requests look where it leads, and read all of its body before that.
    session.session.get_redirect_target = _leads_nowhere  # type: ignore[method-assign]
    return Wire(nova, session)


def _leads_nowhere(resp: requests.Response) -> None:  # noqa: ARG001 (in the place of a method of requests' session)
    return None


# ------------------------------------------------------------------------------------------------------- translation


@contextmanager
def _on_the_way_to_nova(session: Session) -> Iterator[None]:
    """Translate what fails before Nova is reached: Keystone, its catalogue, the version of the endpoint."""
    try:
        yield
    except HttpError as error:
        busy = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
        if error.http_status < HTTPStatus.INTERNAL_SERVER_ERROR and error.http_status not in busy:
            raise NovaRefusedError(
                f"Keystone gives no token ({error}); check OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME, or the "
                "credential, or their words in clouds.yaml",
                status=error.http_status,
            ) from error
        raise NovaUnavailableError(f"Keystone gives no token now: {error}") from error
    except ClientException as error:
        raise NovaUnavailableError(f"Keystone does not answer: {error}; check OS_AUTH_URL and OS_CACERT") from error
    except Exception as error:  # a token is read unchecked there, so that one of another shape can raise anything
        # The session keeps it, and would stumble over it for ever.
        session.invalidate()
        raise NovaUnavailableError(f"Keystone's answer cannot be read: {error}; check OS_AUTH_URL") from error


@contextmanager
def _from_nova(endpoint: str, request: Request) -> Iterator[None]:
    """Translate what fails while a request goes out."""
    try:
        yield
    except (ClientException, requests.RequestException) as error:
        if request.is_read or not request.passage.is_under_way:
            raise NovaUnavailableError(
                f"Nova does not answer at {endpoint}: {error}; check its API, and OS_CACERT for its certificate"
            ) from error
        raise NovaOutcomeUnknownError(f"Nova at {endpoint} gave no answer: {error}") from error


def _body(response: requests.Response, request: Request) -> bytes:
    """Read the body up to the limit; one that breaks off or takes too long is cut, if a command was answered."""
    body = bytearray()
    try:
        # What there is, and not whole chunks: somebody who sends a byte a second would keep the thread for hours.
        while part := response.raw.read1(_CHUNK, decode_content=True):
            body += part
            if len(body) > request.limit:
                raise NovaAnswerError(f"Nova's answer is longer than {request.limit} bytes; it was not read further")
            if time.monotonic() > request.deadline:
                raise NovaUnavailableError("Nova's answer did not end in time")
    except (HTTPError, OSError) as error:
        if request.is_read:
            raise NovaUnavailableError(f"Nova's answer broke off after {len(body)} bytes: {error}") from error
    except NovaError:
        if request.is_read:
            raise
    return bytes(body)


def _seconds(retry_after: str | None) -> float | None:
    """Read Retry-After, which gives seconds or a date (RFC 9110, section 10.2.3)."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
